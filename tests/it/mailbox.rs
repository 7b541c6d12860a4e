//! The mailbox pages over a real socket, with good mails and with what a Maildir should never hold.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use encargo::domain::Lang;
use reqwest::{Response, StatusCode};

use crate::harness::{app::TestApp, eventually, smtp::Sink};

/// An answer with its headers, read whole.
struct Page {
    status: StatusCode,
    policy: String,
    kind: String,
    text: String,
}

impl Page {
    async fn read(response: Response) -> Self {
        let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (policy, kind, nosniff) =
            (header("content-security-policy"), header("content-type"), header("x-content-type-options"));
        assert_eq!(nosniff, "nosniff");
        let status = response.status();
        Self { status, policy, kind, text: response.text().await.unwrap() }
    }

    /// It is a page of ours: complete, and nothing in it can run but our own script.
    fn assert_page(&self) -> &Self {
        assert_eq!((self.status, &*self.kind), (StatusCode::OK, "text/html; charset=utf-8"), "{}", self.text);
        assert!(self.policy.contains("default-src 'none'") && !self.policy.contains("unsafe"), "{}", self.policy);
        assert!(self.text.contains("</html>"), "{}", self.text);
        let text = self.text.replace("<script type=\"module\" src=\"/assets/desk.", "");
        for live in ["<script", "=\"javascript:", "<img"] {
            assert!(!text.contains(live), "{live} in {text}");
        }
        self
    }
}

async fn get(app: &TestApp, path: &str) -> Page {
    Page::read(app.http.get(app.ops(path)).send().await.unwrap()).await
}

fn maildir(app: &TestApp) -> PathBuf {
    app.config.data.join("mail")
}

#[tokio::test]
async fn what_was_mailed_is_listed_found_and_shown() {
    let app = TestApp::start_with(&[("mail.time_zone", "Europe/Madrid")]).await;
    app.place("1010", "ana@example.org").await;
    app.place("1080", "jose@example.net").await;
    app.mails(2).await;
    let all = get(&app, "/mailbox?lang=en").await;
    all.assert_page();
    assert!(all.text.contains("ana@example.org") && all.text.contains("jose@example.net"), "{}", all.text);
    assert!(all.text.contains("Pedido 2 recibido: Cafetera &quot;Mañana&quot; 6 tazas"), "{}", all.text);
    assert!(all.text.contains("<time datetime=\"2025-11-24T16:00:00.000Z\">17:00:00</time>"), "{}", all.text);
    assert!(all.text.contains("1–2 of 2") && all.text.contains("id=\"clock\""), "{}", all.text);
    assert!(all.text.contains("<span data-zone>Europe&#x2f;Madrid</span>"), "{}", all.text);
    for (query, is_found) in [("1", "ana@"), ("JOSE@example", "jose@"), ("%231", "ana@")] {
        let page = get(&app, &format!("/mailbox?q={query}&lang=en")).await;
        page.assert_page();
        let other = if is_found == "ana@" { "jose@" } else { "ana@" };
        assert!(page.text.contains(is_found) && !page.text.contains(other), "{query}: {}", page.text);
    }
    assert!(get(&app, "/mailbox?q=nobody@&lang=en").await.assert_page().text.contains("There is no such mail"));
    assert!(get(&app, "/mailbox?page=x&page=99&lang=en").await.text.contains("ana@example.org"));
    let mut files =
        app.config.data.join("mail/new").read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let id = format!("/mailbox/{}", files.find(|name| name.starts_with("1764000000.O1S1.")).unwrap());
    let html = get(&app, &id).await;
    assert!(
        html.text.contains("<div class=\"phone\">") && html.text.contains("jose@example.net"),
        "beside the list: {}",
        html.text
    );
    let wide = get(&app, &format!("{id}?view=wide&q=1")).await;
    assert!(wide.assert_page().text.contains("<iframe") && !wide.text.contains("class=\"phone\""), "{}", wide.text);
    assert!(wide.text.contains("?q=1&amp;view=text") && !wide.text.contains("jose@example.net"), "{}", wide.text);
    assert!(html.assert_page().text.contains(&format!("src=\"{id}/html\"")), "{}", html.text);
    assert!(html.text.contains("<iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\""), "{}", html.text);
    assert!(get(&app, &format!("{id}?view=text")).await.assert_page().text.contains("¡Gracias por tu pedido!"));
    let headers = get(&app, &format!("{id}?view=headers")).await;
    assert!(headers.assert_page().text.contains("&lt;1.1."), "{}", headers.text);
    assert!(get(&app, &format!("{id}?view=source")).await.assert_page().text.contains("X-Order-Id: 1"));
    let raw = get(&app, &format!("{id}/raw")).await;
    assert_eq!((raw.status, &*raw.kind), (StatusCode::OK, "message/rfc822"));
    assert!(raw.text.starts_with("From: "), "{}", raw.text);
}

