//! An error with what caused it, once.

use std::{error::Error, iter::successors};

/// What an error says, and what each of its sources says: for a line of a log, which shows the outermost alone.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let all = successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
