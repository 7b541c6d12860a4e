//! A server that takes a mail by its length (RFC 3030): envelope and mail in one write, whatever it answers to which part.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// One that offers it, with one connection.
async fn chunking() -> (Sink, String) {
    let sink = Sink::with(Setup::usual()).await;
    let url = sink.url() + "?connections=1";
    (sink, url)
}

fn verbs(sink: &Sink) -> Vec<String> {
    let verb = |line: String| line.split([' ', ':']).next().unwrap_or_default().to_owned();
    sink.commands().into_iter().map(verb).collect()
}

#[tokio::test]
async fn a_mail_leaves_in_one_packet_and_arrives_as_it_was() {
    let (sink, url) = chunking().await;
    let mut post = Post::start(&url);
    post.enter(1..=20, &Flow::STATES).await;
    post.have(MailStatus::Sent, 80).await;
    // one more for EHLO; a large mail may be read in two pieces, but not each of them
    assert!(sink.packets() <= 1 + 80 + 40, "{} packets", sink.packets());
    assert_eq!(verbs(&sink)[1..5], ["MAIL", "RCPT", "BDAT", "MAIL"]);
    let by_dot = Sink::start().await;
    let mut other = Post::start(&by_dot.url());
    other.enter(1..=1, &["recibido"]).await;
    other.have(MailStatus::Sent, 1).await;
    let body = |sink: &Sink| {
        let raw = String::from_utf8(sink.mails()[0].raw.clone()).unwrap();
        raw.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(body(&sink), body(&by_dot), "as one that went by DATA");
}

/// What one mail meets once: how often it is handed over, how many repeats the ledger counts, and whether the order's next mail
/// needs a new connection.
#[tokio::test]
async fn each_reply_has_the_outcome_that_it_has_after_data() {
    use Fault::{Bytes, Drip, Drop, Reply};
    let long = [b"250-".to_vec(), b"x".repeat(20_000), b"\r\n250 2.0.0 queued\r\n".to_vec()].concat();
    let endless = b"250-more\r\n".repeat(10_000);
    let cases = [
        (Step::Rcpt, Reply("450 4.2.0 greylisted"), 1, 0, 1),
        (Step::Rcpt, Reply("550 5.1.1 no such user"), 1, 0, 1),
        (Step::Rcpt, Reply("550-5.7.1 relaying\r\n550 5.7.1 denied"), 1, 0, 1),
        (Step::Mail, Reply("452 4.3.1 no room"), 1, 0, 2),
        (Step::Dot, Reply("452 4.3.1 no room"), 1, 0, 2),
        (Step::Dot, Reply("554 5.7.1 spam"), 1, 0, 1),
        (Step::Dot, Bytes(long), 1, 0, 1),
        (Step::Dot, Drip("250 2.0.0 queued at last"), 1, 0, 1),
        // it says goodbye, and has not taken it
        (Step::Mail, Reply("421 4.3.2 closing"), 1, 0, 2),
        (Step::Rcpt, Reply("421 4.7.0 slow down"), 1, 0, 2),
        (Step::Dot, Reply("421 4.3.2 closing"), 1, 0, 2),
        // out of step: a new connection
        (Step::Rcpt, Reply("503 5.5.1 MAIL first"), 1, 0, 2),
        // the mail was on its way, so it may have been taken: counted, whether it was or not
        (Step::Mail, Bytes(b"250 ok\r\n250 ok\r\n250 and one too many\r\n".to_vec()), 2, 1, 2),
        (Step::Rcpt, Bytes(b"HTTP/1.1 400 Bad Request\r\n".to_vec()), 1, 1, 2),
        (Step::Rcpt, Bytes(endless.clone()), 2, 1, 2),
        (Step::Mail, Drop, 1, 1, 2),
        (Step::Dot, Bytes(endless), 2, 1, 2),
        (Step::Dot, Bytes(b"354 go on\r\n".to_vec()), 2, 1, 2),
        (Step::Dot, Drop, 2, 1, 2),
    ];
    for (step, fault, handed, repeated, connections) in cases {
        let (sink, url) = chunking().await;
        let what = format!("{step:?} {fault:?}").chars().take(100).collect::<String>();
        sink.script(step, fault, 1);
        let mut post = Post::start(&url);
        post.enter(1..=1, &["recibido", "preparando"]).await;
        post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
        let states: Vec<_> = sink.mails().iter().map(|mail| mail.header("X-Order-State").unwrap().to_owned()).collect();
        let expected: &[&str] =
            if handed == 1 { &["recibido", "preparando"] } else { &["recibido", "recibido", "preparando"] };
        assert_eq!(states, expected, "{what}");
        assert_eq!(post.dead().await, [""; 0], "{what}");
        let counted = post.store.ledger_counts().await.unwrap().repeated;
        assert_eq!((counted, sink.connections()), (repeated, connections), "{what}");
    }
}

/// After a while without mail a server may close the connection at any time, and then nobody could say whether it has taken one
/// that was written at once.
#[tokio::test]
async fn a_session_that_was_idle_is_asked_first() {
    let (sink, url) = chunking().await;
    let mut post = Post::start(&url);
    post.enter(1..=1, &["recibido"]).await;
    post.have(MailStatus::Sent, 1).await;
    post.clock.advance(2 * SECOND);
    sink.script(Step::Mail, Fault::Drop, 1);
    post.enter(1..=1, &["preparando"]).await;
    post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
    assert_eq!((post.store.ledger_counts().await.unwrap().repeated, sink.connections()), (0, 2));
    post.clock.advance(2 * SECOND);
    post.enter(1..=1, &["entregando"]).await;
    post.have(MailStatus::Sent, 3).await;
    let by_data = ["EHLO", "MAIL", "RCPT", "BDAT", "MAIL", "EHLO", "MAIL", "RCPT", "BDAT", "MAIL", "RCPT", "DATA"];
    assert_eq!(verbs(&sink), by_data);
}

#[tokio::test]
async fn a_server_that_offers_it_and_does_not_know_it_gets_its_mails_by_data() {
    for reply in ["500 5.5.1 command unrecognized", "502 5.5.2 not implemented", "503 5.5.1 bad sequence"] {
        let (sink, url) = chunking().await;
        sink.script(Step::Dot, Fault::Reply(reply), 1);
        let mut post = Post::start(&url);
        post.enter(1..=5, &Flow::STATES).await;
        post.have_while_moving(MailStatus::Sent, 20, SECOND).await;
        let verbs = verbs(&sink);
        let count = |verb: &str| verbs.iter().filter(|other| *other == verb).count();
        assert_eq!((count("BDAT"), count("DATA")), (1, 20), "{reply}");
        assert_eq!((post.dead().await.len(), sink.accepted()), (0, 20), "{reply}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_after_it_gets_the_next_by_data() {
    let (sink, url) = chunking().await;
    sink.script(Step::Dot, Fault::Hang, 1);
    let mut post = Post::start_hasty(&url);
    post.enter(1..=1, &["recibido", "preparando"]).await;
    post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
    assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 1, "it may have been taken");
    let verbs = verbs(&sink);
    assert_eq!(verbs.iter().filter(|verb| *verb == "BDAT").count(), 1, "{verbs:?}");
}

/// Some servers take a few mails on a connection and leave: what they have answered stands.
#[tokio::test]
async fn a_server_that_leaves_after_its_answer_has_taken_the_mail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut taken = 0;
        while taken < 40 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 here\r\n").await.unwrap();
            let mut said = Vec::new();
            read_until(&mut stream, &mut said, |said| said.ends_with(b"\r\n")).await;
            stream.write_all(b"250-here\r\n250-PIPELINING\r\n250 CHUNKING\r\n").await.unwrap();
            said.clear();
            read_until(&mut stream, &mut said, is_whole).await;
            taken += 1;
            stream.write_all(b"250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n").await.unwrap();
        }
        taken
    });
    let mut post = Post::start(&format!("smtp://{addr}?connections=1"));
    post.enter(1..=40, &["recibido"]).await;
    post.have(MailStatus::Sent, 40).await;
    assert_eq!((server.await.unwrap(), post.store.ledger_counts().await.unwrap().repeated), (40, 0));
}

async fn read_until(stream: &mut TcpStream, said: &mut Vec<u8>, done: fn(&[u8]) -> bool) {
    while !done(said) {
        assert_ne!(stream.read_buf(said).await.unwrap(), 0, "{}", String::from_utf8_lossy(said));
    }
}

/// Whether envelope and chunk are there.
fn is_whole(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    let Some((_, rest)) = text.split_once("BDAT ") else { return false };
    let Some((length, mail)) = rest.split_once(" LAST\r\n") else { return false };
    mail.len() >= length.parse().unwrap()
}
