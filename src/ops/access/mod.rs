//! Who may see customers' addresses and change orders on the operations listener.
//!
//! - *Without a token*: whoever is on this machine, and calls it by a name of this machine and by no proxy. A name that
//!   somebody else has pointed at it (DNS rebinding) would open it to their scripts. Off loopback there is always a token.
//! - *With one* (`ops.token`): whoever shows it, from this machine as from elsewhere, since a proxy in front of this
//!   listener may be here, too. People log in and have a session; programs send `Authorization: Bearer`. Numbers
//!   (`/metrics`) are behind it as well, as they tell how much is sold; `/livez` and `/readyz` stay open to balancers and
//!   orchestrators, which hold no secrets, and say nothing but yes or no.
//!
//! What changes something must besides hold the secret of this visit's forms. That is looked at here, before any route,
//! so that no route can forget it. A program with the token needs none: no page can make a browser send that header.

mod login;
mod sessions;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{AUTHORIZATION, REFRESH},
    },
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
};
use subtle::ConstantTimeEq as _;

use self::sessions::Sessions;
use crate::{
    env::Env,
    pages::{Pages, Reader, Site, Visit},
    telemetry::ThrottledLog,
    web::{self, Limiter, Problem, accepts_html, is_from_here},
};

/// The listener allows less; this bounds the router when something else serves it.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Wrong tokens from one client at once, and in each minute.
const WRONG_TOKENS: &str = "5/min";

const FROM_ELSEWHERE: &str = "esta página se pide como localhost o por una dirección de esta máquina, sin proxy; para otra cosa \
                              hace falta ops.token_file\nask for this page as localhost or by an address of this machine, by \
                              no proxy: under another name, a page of somebody else in your browser could read it; for \
                              anything else set ops.token_file";

/// How the operations listener is entered.
pub struct AccessOptions {
    /// What opens it; without one, being on this machine does.
    pub token: Option<String>,
    /// Proxies in front whose headers are believed.
    pub trusted_hops: usize,
    /// The listener's port: sessions of two on one host are kept apart by it, as cookies know no ports.
    pub port: u16,
}

/// Lets in who may; a cheap handle.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    options: AccessOptions,
    env: Env,
    pages: Pages,
    /// What stands in the forms where nobody logs in.
    form: String,
    sessions: Sessions,
    wrong: Limiter,
    told: ThrottledLog,
}

/// Who asks.
enum Who {
    /// A program with the token.
    Program,
    /// Somebody with a browser.
    Person(Visit),
}

impl Access {
    /// Fails where the system has no random numbers.
    pub fn new(options: AccessOptions, env: &Env, site: &Site) -> Result<Self, getrandom::Error> {
        Ok(Self(Arc::new(Inner {
            options,
            pages: login::pages(site),
            form: sessions::random(env)?,
            env: env.clone(),
            sessions: Sessions::default(),
            wrong: Limiter::new(WRONG_TOKENS.parse().expect("it is a rate")),
            told: ThrottledLog::default(),
        })))
    }

    /// Whether a token is asked for.
    pub(super) fn has_token(&self) -> bool {
        self.0.options.token.is_some()
    }

    /// Puts the guard before what shows addresses and changes orders, and before numbers, where it stands before those.
    pub(super) fn protect(self, private: Router, numbers: Router) -> Router {
        if self.0.options.token.is_none() {
            return numbers.merge(private.layer(middleware::from_fn_with_state(self, only_from_here)));
        }
        let inside = private.merge(numbers).merge(login::way_out(self.clone()));
        login::way_in(self.clone()).merge(inside.layer(middleware::from_fn_with_state(self, with_token)))
    }

    /// Who asks; nobody that is known, if they show nothing.
    fn identify(&self, request: &Request) -> Result<Option<Who>, Problem> {
        let Some(given) = request.headers().get(AUTHORIZATION).and_then(web::bearer) else {
            return Ok(self.session(request).map(Who::Person));
        };
        match self.try_token(given, web::client(request, self.0.options.trusted_hops)) {
            Ok(true) => Ok(Some(Who::Program)),
            Ok(false) => Err(stranger("Bearer realm=\"encargo\", error=\"invalid_token\"")),
            Err(wait) => Err(too_many(wait)),
        }
    }

    /// Whether it is the token, for a client that has not tried too many others; in constant time.
    fn try_token(&self, given: &[u8], client: Option<std::net::IpAddr>) -> Result<bool, u32> {
        let Inner { options, env, wrong, told, .. } = &*self.0;
        // of this machine all count as one: who comes by a proxy that is not declared seems to be here
        let of = client.map(web::network).unwrap_or_default();
        let allowed = wrong.take(env.clock.monotonic(), of);
        let token = options.token.as_deref().unwrap_or_default();
        if allowed.is_ok() && !token.is_empty() && bool::from(given.ct_eq(token.as_bytes())) {
            wrong.forget(of);
            return Ok(true);
        }
        told.warn(&env.clock, |more| {
            let client = client.map_or_else(|| "this machine".to_owned(), |client| client.to_string());
            tracing::warn!(
                client,
                more_before = more,
                "a request to the operations desk with a wrong token was refused"
            );
        });
        allowed.map(|()| false)
    }

