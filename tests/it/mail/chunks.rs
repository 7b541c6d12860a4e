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

/// One order, after whose mail others may go together.
async fn prove(post: &mut Post) {
    post.enter(1..=1, &["recibido"]).await;
    post.have(MailStatus::Sent, 1).await;
}

/// Orders whose mails leave together, once the server has taken one by its length.
pub async fn a_few_at_once(post: &mut Post) {
    prove(post).await;
    post.enter(2..=33, &["recibido"]).await;
}

#[tokio::test]
async fn mails_that_wait_leave_together() {
    let (sink, url) = chunking().await;
    let mut post = Post::start(&url);
    a_few_at_once(&mut post).await;
    post.have(MailStatus::Sent, 33).await;
    let verbs = verbs(&sink);
    let count = |verb: &str| verbs.iter().filter(|other| *other == verb).count();
    // each of them but the first in its write is behind one
    let first = |place: usize| verbs[place] == "MAIL" && verbs[place - 1] != "RSET";
    let writes = (1..verbs.len()).filter(|place| first(*place)).count();
    assert_eq!((count("BDAT"), count("RSET"), sink.connections()), (33, 33 - writes, 1));
    assert!(writes <= 12, "{writes} for 32 mails of which eight may go at once, and one more");
    let mails = sink.mails();
    let to: Vec<_> =
        mails.iter().map(|mail| (mail.to.clone(), mail.header("X-Order-Id").unwrap().to_owned())).collect();
    assert_eq!(to, (1..=33).map(|id| (format!("c{id}@example.org"), id.to_string())).collect::<Vec<_>>());
}

/// What the first of eight meets, the others do not pay for, as far as that can be known; a copy is never uncounted, and what is
/// not taken is never believed to be.
#[tokio::test]
async fn a_mail_that_fails_leaves_those_behind_it_alone() {
    use Fault::{Bytes, Drop, Reply};
    let surplus = Bytes(b"250 ok\r\n250 and one too many\r\n".to_vec());
    let refused_late = |reply| vec![(Step::Mail, surplus.clone()), (Step::Dot, Reply(reply))];
    let cases = [
        (vec![(Step::Mail, Reply("452 4.3.1 no room"))], 0, 0..=0),
        (vec![(Step::Rcpt, Reply("450 4.2.0 greylisted"))], 0, 0..=0),
        (vec![(Step::Rcpt, Reply("550 5.1.1 no such user"))], 0, 0..=0),
        (vec![(Step::Dot, Reply("452 4.3.1 no room"))], 0, 0..=0),
        (vec![(Step::Dot, Reply("554 5.7.1 spam"))], 0, 0..=0),
        // it says goodbye: what is behind was not begun
        (vec![(Step::Mail, Reply("421 4.7.0 enough for now"))], 0, 0..=0),
        (vec![(Step::Rcpt, Reply("421 4.7.0 enough for now"))], 0, 0..=0),
        (vec![(Step::Dot, Reply("421 4.7.0 enough for now"))], 0, 0..=0),
        // it does not mean it
        (vec![(Step::Rcpt, Bytes(b"421 4.3.2 said by somebody else\r\n".to_vec()))], 7, 8..=8),
        // nobody can say what became of them
        (vec![(Step::Mail, Drop)], 0, 2..=8),
        (vec![(Step::Dot, Drop)], 1, 2..=8),
        (vec![(Step::Rcpt, Bytes(b"HTTP/1.1 400 Bad Request\r\n".to_vec()))], 7, 2..=8),
        (vec![(Step::Mail, surplus.clone())], 8, 2..=8),
        (vec![(Step::Dot, surplus.clone())], 8, 2..=8),
        (refused_late("554 5.7.1 spam"), 7, 2..=8),
        (refused_late("452 4.3.1 no room"), 7, 2..=8),
        (refused_late("421 4.7.0 enough for now"), 0, 2..=8),
    ];
    for (faults, copies_max, repeated_in) in cases {
        let (sink, url) = chunking().await;
        let what = format!("{faults:?}");
        let mut post = Post::start(&url);
        prove(&mut post).await;
        for (step, fault) in faults {
            sink.script(step, fault, 1);
        }
        post.enter(2..=33, &["recibido"]).await;
        post.have_while_moving(MailStatus::Sent, 33, SECOND).await;
        let repeated = post.store.ledger_counts().await.unwrap().repeated;
        let taken: std::collections::HashSet<_> = sink.mails().into_iter().map(|mail| mail.to).collect();
        assert_eq!(taken.len(), 33, "{what}");
        let copies = sink.accepted() - 33;
        assert!(copies <= copies_max.min(repeated) && repeated_in.contains(&repeated), "{what}: {copies} {repeated}");
        assert_eq!((post.dead().await, sink.faults_left()), (Vec::new(), 0), "{what}");
    }
}

/// One that is refused among others touches none of them, wherever it stands.
#[tokio::test]
async fn a_refusal_in_the_middle_is_that_mails_alone() {
    let (sink, url) = chunking().await;
    for id in [4, 5, 9, 17] {
        sink.refuse(&format!("c{id}@example.org"), "550 5.1.1 no such user");
    }
    let mut post = Post::start(&url);
    a_few_at_once(&mut post).await;
    post.have(MailStatus::Sent, 29).await;
    let counted = post.store.ledger_counts().await.unwrap().repeated;
    assert_eq!((sink.accepted(), counted, sink.connections()), (29, 0, 1));
}

