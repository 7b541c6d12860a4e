//! TLS and logins: what is never sent in clear text, and to whom nothing is sent at all.

use encargo::mail::{Destination, Password, RelayState};

use super::{replies::denied, *};
use crate::harness::authority::Authority;

const LOGIN: (&str, &str) = ("tienda@shop.example", "pässwört:@/%");
const URL_LOGIN: &str = "tienda%40shop.example:p%C3%A4ssw%C3%B6rt%3A%40%2F%25@";

fn url(sink: &Sink, scheme: &str, login: &str, authority: &Authority) -> String {
    format!("{scheme}://{login}{}?tls=required&ca={}", sink.addr, authority.ca().display())
}

async fn arrives(url: &str, sink: &Sink) {
    let mut post = Post::start(url);
    post.enter(1..=3, &["recibido"]).await;
    post.have(MailStatus::Sent, 3).await;
    assert!(sink.mails().iter().all(|mail| mail.secured));
    assert_eq!(post.state().state, RelayState::Working);
}

#[tokio::test]
async fn mails_arrive_under_tls_and_with_a_login() {
    let authority = Authority::new();
    let tls = authority.acceptor(&["127.0.0.1", "localhost"]);
    for (implicit, scheme) in [(true, "smtps"), (false, "smtp")] {
        for mechanisms in ["CRAM-MD5 LOGIN PLAIN", "LOGIN"] {
            let setup = Setup { tls: Some(tls.clone()), implicit, login: Some(LOGIN), mechanisms, ..Setup::default() };
            let sink = Sink::with(setup).await;
            arrives(&url(&sink, scheme, URL_LOGIN, &authority), &sink).await;
            let hellos = sink.commands().iter().filter(|line| line.starts_with("EHLO")).count() as u64;
            assert_eq!(hellos, sink.connections() * if implicit { 1 } else { 2 }, "EHLO again after STARTTLS");
        }
    }
}

#[tokio::test]
async fn a_password_may_be_in_a_file_and_change_there() {
    let authority = Authority::new();
    let tls = Some(authority.acceptor(&["127.0.0.1"]));
    let sink = Sink::with(Setup { tls, login: Some(LOGIN), ..Setup::default() }).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "wrong\n").unwrap();
    let url =
        url(&sink, "smtp", "tienda%40shop.example@", &authority) + "&password_file=" + file.path().to_str().unwrap();
    let mut post = Post::start(&url);
    post.enter(1..=20, &["recibido"]).await;
    let reason = denied(&post).await;
    assert!(reason.contains("AUTH: 535 5.7.8 *** user or password"), "{reason}");
    let tries = || sink.commands().iter().filter(|line| line.starts_with("AUTH")).count();
    assert!(tries() <= 4, "no more than there are connections: {}", tries());
    assert_eq!((post.count(MailStatus::Dead).await, post.metrics.paused.get()), (0, 1), "no mail is burnt");
    std::fs::write(file.path(), format!("{}\n", LOGIN.1)).unwrap();
    post.have_while_moving(MailStatus::Sent, 20, SECOND).await;
    assert!(post.clock.monotonic() >= Duration::from_mins(5), "a locked account is not knocked at again and again");
    let state = post.state().state;
    assert!(matches!(state, RelayState::Working | RelayState::Returning(_)), "{state:?}");
    assert_eq!(post.dead().await, [""; 0]);
}

