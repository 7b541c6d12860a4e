//! Who may see customers' addresses and change orders on the operations listener: whoever is on this machine.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::web::{Problem, is_from_here};

const OFF_LOOPBACK: &str = "estas páginas muestran direcciones de clientes y cambian pedidos, y este puerto no está solo en \
                            esta máquina\nthese pages show customers' addresses and change orders, and this listener is not on \
                            loopback: leave ops.listen at 127.0.0.1:9000 and come through a tunnel (ssh -L \
                            9000:127.0.0.1:9000 HOST)";
const FROM_ELSEWHERE: &str = "esta página se pide como localhost o por una dirección de esta máquina, sin proxy\nask for this \
                              page as localhost or by an address of this machine, by no proxy: under another name, a page \
                              of somebody else in your browser could read it";

/// Lets a request pass when the listener is on loopback (`open`) and the client calls it by a name of this machine and
/// by no proxy: a name that somebody else has pointed at it (DNS rebinding) would open it to their scripts.
pub(super) async fn guard(State(open): State<bool>, request: Request, next: Next) -> Response {
    let refuse = |detail| Problem::new(StatusCode::FORBIDDEN, "closed", "Closed from here", detail).into_response();
    if !open {
        return refuse(OFF_LOOPBACK);
    }
    if !is_from_here(request.uri(), request.headers()) {
        return refuse(FROM_ELSEWHERE);
    }
    next.run(request).await
}
