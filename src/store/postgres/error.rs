//! Which failures go away by themselves.

use deadpool_postgres::tokio_postgres::{self, error::SqlState};

use super::super::Error;

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&tokio_postgres::Error> for Error {
    /// Everything that a restart, a failover, room on the disk or another try can mend is unavailability. When a commit
    /// fails so, nobody knows whether it was done: each call of the store can be repeated.
    fn from(error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // never a query's fault: those are all answered by the server
            let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
            return Self::Unavailable(format!("database: {error}{cause}"));
        };
        let text = format!("database: {} ({})", db.message(), db.code().code());
        if passes(db.code()) { Self::Unavailable(text) } else { Self::Fatal(text) }
    }
}

/// By the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn passes(code: &SqlState) -> bool {
    match code.code().get(..2) {
        // connection, transaction rollback (serialization, deadlock), resources (disk, memory, connections),
        // operator's intervention (shut down, starting up, cancelled), system
        Some("08" | "40" | "53" | "57" | "58") => true,
        _ => [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION, // a standby that is about to take over
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::IN_FAILED_SQL_TRANSACTION, // of statements in one go, a later one's answer may be looked at first
        ]
        .contains(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_pass_is_told_from_what_cannot() {
        for code in
            ["08006", "40001", "40P01", "53100", "53300", "57P01", "57P03", "57014", "58030", "55P03", "25006", "25P02"]
        {
            assert!(passes(&SqlState::from_code(code)), "{code}");
        }
        for code in ["42P01", "28P01", "3D000", "42501", "23505", "22001", "XX001"] {
            assert!(!passes(&SqlState::from_code(code)), "{code}");
        }
    }
}
