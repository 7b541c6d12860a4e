//! The page on which people show the token, and what comes of it: a session in a cookie.

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE},
        uri::PathAndQuery,
    },
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::context;

use super::{Access, BODY_BYTES_MAX, sessions::LASTS};
use crate::{
    pages::{Pages, Reader, Site},
    web::{self, Problem, query_field},
};

/// Why somebody is asked again.
pub(super) enum Flaw {
    Wrong,
    /// Too often, for that many seconds.
    TooOften(u32),
}

pub(super) fn pages(site: &Site) -> Pages {
    Pages::new(site, &[("login.html", include_str!("templates/login.html"))])
}

pub(super) fn way_in(access: Access) -> Router {
    Router::new().route("/login", get(show).post(enter)).with_state(access)
}

pub(super) fn way_out(access: Access) -> Router {
    Router::new().route("/logout", post(leave)).with_state(access)
}

/// The log-in that leads on to a path of this listener.
pub(super) fn path(next: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    if next == "/" { "/login".to_owned() } else { format!("/login?{query}") }
}

/// Where the log-in leads on to: a path of this listener and nothing else, whatever stands in its address. Browsers
/// read `//` and `/\` as the beginning of another host.
fn next(request: &Request) -> String {
    let is_ours = |next: &str| {
        next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && next.parse::<PathAndQuery>().is_ok()
    };
    query_field(request.uri(), "next").filter(|next| next.is_ascii() && is_ours(next)).unwrap_or_else(|| "/".to_owned())
}

impl Access {
    pub(super) fn login_page(&self, reader: &Reader, next: &str, flaw: Option<&Flaw>) -> Response {
        let wait = match flaw {
            Some(Flaw::TooOften(wait)) => Some(*wait),
            _ => None,
        };
        let values = context! { action => path(next), is_wrong => flaw.is_some(), wait };
        let mut page = self.0.pages.render("login.html", reader, values);
        let (status, headers) = match flaw {
            None => return page,
            Some(Flaw::Wrong) => {
                (StatusCode::UNAUTHORIZED, (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"encargo\"")))
            }
            Some(Flaw::TooOften(wait)) => (StatusCode::TOO_MANY_REQUESTS, (RETRY_AFTER, HeaderValue::from(*wait))),
        };
        *page.status_mut() = status;
        page.headers_mut().insert(headers.0, headers.1);
        page
    }
}

/// `GET /login`: asks, unless somebody is logged in already.
async fn show(State(access): State<Access>, reader: Reader, request: Request) -> Response {
    let next = next(&request);
    if access.session(&request).is_some() {
        return Redirect::to(&next).into_response();
    }
    access.login_page(&reader, &next, None)
}

/// `POST /login`: begins a session.
async fn enter(State(access): State<Access>, reader: Reader, request: Request) -> Result<Response, Problem> {
    let (next, (name, is_tls)) = (next(&request), access.cookie(&request));
    let client = web::client(&request, access.0.options.trusted_hops);
    let old = web::cookie(request.headers(), &name).map(str::to_owned);
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    match access.try_token(&token(&body.unwrap_or_default()), client) {
        Ok(true) => {}
        Ok(false) => return Ok(access.login_page(&reader, &next, Some(&Flaw::Wrong))),
        Err(wait) => return Ok(access.login_page(&reader, &next, Some(&Flaw::TooOften(wait)))),
    }
    let (sessions, env) = (&access.0.sessions, &access.0.env);
    if let Some(old) = old {
        sessions.end(env.clock.monotonic(), &old);
    }
    let (secret, session) = sessions.begin(env).map_err(|error| {
        tracing::error!(%error, "the system has no random numbers, so nobody can log in");
        Problem::internal()
    })?;
    let client = client.map_or_else(|| "this machine".to_owned(), |client| client.to_string());
    tracing::info!(client, session, "login at the operations desk");
    Ok(([(SET_COOKIE, cookie(&name, &secret, LASTS.as_secs(), is_tls))], Redirect::to(&next)).into_response())
}

/// `POST /logout`: ends the session.
async fn leave(State(access): State<Access>, request: Request) -> Response {
    let (name, is_tls) = access.cookie(&request);
    if let Some(secret) = web::cookie(request.headers(), &name) {
        access.0.sessions.end(access.0.env.clock.monotonic(), secret);
    }
    ([(SET_COOKIE, cookie(&name, "", 0, is_tls))], Redirect::to("/login")).into_response()
}

/// The token in a form, without the spaces and line ends that copying brings.
fn token(body: &Bytes) -> Vec<u8> {
    let token = form_urlencoded::parse(body).find(|(name, _)| name == "token").map(|(_, value)| value);
    token.unwrap_or_default().trim().as_bytes().to_vec()
}

fn cookie(name: &str, value: &str, seconds: u64, is_tls: bool) -> String {
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
