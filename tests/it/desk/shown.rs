//! The commands that pages show.

use std::collections::BTreeSet;

use clap::Parser as _;

use super::{all_sent, page, page_with, placed};
use crate::{harness::app::TestApp, ledger::bounce};

/// The commands that a page shows, as words; placeholders filled in.
fn commands(html: &str) -> Vec<Vec<String>> {
    let codes = html.split("<code>encargo ").skip(1).map(|rest| rest.split("</code>").next().unwrap());
    let legible = [("&#x27;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    codes
        .map(|code| {
            let code = legible.iter().fold(code.to_owned(), |code, (entity, text)| code.replace(entity, text));
            let mut words = vec![String::new()];
            for (index, part) in format!("encargo {code}").replace(r"'\''", "\0").split('\'').enumerate() {
                if index % 2 == 1 {
                    words.last_mut().unwrap().push_str(part);
                    continue;
                }
                for (index, word) in part.split(' ').enumerate() {
                    if index > 0 {
                        words.push(String::new());
                    }
                    words.last_mut().unwrap().push_str(word);
                }
            }
            let is_dead = words[1] == "dead";
            let fill = |word: String| match &*word.replace('\0', "'") {
                "ID" if is_dead => "mail:1.1".to_owned(),
                "ID" => "1".to_owned(),
                "ADDRESS" => "ana@example.org".to_owned(),
                word => word.to_owned(),
            };
            words.into_iter().map(fill).collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_a_page_shows_is_one() {
    let app = TestApp::start().await;
    let mut pages = vec![page(&app, "/").await];
    let id = placed(&app).await;
    all_sent(&app).await;
    bounce(&app, 901, "o'hara@example.org", "550 5.1.1 -x o'hara <o'hara@example.org>: no such user").await;
    page_with(&app, "/", "One thing needs attention").await;
    let failures = page(&app, "/failures").await;
    let group = failures.split("do=redrive&amp;group=").nth(1).unwrap().split('"').next().unwrap();
    let order = |verb: &str| format!("/orders/{id}{verb}");
    let decide = |what: &str| format!("/failures/decide?{what}");
    let mut paths = [
        "/",
        "/capacity",
        "/failures",
        "/ledger",
        "/mailbox",
        "/orders",
        "/orders?late=1",
        "/orders?refused=1",
        "/log",
        "/log?topic=compra_detalle",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(["?state=recibido", "?late=1&state=%2D%2Dx%27+y"].map(|query| format!("/orders{query}")));
    paths.extend(["", "/cancel", "/hold", "/delay", "/address"].map(order));
    paths.extend(["do=redrive", "do=drop", "do=drop&id=mail:901.1", "do=redrive&id=mail:901.1"].map(decide));
    paths.extend(["redrive", "drop"].map(|verb| decide(&format!("do={verb}&group={group}"))));
    paths.push(decide("do=release&address=o%27hara%40example.org"));
    for path in &paths {
        pages.push(page(&app, path).await);
    }
    let mut seen = BTreeSet::new();
    for words in pages.iter().flat_map(|html| commands(html)) {
        let parsed = encargo::cli::Cli::try_parse_from(&words);
        assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
        seen.insert(words[1..].join(" "));
    }
    for wanted in [
        "dead drop --all",
        "dead drop mail:901.1",
        "dead list",
        "dead list --reason=550 5.1.1 -x o",
        "dead show mail:901.1",
        "delay 1 --by 20m",
        "list --stuck --state=--x' y",
        "mail suppressed release o'hara@example.org",
        "place 1010 --email ana@example.org --follow",
        "readdress 1 --to ana@example.org",
    ] {
        assert!(seen.contains(wanted), "{wanted}: {seen:?}");
    }
}
