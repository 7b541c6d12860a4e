//! Who may see customers' addresses on the operations listener: whoever is on this machine.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::HOST},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::web::Problem;

const OFF_LOOPBACK: &str = "el buzón y el libro de correos muestran direcciones de clientes, y este puerto no está solo en \
                            esta máquina\nthe mailbox and the ledger show customers' addresses, and this listener is not on \
                            loopback: leave ops.listen at 127.0.0.1:9000 and come through a tunnel (ssh -L \
                            9000:127.0.0.1:9000 HOST)";
const FOREIGN_HOST: &str = "esta página se pide como localhost o por una dirección de esta máquina\nask for this page as \
                            localhost or by an address of this machine: under another name, a page of somebody else in \
                            your browser could read it";

/// Lets a request pass when the listener is on loopback (`open`) and the client calls it by a name of this machine: a
/// name that somebody else has pointed at it (DNS rebinding) would open it to their scripts.
pub(super) async fn guard(State(open): State<bool>, request: Request, next: Next) -> Response {
    let refuse = |detail| Problem::new(StatusCode::FORBIDDEN, "closed", "Closed from here", detail).into_response();
    if !open {
        return refuse(OFF_LOOPBACK);
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_this_machine(host) {
        return refuse(FOREIGN_HOST);
    }
    next.run(request).await
}

/// Whether a `Host` header, with or without a port, is a loopback name or address.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:9000", "127.0.0.1:9000", "127.1.2.3", "[::1]:9000", "[::1]", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "shop.example", "localhost.evil.example:9000", "192.0.2.1:9000", "[2001:db8::1]:80", "1"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