/// Microsoft 365 takes nothing else, and its tokens live for an hour.
#[tokio::test]
async fn a_token_comes_from_a_file_or_a_command_at_each_login() {
    let authority = Authority::new();
    let tls = Some(authority.acceptor(&["127.0.0.1"]));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    for (mechanisms, token) in [
        ("LOGIN XOAUTH2", Password::TokenFile(file.path().into())),
        ("OAUTHBEARER", Password::TokenFile(file.path().into())),
        ("XOAUTH2", Password::TokenCommand(format!("cat {path}"))),
    ] {
        let login = Some(("tienda@shop.example", "ey.J0-fresh_"));
        let sink = Sink::with(Setup { tls: tls.clone(), login, mechanisms, ..Setup::default() }).await;
        let url: Destination = url(&sink, "smtp", "tienda%40shop.example@", &authority).parse().unwrap();
        let destination = url.complete(Some(token), None).unwrap();
        let relay = mail::open(&destination, "shop.example", mail::Timeouts::default(), &crate::harness::real_clock())
            .unwrap()
            .unwrap();
        std::fs::write(file.path(), "ey.J0-stale_\n").unwrap();
        let refused = relay.probe().await.unwrap_err();
        assert!(refused.contains("535 5.7.8") && refused.contains("401"), "{refused}");
        assert!(!refused.contains("stale") && !refused.contains("tienda@"), "{refused}");
        std::fs::write(file.path(), "ey.J0-fresh_\n").unwrap();
        assert!(relay.probe().await.unwrap().contains("takes the login"));
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_told() {
    let authority = Authority::new();
    let tls = Some(authority.acceptor(&["127.0.0.1"]));
    let login = Some(("tienda", "token"));
    let sink = Sink::with(Setup { tls, login, mechanisms: "XOAUTH2", ..Setup::default() }).await;
    for (token, expected) in [
        (Password::TokenFile("/nonexistent/token".into()), "cannot read the token from /nonexistent/token"),
        (Password::TokenCommand("echo no session >&2; exit 3".into()), "exit status: 3: no session"),
        (Password::TokenCommand("true".into()), "there is no OAuth token"),
        (Password::TokenCommand("printf 'a\\nb'".into()), "there is no OAuth token"),
        (Password::Text("geheim".into()), "OAuth alone (set mail.token_file"),
    ] {
        let url: Destination = url(&sink, "smtp", "tienda@", &authority).parse().unwrap();
        let destination = url.complete(Some(token), None).unwrap();
        let relay = mail::open(&destination, "shop.example", mail::Timeouts::default(), &crate::harness::real_clock())
            .unwrap()
            .unwrap();
        let refused = relay.probe().await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn nothing_is_sent_where_tls_is_not_what_it_must_be() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let with = |tls: &Authority, name: &str| Setup { tls: Some(tls.acceptor(&[name])), ..Setup::default() };
    for (setup, fault, expected) in [
        (Setup::default(), None, "offers no STARTTLS: nothing was sent, no login and no mail. Somebody in between"),
        (with(&stranger, "127.0.0.1"), None, "has a certificate that is not trusted"),
        (with(&authority, "other.example"), None, "has a certificate that is not trusted"),
        // somebody on the way writes into the clear part what shall be read as said under TLS
        (
            with(&authority, "127.0.0.1"),
            Some(Fault::Bytes(b"220 go on\r\n250-sink\r\n250 AUTH PLAIN\r\n".to_vec())),
            "cannot be trusted before TLS: it says more than it was asked",
        ),
    ] {
        let sink = Sink::with(setup).await;
        if let Some(fault) = fault {
            sink.script(Step::StartTls, fault, 100);
        }
        let mut post = Post::start(&url(&sink, "smtp", URL_LOGIN, &authority));
        post.enter(1..=3, &["recibido"]).await;
        let reason = denied(&post).await;
        assert!(reason.contains(expected), "{reason}");
        let commands = sink.commands();
        assert!(commands.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{commands:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_tell_now_is_asked_again() {
    let authority = Authority::new();
    let setup = Setup { tls: Some(authority.acceptor(&["127.0.0.1"])), login: Some(LOGIN), ..Setup::default() };
    for (step, fault) in [
        (Step::StartTls, Fault::Reply("454 4.7.0 TLS not available now")),
        (Step::StartTls, Fault::Drop),
        (Step::Auth, Fault::Reply("454 4.7.0 try again")),
        (Step::Auth, Fault::Drop),
        (Step::Ehlo, Fault::Reply("451 4.3.0 later")),
        (Step::Ehlo, Fault::Hang),
    ] {
        let sink = Sink::with(setup.clone()).await;
        sink.script(step, fault.clone(), 2);
        let mut post = Post::start_hasty(&(url(&sink, "smtp", URL_LOGIN, &authority) + "&connections=1"));
        post.enter(1..=2, &["recibido"]).await;
        post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
        assert_eq!((sink.faults_left(), post.dead().await.len()), (0, 0), "{step:?} {fault:?}");
    }
}

#[tokio::test]
async fn a_login_that_the_server_does_not_want_stops_with_the_reason() {
    let authority = Authority::new();
    let tls = Some(authority.acceptor(&["127.0.0.1"]));
    for (login, mechanisms, expected) in
        [(None, "", "it offers no AUTH at all"), (Some(LOGIN), "CRAM-MD5", "it offers neither PLAIN nor LOGIN")]
    {
        let sink = Sink::with(Setup { tls: tls.clone(), login, mechanisms, ..Setup::default() }).await;
        let mut post = Post::start(&url(&sink, "smtp", URL_LOGIN, &authority));
        post.enter(1..=1, &["recibido"]).await;
        let reason = denied(&post).await;
        assert!(reason.contains(expected), "{reason}");
    }
    // and one that wants a login nobody gave
    let sink = Sink::with(Setup { login: Some(LOGIN), ..Setup::default() }).await;
    let mut post = Post::start(&sink.url());
    post.enter(1..=1, &["recibido"]).await;
    let reason = denied(&post).await;
    assert!(reason.contains("530 5.7.0 authentication required"), "{reason}");
}

#[tokio::test]
async fn the_check_tells_of_tls_and_login_and_never_of_the_password() {
    let authority = Authority::new();
    let setup = Setup { tls: Some(authority.acceptor(&["127.0.0.1"])), login: Some(LOGIN), ..Setup::default() };
    let sink = Sink::with(setup).await;
    let transport = |url: &str| {
        mail::open(&url.parse().unwrap(), "shop.example", mail::Timeouts::default(), &crate::harness::real_clock())
    };
    let good = transport(&url(&sink, "smtp", URL_LOGIN, &authority)).unwrap().unwrap();
    let expected =
        format!("{} answers under TLS, takes the login, offers pipelining and non-ASCII addresses", sink.addr);
    assert_eq!(good.probe().await.unwrap(), expected);
    // a server that repeats what it was told
    sink.script(Step::Auth, Fault::Reply("535 5.7.8 no: geheim Z2VoZWlt AGFuYQBnZWhlaW0="), 1);
    let bad = transport(&url(&sink, "smtp", "ana:geheim@", &authority)).unwrap().unwrap();
    let reason = bad.probe().await.unwrap_err();
    assert!(reason.ends_with("AUTH: 535 5.7.8 no: *** *** ***"), "{reason}");
    let missing = transport("smtps://localhost?ca=/nonexistent/ca.pem").err().unwrap().to_string();
    assert!(missing.contains("/nonexistent/ca.pem"), "{missing}");
}
