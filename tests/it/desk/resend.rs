//! The last mail of an order is sent again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::{all_sent, fields, page, placed, send, with};
use crate::harness::{app::TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_mail_is_sent_again_and_accounted_for() {
    let app = TestApp::start().await;
    let id = placed(&app).await;
    all_sent(&app).await;
    let path = format!("/orders/{id}/resend");
    assert!(page(&app, &format!("/orders/{id}")).await.contains(&format!("href=\"{path}\">Send the last mail again")));
    let asked = page(&app, &path).await;
    assert!(asked.contains("The mail “Received” goes to ana@example.org again"), "{asked}");
    let form = with(&fields(&asked), &[("by", "Ana"), ("reason", "it has not come")]);
    assert_eq!(send(&app, &path, &form, Some("http://elsewhere.example")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(send(&app, &path, &with(&form, &[("form", "x")]), None).await.status(), StatusCode::FORBIDDEN);
    let done = send(&app, &path, &form, None).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    assert_eq!(done.headers()["location"], format!("/orders/{id}?done=resend"));
    // the same form again does nothing more
    assert_eq!(send(&app, &path, &form, None).await.status(), StatusCode::CONFLICT);
    eventually("the repeat", async || {
        app.clock.advance(Duration::from_secs(1)); // until an idle mailer looks
        let ledger: Value = app.http.get(app.ops("/ledger")).send().await.unwrap().json().await.unwrap();
        let waits = ledger["mails"]["pending"] != 0 || ledger["mails"]["sending"] != 0;
        if ledger["repeated"] == 1 && !waits { Ok(()) } else { Err(ledger.to_string()) }
    })
    .await;
    assert_eq!(send(&app, &path, &form, None).await.status(), StatusCode::CONFLICT, "it was sent since");
    let told = page(&app, &format!("/orders/{id}?done=resend")).await;
    for words in ["The last mail is sent again.", "Mail “Received” sent again", "by Ana: it has not come", "2 tries"]
    {
        assert!(told.contains(words), "{words} is missing in {told}");
    }
}
