//! Why a server cannot be reached, in words that say what to look at.

use std::{error::Error, io};

use crate::tls;

/// What an error of a connection means. `address` and `ca` are the settings that name the server and its authorities.
pub fn explain(error: &(dyn Error + 'static), address: &str, ca: &str) -> String {
    if let Some(failure) = tls::failure(error) {
        return tls::explain(failure, ca);
    }
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let Some(found) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) else {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        return format!("{error}{cause}");
    };
    // the system's resolver has no kind of error of its own
    if found.to_string().contains("lookup address") {
        return format!("the host's name is not known ({found}): is the host in {address} right?");
    }
    match found.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nobody listens there ({found}): is the port in {address} right, and is the server running?")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no way leads there ({found})"),
        io::ErrorKind::TimedOut => format!("no answer ({found}): does a firewall keep that port of {address} closed?"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => format!("it closed the connection ({found})"),
        _ => found.to_string(),
    }
}
