//! Questions to the log, one after the other, and what is said when it does not answer.

use std::{fmt::Display, time::Duration};

use tokio::{task::spawn_blocking, time::timeout};

use super::Desk;
use crate::{
    eventlog::{self, Error, EventLog},
    web::Problem,
};

/// How long a question to the log may take.
const LOG_MAX: Duration = Duration::from_secs(5);
pub(super) fn silent(error: impl Display) -> Problem {
    tracing::warn!(%error, "the desk cannot read the log");
    Problem::unavailable("the log does not answer; nothing is lost, ask again in a moment")
}

/// Asks the log, one question after the other: one that hangs holds one thread.
pub(super) async fn ask<T: Send + 'static>(
    desk: &Desk,
    question: impl FnOnce(&dyn EventLog) -> eventlog::Result<T> + Send + 'static,
) -> eventlog::Result<T> {
    let log = desk.0.deps.watch.log().ok_or_else(|| Error::Unavailable("it is not open yet".into()))?.clone();
    let answer = async {
        let turn = desk.0.reading.clone().lock_owned().await;
        let ask = spawn_blocking(move || {
            let _turn = turn;
            question(&*log)
        });
        ask.await
    };
    match timeout(LOG_MAX, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
        Err(_) => Err(Error::Unavailable(format!("no answer within {LOG_MAX:?}"))),
    }
}
