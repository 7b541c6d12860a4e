//! A real Postfix takes our mails, under TLS and with a login, and Python's mail library finds nothing to mind in them.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::*;
use crate::harness::{authority::Authority, free_ports, process::output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postfix-local");
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/mail_seen/read.py");
const PASSWORD: &str = "ge:h@im/% 1";
const LOGIN: &str = "tienda%40shop.example:ge%3Ah%40im%2F%25%201";

/// Postfix with all that it needs, in a folder of its own; ended when dropped.
struct Postfix {
    folder: TempDir,
    port: u16,
    tls_port: u16,
}

impl Postfix {
    fn start(authority: &Authority) -> Self {
        let (certificate, key) = authority.issue(&["127.0.0.1"]);
        let files = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) = (files.path().join("certificate"), files.path().join("key"));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        let this = Self { folder: tempfile::tempdir().unwrap(), port: free_ports(1), tls_port: free_ports(1) };
        let mut script = Command::new(SCRIPT);
        script.arg("start").arg(this.folder.path()).args([this.port.to_string(), this.tls_port.to_string()]);
        script.args([&certificate_file, &key_file]).args(["tienda@shop.example", PASSWORD]);
        succeeded(output(&mut script), "scripts/postfix-local");
        this
    }

    /// The mails that arrived, once there are so many, as Python sees them.
    async fn mails(&self, count: usize) -> Vec<Value> {
        let folder = self.folder.path().join("mail/box");
        eventually(&format!("{count} mails in {}", folder.display()), async || {
            let found = folder.join("new").read_dir().map_or(0, Iterator::count);
            if found == count { Ok(()) } else { Err(format!("{found}; {}", self.log())) }
        })
        .await;
        for file in folder.join("new").read_dir().unwrap() {
            let raw = std::fs::read(file.unwrap().path()).unwrap();
            // Postfix writes lines ending in LF alone: a CR would be one of the mail's own
            assert!(!raw.contains(&b'\r') && !raw.contains(&0), "{}", String::from_utf8_lossy(&raw));
            assert!(raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 998));
        }
        let output = succeeded(output(Command::new("python3").arg(READER).arg(folder.join("new"))), "python3");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn whole_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.whole_log().lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("stop").arg(self.folder.path()).status(); // the test's result stands
    }
}

/// The first field of that name: Postfix puts its own before ours.
fn header<'a>(mail: &'a Value, name: &str) -> Option<&'a str> {
    let mut fields = mail["headers"].as_array().unwrap().iter();
    fields.find(|field| field[0] == name).and_then(|field| field[1].as_str())
}

/// What a program that must be there printed.
fn succeeded(output: Output, program: &str) -> Output {
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn url(scheme: &str, port: u16, ca: &Path) -> String {
    format!("{scheme}://{LOGIN}@127.0.0.1:{port}?ca={}", ca.display())
}

#[tokio::test]
async fn postfix_takes_our_mails_and_python_finds_them_sound() {
    let authority = Authority::new();
    let postfix = Postfix::start(&authority);
    let long = "Ñandú ".repeat(33) + "€5";
    let names = ["Año del ñu: 5 €", "🎮 Niño 😀 <b>&amp;</b>", &long, ".MAIL FROM:<x@y>", "%0d%0a.%0d%0aQUIT"];
    let mut post = Post::new(&url("smtp", postfix.port, &authority.ca()));
    for (id, name) in (1..).zip(names) {
        post.products.insert(id, Product::new("3170", name, "7.99").unwrap());
    }
    post.emails.insert(1, "ana@españa.example".parse().unwrap());
    post.emails.insert(2, "josé@españa.example".parse().unwrap());
    post.run(mail::Options::default());
    post.enter(1..=5, &Flow::STATES).await;
    post.have(MailStatus::Sent, 20).await;
    post.stop().await;
    post.url = url("smtps", postfix.tls_port, &authority.ca());
    post.run(mail::Options::default());
    post.enter(6..=6, &["recibido"]).await;
    post.have(MailStatus::Sent, 21).await;

    let mails = postfix.mails(21).await;
    let mut delivered_to = HashMap::new();
    for mail in &mails {
        let text = |key: &str| mail[key].as_str().unwrap_or_default();
        assert_eq!(mail["defects"], serde_json::json!([]), "{mail}");
        let order: u64 = header(mail, "X-Order-Id").unwrap().parse().unwrap();
        let received = header(mail, "Received").unwrap();
        // with ESMTP, secured, authenticated (RFC 3848, RFC 6531)
        assert!(received.contains(if order == 2 { "with UTF8SMTPSA" } else { "with ESMTPSA" }), "{received}");
        if let Some(product) = post.products.get(&order) {
            assert!(text("text").contains(&*product.name), "{mail}");
            assert!(!text("html").contains("<b>"), "{mail}");
        }
        let first = format!("<{order}.1.d3@shop.example>");
        let follows = header(mail, "X-Order-State") != Some("recibido");
        assert_eq!(header(mail, "References"), follows.then_some(&*first), "{mail}");
        delivered_to.insert(order, header(mail, "Delivered-To").unwrap().to_owned());
    }
    assert_eq!((&*delivered_to[&1], &*delivered_to[&2]), ("ana@xn--espaa-rta.example", "josé@españa.example"));
}

/// It counts the commands of a session when that ends.
#[tokio::test]
async fn postfix_takes_several_mails_in_one_write() {
    let authority = Authority::new();
    let postfix = Postfix::start(&authority);
    let mut post = Post::new(&(url("smtp", postfix.port, &authority.ca()) + "&connections=1"));
    post.run(mail::Options::default());
    chunks::a_few_at_once(&mut post).await;
    post.have(MailStatus::Sent, 33).await;
    post.stop().await;
    postfix.mails(33).await;
    let counted = eventually("a line about the session", async || {
        let log = postfix.whole_log();
        log.lines().find_map(|line| Some(line.split_once("disconnect from ")?.1.to_owned())).ok_or(log)
    })
    .await;
    let count = |command: &str| {
        counted.split(&format!(" {command}=")).nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned())
    };
    assert_eq!(
        (count("mail"), count("bdat"), count("data")),
        (Some("33".into()), Some("33".into()), None),
        "{counted}"
    );
    let behind: u32 = count("rset").expect("some went behind another").parse().unwrap();
    assert!(behind >= 16, "{counted}");
    assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
}

#[tokio::test]
async fn postfix_refuses_a_wrong_password_and_no_mail_is_burnt() {
    let authority = Authority::new();
    let postfix = Postfix::start(&authority);
    let wrong = url("smtp", postfix.port, &authority.ca()).replace("%201@", "%202@");
    let mut post = Post::new(&(wrong + "&connections=1"));
    post.run(mail::Options::default());
    post.enter(1..=3, &["recibido"]).await;
    let reason = replies::denied(&post).await;
    assert!(reason.contains("AUTH: 535 5.7.8"), "{reason}");
    assert_eq!(post.count(MailStatus::Dead).await, 0);
}