/// A connection that is lost with eight mails on it is lost once: mail is not paused for it.
#[tokio::test]
async fn what_befalls_several_mails_at_once_counts_once_against_the_relay() {
    let (sink, url) = chunking().await;
    let mut post = Post::start(&url);
    prove(&mut post).await;
    sink.script(Step::Dot, Fault::Drop, 1);
    post.enter(2..=33, &["recibido"]).await;
    eventually("the others", async || {
        let sent = post.count(MailStatus::Sent).await;
        if sent >= 25 { Ok(()) } else { Err(format!("{sent} sent: {:?}", post.state())) }
    })
    .await;
}

/// A session is closed after as many mails as it may have, also in the middle of those that wait.
#[tokio::test]
async fn no_session_gets_more_mails_than_it_may_have() {
    let sink = Sink::with(Setup::usual()).await;
    let mut post = Post::start(&(sink.url() + "?connections=1&mails=5"));
    post.enter(1..=33, &["recibido"]).await;
    post.have(MailStatus::Sent, 33).await;
    let verbs = verbs(&sink);
    let sessions: Vec<_> = verbs.split(|verb| verb == "EHLO").skip(1).collect();
    let mails = |session: &&[String]| session.iter().filter(|verb| *verb == "BDAT").count();
    assert_eq!((sessions.iter().map(mails).max(), sink.accepted()), (Some(5), 33));
    assert!(verbs.iter().any(|verb| verb == "RSET"), "{verbs:?}");
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
        (Step::Dot, Bytes(b"554 5.7.1 spam\r\n421 4.7.0 too many errors\r\n".to_vec()), 2, 0, 2), // refused, though the sink notes it
        // out of step: a new connection
        (Step::Rcpt, Reply("503 5.5.1 MAIL first"), 1, 0, 2),
        // the mail was on its way, so it may have been taken: counted, whether it was or not
        (Step::Mail, Bytes(b"250 ok\r\n250 ok\r\n250 and one too many\r\n".to_vec()), 2, 1, 2),
        (Step::Mail, Bytes(b"250 ok\r\n450 4.2.0 busy\r\n".to_vec()), 2, 1, 2),
        (Step::Dot, Bytes(b"452 4.3.1 no room\r\n250 2.0.0 queued\r\n".to_vec()), 2, 1, 2),
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
    prove(&mut post).await;
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

/// Many servers take a few mails on a connection, and answer the next one with 421: those that came with it are not in doubt.
#[tokio::test]
async fn a_server_that_has_had_enough_of_a_connection_has_not_taken_what_is_behind() {
    const RESET: &[u8] = b"RSET\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut taken, mut left_behind) = (0, 0);
        loop {
            let mut stream = greeted(&listener).await;
            let mut said = Vec::new();
            for here in 0.. {
                read_until(&mut stream, &mut said, |said| said.len() >= RESET.len()).await;
                if here == 6 {
                    left_behind += usize::from(said.starts_with(RESET));
                    stream.write_all(b"421 enough\r\n").await.unwrap();
                    break;
                }
                if said.starts_with(RESET) {
                    said.drain(..RESET.len());
                    stream.write_all(b"250 reset\r\n").await.unwrap();
                }
                read_until(&mut stream, &mut said, is_whole).await;
                said.drain(..end_of_first(&said).unwrap());
                stream.write_all(b"250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n").await.unwrap();
                taken += 1;
                if taken == 40 {
                    return left_behind;
                }
            }
            // all is read before it closes, so that what it said is not lost with the connection
            stream.shutdown().await.unwrap();
            while stream.read_buf(&mut said).await.is_ok_and(|read| read > 0) {}
        }
    });
    let mut post = Post::start(&format!("smtp://{addr}?connections=1"));
    post.enter(1..=40, &["recibido"]).await;
    post.have_while_moving(MailStatus::Sent, 40, SECOND).await;
    assert!(server.await.unwrap() > 0, "it never left in the middle of a write");
    assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
}

/// Some servers take a few mails on a connection and leave: what they have answered stands.
#[tokio::test]
async fn a_server_that_leaves_after_its_answer_has_taken_the_mail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut taken = 0;
        while taken < 40 {
            let mut stream = greeted(&listener).await;
            read_until(&mut stream, &mut Vec::new(), is_whole).await;
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

/// The next client, after EHLO.
async fn greeted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"220 here\r\n").await.unwrap();
    read_until(&mut stream, &mut Vec::new(), |said| said.ends_with(b"\r\n")).await;
    stream.write_all(b"250-here\r\n250-PIPELINING\r\n250 CHUNKING\r\n").await.unwrap();
    stream
}

async fn read_until(stream: &mut TcpStream, said: &mut Vec<u8>, done: fn(&[u8]) -> bool) {
    while !done(said) {
        assert_ne!(stream.read_buf(said).await.unwrap(), 0, "{}", String::from_utf8_lossy(said));
    }
}

/// Whether envelope and chunk are there.
fn is_whole(said: &[u8]) -> bool {
    end_of_first(said).is_some()
}

/// Where the first chunk ends, once it is there.
fn end_of_first(said: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(said).ok()?; // our mails are ASCII
    let (_, rest) = text.split_once("BDAT ")?;
    let (length, mail) = rest.split_once(" LAST\r\n")?;
    let end = said.len() - mail.len() + length.parse::<usize>().unwrap();
    (end <= said.len()).then_some(end)
}
