//! Streams of events, as a client reads them.

use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use super::PATIENCE;

/// A stream of events, read piece by piece.
pub struct Stream(Response);

impl Stream {
    pub async fn open(request: RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        assert_eq!((response.status(), kind.as_deref()), (StatusCode::OK, Some("text/event-stream")));
        Self(response)
    }

    /// Reads until a text has come; returns what came.
    pub async fn until(&mut self, text: &str) -> String {
        let mut came = String::new();
        let read = async {
            while !came.contains(text) {
                let piece = self.0.chunk().await.unwrap().unwrap_or_else(|| panic!("it ended before {text}: {came}"));
                came.push_str(std::str::from_utf8(&piece).unwrap());
            }
        };
        let is_there = timeout(PATIENCE, read).await;
        assert!(is_there.is_ok(), "waited for {text}: {came}");
        came
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> String {
        let mut came = String::new();
        let read = async {
            while let Some(piece) = self.0.chunk().await.unwrap() {
                came.push_str(std::str::from_utf8(&piece).unwrap());
            }
        };
        assert!(timeout(PATIENCE, read).await.is_ok(), "it goes on: {came}");
        came
    }
}

/// The id of the last event.
pub fn last_id(text: &str) -> &str {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap_or_else(|| panic!("no id in {text}"))
}
