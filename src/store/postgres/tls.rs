//! TLS to the database, with what the mailer trusts as well.

use std::path::Path;

use tokio_postgres_rustls::MakeRustlsConnect;

use super::{super::Error, Result};
use crate::tls::{self, Trust};

/// How strictly the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

/// Checks the server's certificate where the address asks for it (`verify-full`), or a file of certificates is given.
/// Otherwise the connection is encrypted and nobody knows with whom, as with the database's own tools.
pub(super) fn connector(protection: Protection, ca: Option<&Path>) -> Result<MakeRustlsConnect> {
    let trust = match (protection, ca) {
        (Protection::VerifyFull, _) | (_, Some(_)) => Trust::Known(ca),
        (_, None) => Trust::Any,
    };
    Ok(MakeRustlsConnect::new(tls::client(trust).map_err(Error::Fatal)?))
}
