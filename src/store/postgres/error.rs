//! Which failures go away by themselves.

use std::{error::Error as _, io};

use deadpool_postgres::tokio_postgres::{
    self,
    error::{DbError, SqlState},
};

use super::super::Error;
use crate::{reach, tls};

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
            let words = reach::explain(error, "store.url", "store.ca");
            if tls::failure(error).is_some_and(tls::is_about_the_certificate) {
                return Self::Unavailable(format!("database: its certificate is not trusted: {words}"));
            }
            return Self::Unavailable(format!("database: {words}{}", hint(error)));
        };
        let hint = advice(db);
        let text = format!("database: {} ({}){hint}", db.message(), db.code().code());
        if passes(db.code()) { Self::Unavailable(text) } else { Self::Fatal(text) }
    }
}

/// What to do about what the driver says. It has no public kinds: where no type tells, its words have to match exactly
/// (`tests/it/store/connecting.rs` meets each).
fn hint(error: &tokio_postgres::Error) -> &'static str {
    const NOT_POSTGRES: &str = ": is it PostgreSQL that listens there?";
    let cause = error.source();
    if tls::failure(error).is_none()
        && let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<io::Error>())
        && matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
    {
        return NOT_POSTGRES; // a message that cannot be read
    }
    match &*cause.map_or_else(|| error.to_string(), ToString::to_string) {
        "unexpected message from server" | "bytes remaining on stream" => NOT_POSTGRES,
        "server does not support TLS" => {
            ": write sslmode=disable in store.url to go without (in clear text), or switch ssl on there"
        }
        "password missing" => ": set store.password_file, or the password in store.url",
        _ => "",
    }
}

/// What to do about what the server says. It says it in its own language, so this goes by the code and by the routine
/// that raised the error, which are the same in all of them.
fn advice(error: &DbError) -> &'static str {
    match error.code().code() {
        "28P01" => ": are user and password (store.password_file) right?",
        "28000" if error.routine() == Some("ClientAuthentication") => {
            ": let this user and host in, in pg_hba.conf there; if they may come by TLS only, write sslmode=require in store.url"
        }
        "28000" => ": is the user in store.url right?",
        "3D000" => ": create it, or name another in store.url",
        "3F000" => ": create the schema that store.url names (CREATE SCHEMA), or leave it out there",
        "42501" => ": grant the user CREATE and USAGE on the schema",
        "53300" => ": fewer connections (store.pool_max), or more there (max_connections)",
        "26000" | "42P05" => ": a pooler in transaction mode is in between: write store.pool = \"transaction\"",
        // PgBouncer has one code for all that it refuses, and speaks English alone
        "08P01" if error.routine().is_none() && error.message().contains("startup parameter") => {
            ": a pooler is in between: leave that parameter out of store.url, or add it to ignore_startup_parameters there"
        }
        _ => "",
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
