//! Why a server cannot be reached, in words that say what to look at.

use std::{error::Error, io};

use crate::{causes::with_causes, tls};

/// What an error of a connection means. `address` and `ca` are the settings that name the server and its authorities.
pub fn explain(error: &(dyn Error + 'static), address: &str, ca: &str) -> String {
    if let Some(failure) = tls::failure(error) {
        return tls::explain(failure, ca);
    }
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let Some(found) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) else {
        return with_causes(error);
    };
    if is_of_the_resolver(found) {
        return format!("the host's name is not known ({found}): is the host in {address} right?");
    }
    match found.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens there ({found}): is the port in {address} right, and is the server running?")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no way leads there ({found})"),
        io::ErrorKind::TimedOut => format!("no answer ({found}): does a firewall keep that port of {address} closed?"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => format!("it closed the connection ({found})"),
        _ => found.to_string(),
    }
}

/// The standard library gives a failed look-up of a name no number of the system's, and the one kind that has no name:
/// that of a number nobody knows.
fn is_of_the_resolver(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() == io::Error::from_raw_os_error(i32::MAX).kind()
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_told_by_its_kind() {
        let unknown = ("two..dots", 5432).to_socket_addrs().unwrap_err();
        let told = explain(&unknown, "store.url", "store.ca");
        assert!(told.starts_with("the host's name is not known") && told.contains("store.url"), "{told}");

        let other = io::Error::other("no lookup address in the reply");
        assert_eq!(explain(&other, "store.url", "store.ca"), "no lookup address in the reply");
        let system = io::Error::from_raw_os_error(i32::MAX);
        assert_eq!(explain(&system, "store.url", "store.ca"), system.to_string());
    }
}