    fn session(&self, request: &Request) -> Option<Visit> {
        let (name, _) = self.cookie(request);
        self.0.sessions.find(self.0.env.clock.monotonic(), web::cookie(request.headers(), &name)?)
    }

    /// The name of the cookie, and whether it is one for TLS alone.
    fn cookie(&self, request: &Request) -> (String, bool) {
        let AccessOptions { trusted_hops, port, .. } = self.0.options;
        let is_tls = web::is_tls(request.headers(), trusted_hops);
        (format!("{}encargo-desk-{port}", if is_tls { "__Host-" } else { "" }), is_tls)
    }

    /// Leads people to the log-in, and tells programs and scripts what is wanted.
    fn show_the_way(&self, request: &Request) -> Response {
        let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        let is_page =
            accepts_html(request.headers()) && header("sec-fetch-mode").is_none_or(|mode| mode == b"navigate");
        if !is_page {
            return stranger("Bearer realm=\"encargo\"").into_response();
        }
        let is_read = request.method() == Method::GET;
        let next = request.uri().path_and_query().filter(|_| is_read).map_or("/", |next| next.as_str());
        let way = login::path(next);
        if header("sec-fetch-site").is_none_or(|site| site != b"cross-site") {
            return Redirect::to(&way).into_response();
        }
        // who follows a link from another site brings no cookie (SameSite=Strict), but does so from here
        let reader = Reader::of(request.method(), &way.parse::<Uri>().unwrap_or_default(), request.headers());
        let mut page = self.login_page(&reader, next, None);
        if let Ok(refresh) = format!("0; url={way}").parse() {
            page.headers_mut().insert(REFRESH, refresh);
        }
        page
    }
}

/// Lets a request pass from this machine.
async fn only_from_here(State(access): State<Access>, request: Request, next: Next) -> Response {
    if !is_from_here(request.uri(), request.headers()) {
        return Problem::new(StatusCode::FORBIDDEN, "closed", "Closed from here", FROM_ELSEWHERE).into_response();
    }
    let visit = Visit { form: access.0.form.clone(), session: None };
    admit(Who::Person(visit), request, next).await
}

/// Lets a request pass with the token or in a session.
async fn with_token(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.identify(&request) {
        Ok(Some(who)) => admit(who, request, next).await,
        Ok(None) => access.show_the_way(&request),
        Err(problem) => problem.into_response(),
    }
}

/// Hands a request on, if a form that wants to change something is of this visit.
async fn admit(who: Who, request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let (mut parts, body) = request.into_parts();
    let body = match &who {
        Who::Person(visit) if !is_read => match of_this_visit(visit, body).await {
            Ok(body) => body,
            Err(problem) => return problem.into_response(),
        },
        _ => body,
    };
    let visit = match who {
        Who::Person(visit) => visit,
        Who::Program => Visit::default(),
    };
    parts.extensions.insert(visit);
    next.run(Request::from_parts(parts, body)).await
}

/// The body of a form that holds the visit's secret, which no other site can read.
async fn of_this_visit(visit: &Visit, body: Body) -> Result<Body, Problem> {
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::malformed("the form cannot be read"))?;
    let given = form_urlencoded::parse(&bytes).find(|(name, _)| name == "form").map(|(_, value)| value);
    let given = given.as_deref().unwrap_or_default();
    if !visit.form.is_empty() && bool::from(given.as_bytes().ct_eq(visit.form.as_bytes())) {
        return Ok(Body::from(bytes));
    }
    let detail = "Este formulario no es de esta página, o es de antes de un reinicio: vuelve a cargarla.\n\
                  This form is not from this page, or from before a restart: load the page again.";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-form", "Not a form of this page", detail))
}

fn stranger(challenge: &'static str) -> Problem {
    let detail = "Hace falta el código de acceso: entra en /login, o manda la cabecera Authorization: Bearer <ops.token>.\n\
                  The access token is wanted: log in at /login, or send the header Authorization: Bearer <ops.token>.";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Access token wanted", detail).challenge(challenge)
}

fn too_many(wait: u32) -> Problem {
    let detail = "Demasiados códigos equivocados seguidos: espera un momento.\n\
                  Too many wrong tokens in a row: wait a moment.";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many wrong tokens", detail).retry_after(wait)
}