#[tokio::test]
async fn speaks_the_readers_language() {
    let app = TestApp::start().await;
    let asked = async |accept: &str| {
        let request = app.http.get(app.ops("/mailbox")).header("Accept-Language", accept);
        Page::read(request.send().await.unwrap()).await
    };
    let english = asked("en-US,en;q=0.9").await;
    assert!(english.assert_page().text.contains("<html lang=\"en\">") && english.text.contains("no mails yet"));
    let spanish = asked("de").await;
    assert!(spanish.assert_page().text.contains("<html lang=\"es\">") && spanish.text.contains("Todavía no hay"));
    let style = english.text.split("stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = get(&app, &style.replace("&#x2f;", "/")).await;
    assert_eq!((style.status, &*style.kind), (StatusCode::OK, "text/css; charset=utf-8"));
}

#[tokio::test]
async fn hostile_mails_stay_text() {
    let app = TestApp::start().await;
    let new = maildir(&app).join("new");
    let script = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let html = format!(
        "From: \"{script}\" <x@example.org>\nTo: \"{script}\" <a@example.org>\nSubject: {script}\n\
         X-Order-Id: {script}\nX-Order-State: {script}\nX-{script}: {script}\nContent-Type: text/html\n\n\
         {script}<a href=\"javascript:alert(1)\">x</a>"
    );
    fs::write(new.join("1.html"), html).unwrap();
    fs::write(new.join("2.<script>.\"x\""), "Subject: =?utf-8?Q?=0D=0ASet-Cookie:_x=3D1?=\n\nx").unwrap();
    fs::write(new.join("3.broken"), b"\xff\xfe\x00\r\r\n\n--\n\0").unwrap();
    fs::write(new.join("4.empty"), b"").unwrap();
    let nested: Vec<_> =
        (0..20_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    fs::write(new.join("5.nested"), nested.concat()).unwrap();
    fs::write(new.join("6.huge"), format!("Subject: huge\n\n{}", "x".repeat(8 << 20))).unwrap();
    fs::write(new.join("7.head"), "Subject: ".to_owned() + &"y".repeat(1 << 20)).unwrap();
    let level = "Content-Type: message/rfc822\n\n";
    fs::write(new.join("9.within"), format!("Subject: x\n{}", level.repeat((1 << 20) / level.len()))).unwrap();
    symlink("/etc/hostname", new.join("8.link")).unwrap();
    let list = get(&app, "/mailbox").await;
    assert!(list.assert_page().text.contains("&lt;script&gt;"), "{}", list.text);
    get(&app, "/mailbox?q=a@example.org").await.assert_page();
    get(&app, "/mailbox?q=%3Cscript%3E%22%00").await.assert_page();
    for name in ["1.html", "2.%3Cscript%3E.%22x%22", "3.broken", "4.empty", "5.nested", "6.huge", "7.head", "9.within"]
    {
        for view in ["", "html", "text", "headers", "source", "%3Cscript%3E"] {
            let page = get(&app, &format!("/mailbox/{name}?view={view}")).await;
            page.assert_page();
            assert!(page.text.len() < 4 << 20, "{name} {view}: {} bytes", page.text.len());
        }
    }
    let framed = get(&app, "/mailbox/1.html/html").await;
    assert_eq!(framed.kind, "text/html; charset=utf-8");
    assert!(framed.policy.contains("sandbox allow-popups allow-popups-to-escape-sandbox"), "{}", framed.policy);
    assert!(framed.policy.contains("default-src 'none'") && !framed.policy.contains("script"), "{}", framed.policy);
    assert!(get(&app, "/mailbox/6.huge?view=text&lang=en").await.text.contains("It is too long"));
    assert_eq!(get(&app, "/mailbox/8.link").await.status, 404);
}

#[tokio::test]
async fn no_name_leads_out_of_the_maildir() {
    let app = TestApp::start().await;
    fs::write(maildir(&app).join("secret"), "Subject: secret\n\n").unwrap();
    fs::write(maildir(&app).join("tmp/half"), "Subject: half\n\n").unwrap();
    for id in
        ["..%2Fsecret", "..%2f..%2fstore.db", "..", ".", "%2e%2e%2fsecret", "secret", "half", "x%00", "%ff", "new"]
    {
        for part in ["", "/raw", "/html"] {
            let page = get(&app, &format!("/mailbox/{id}{part}")).await;
            let refused = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST].contains(&page.status);
            // clients take dots out of a path themselves: then it is another page
            assert!(refused || !page.text.contains("secret"), "{id}{part}: {} {}", page.status, page.text);
        }
    }
}

#[tokio::test]
async fn the_gallery_shows_every_state_in_every_language() {
    let app = TestApp::start().await;
    let gallery = get(&app, "/mailbox/gallery?lang=en").await;
    let count = gallery.assert_page().text.matches("<iframe sandbox").count();
    assert_eq!(count, 8 * Lang::ALL.len(), "{}", gallery.text);
    for number in 0..count {
        let sample = get(&app, &format!("/mailbox/gallery/{number}")).await;
        assert!(sample.text.contains("color-scheme") && sample.policy.contains("sandbox"), "{}", sample.text);
    }
    assert_eq!(get(&app, &format!("/mailbox/gallery/{count}")).await.status, 404);
}

#[tokio::test]
async fn says_where_mails_go_when_none_are_kept() {
    let sink = Sink::start().await;
    let app = TestApp::start_with(&[("mail.url", &sink.url())]).await;
    let page = get(&app, "/mailbox?lang=en").await;
    assert!(page.assert_page().text.contains("go out over SMTP") && page.text.contains(&sink.addr.to_string()));
    assert_eq!(get(&app, "/mailbox/1.x").await.status, 404);
    let off = TestApp::start_with(&[("mail.url", "none:")]).await;
    assert!(get(&off, "/mailbox?lang=en").await.assert_page().text.contains("switched off"));
}

#[tokio::test]
async fn only_this_machine_sees_addresses() {
    let app = TestApp::start().await;
    let request = app.http.get(app.ops("/mailbox")).header("Host", "evil.example");
    assert_eq!(Page::read(request.send().await.unwrap()).await.status, 403);
    // a folder that is gone is said, and found again
    let (here, away) = (maildir(&app), app.config.data.join("away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(get(&app, "/mailbox").await.status, 503);
    fs::rename(&away, &here).unwrap();
    eventually("the mailbox", async || match get(&app, "/mailbox").await.status {
        StatusCode::OK => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}
