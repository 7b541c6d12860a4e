//! `/checkout`: one product, one field, one order.
//!
//! The page has an address of its own, to which the browser is sent on, and the browser a secret in a cookie; both together make
//! the key of the order. So a reload shows the same form, the back button leads to it again, whatever it sends twice is answered as the
//! first time, and nobody who knows the address knows the key. A browser without cookies has a new form with each reload. The form is
//! answered by JSON to the page's script, which repeats it while there is too much to do, and by pages to everybody else.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    body::to_bytes,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE},
    },
    response::{IntoResponse, Response},
};
use minijinja::{Value, context};
use serde::Serialize;

use super::{
    Shop,
    asked::Asked,
    form::{Form, hex, is_ours, key_of, number},
};
use crate::{
    domain::{Lang, Product, TraceParent},
    intake::{
        idempotency::{self, Once},
        json::{BODY_BYTES_MAX, problem},
        place::{OrderRequest, Placed, Refusal},
    },
    pages::Reader,
    web::{self, Problem, accepts_html, query_field},
    words::word,
};

/// How long a form that was sent twice waits for the answer to the first, and how often it looks.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long a new order is waited for where it is looked up, and how often that is asked.
const SHOWN_PATIENCE: Duration = Duration::from_secs(1);
const SHOWN_PAUSE: Duration = Duration::from_millis(20);

/// The cookie with the browser's secret.
const BROWSER: &str = "checkout";

/// An order that is taken, for the page's script.
#[derive(Serialize)]
struct Ordered {
    orderid: u64,
    /// Where it can be followed, if tracking is reached from here.
    track: Option<String>,
}

/// What became of a form.
enum Outcome {
    Placed(Placed),
    Refused(Refusal),
    /// The address is none, for the reason of these words.
    WrongAddress(&'static str),
    /// The page had another price.
    Repriced,
    /// There is no such product.
    Gone,
    /// There is no key, or none of ours.
    Keyless,
}

impl Outcome {
    /// Whether the page's script has no words of its own for it.
    fn is_left_to_page(&self) -> bool {
        match self {
            Self::Placed(_) => false,
            Self::Refused(refusal) => matches!(refusal, Refusal::Mismatch { .. } | Refusal::Internal),
            _ => true,
        }
    }
}

pub(super) async fn show(State(shop): State<Arc<Shop>>, request: Request) -> Response {
    let uri = request.uri();
    let reader = Reader::of(request.method(), uri, request.headers());
    let product = query_field(uri, "product").unwrap_or_default();
    if shop.service.catalog.by_id(&product).is_none() {
        return shop.gone(&reader, uri);
    }
    let Some(address) = address_key(uri) else { return shop.with_key(&product, uri) };
    let known = web::cookie(request.headers(), BROWSER).and_then(number);
    let browser = match known.map_or_else(|| shop.random(), Ok) {
        Ok(browser) => browser,
        Err(problem) => return problem.into_response(),
    };
    let form = Form { key: key_of(address, browser), product, ..Form::default() };
    let mut response = shop.page(StatusCode::OK, &reader, uri, &form, Value::UNDEFINED);
    if known.is_none() {
        let cookie = format!("{BROWSER}={}; Path=/checkout; SameSite=Lax; HttpOnly", hex(browser));
        response.headers_mut().append(SET_COOKIE, cookie.parse().expect("digits are plain"));
    }
    response
}

/// What tells this page from others of the same product.
fn address_key(uri: &Uri) -> Option<u128> {
    query_field(uri, "key").as_deref().and_then(number)
}

pub(super) async fn order(State(shop): State<Arc<Shop>>, request: Request) -> Response {
    let start = shop.service.clock.monotonic();
    let reader = Reader::of(request.method(), request.uri(), request.headers());
    let (uri, wants_page) = (request.uri().clone(), accepts_html(request.headers()));
    let response = match shop.read(request).await {
        Ok((form, outcome)) => {
            // what is left to a page is asked for again, and counts then
            if wants_page || !outcome.is_left_to_page() {
                shop.count(&outcome);
            }
            if wants_page { shop.answer_page(&reader, &uri, form, outcome) } else { shop.answer_json(outcome) }
        }
        Err(problem) => problem.into_response(),
    };
    shop.service.metrics.seconds.observe(shop.service.clock.monotonic().saturating_sub(start).as_secs_f64());
    response
}

impl Shop {
    /// Reads a form and does what it says.
    async fn read(&self, request: Request) -> Result<(Form, Outcome), Problem> {
        let client = web::client(&request, self.service.rates.trusted_hops);
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::malformed("the body cannot be read"))?;
        let form = Form::of(&bytes);
        if !is_ours(&form.key) {
            return Ok((form, Outcome::Keyless));
        }
        let trace = self.service.traces.of(&parts.headers);
        let once = Once {
            key: form.key.clone(),
            request: idempotency::hash(&form.product, &form.email, &form.lang),
            accepted: self.service.metrics.accepted_by_page.clone(),
        };
        let outcome = self.place(&form, once, client, trace).await;
        if let Outcome::Placed(placed) = &outcome {
            self.until_shown(placed).await;
        }
        Ok((form, outcome))
    }

    fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Placed(_) => {}
            Outcome::Refused(refusal) => self.service.count(*refusal),
            _ => {
                self.service.metrics.refused_invalid.inc();
            }
        }
    }

    async fn place(&self, form: &Form, once: Once, client: Option<IpAddr>, trace: Option<TraceParent>) -> Outcome {
        let service = &self.service;
        // nothing was ever ordered for it, so this key is as good as new
        let email = match form.email() {
            Ok(email) => email,
            Err(words) => return Outcome::WrongAddress(words),
        };
        // before anything is asked of the present: an answer that was given does not change
        match self.first_answer(&once, trace).await {
            Ok(None) => {}
            Ok(Some(placed)) => return Outcome::Placed(placed),
            Err(refusal) => return Outcome::Refused(refusal),
        }
        let Some((_, product)) = service.catalog.by_id(&form.product) else { return Outcome::Gone };
        if form.price != product.price.as_str() {
            return Outcome::Repriced;
        }
        if let Err(refusal) = service.admit(client, &email) {
            return Outcome::Refused(refusal);
        }
        let order_request = OrderRequest { product: product.clone(), email, lang: Lang::meant_by(&form.lang), trace };
        match service.clone().place_once(once.clone(), order_request).await {
            Ok(placed) => Outcome::Placed(placed),
            // the other of two clicks was faster by a hair
            Err(Refusal::Running) => match self.first_answer(&once, trace).await {
                Ok(Some(placed)) => Outcome::Placed(placed),
                Ok(None) => Outcome::Refused(Refusal::Running),
                Err(refusal) => Outcome::Refused(refusal),
            },
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// The answer that the form's key has; while it is being made, waits for it.
    async fn first_answer(&self, once: &Once, trace: Option<TraceParent>) -> Result<Option<Placed>, Refusal> {
        let until = self.service.pace.monotonic() + FIRST_PATIENCE;
        loop {
            match self.service.earlier(once, trace).await {
                Err(Refusal::Running) if self.service.pace.monotonic() < until => {
                    self.service.pace.sleep(FIRST_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Waits until an order can be followed, so that nobody is led to a page on which there is none yet; not long, for it is placed.
    async fn until_shown(&self, placed: &Placed) {
        if !self.has_tracking {
            return;
        }
        let pace = &self.service.pace;
        let shown = async {
            while matches!(self.service.is_known(placed.id).await, Ok(false)) {
                pace.sleep(SHOWN_PAUSE).await;
            }
        };
        // a look itself may take longer than its reader's request
        tokio::select! {
            () = shown => {}
            () = pace.sleep(SHOWN_PATIENCE) => {}
        }
    }

    fn answer_json(&self, outcome: Outcome) -> Response {
        match outcome {
            Outcome::Placed(placed) => {
                let track = self.has_tracking.then(|| self.service.address_of(&placed));
                (StatusCode::ACCEPTED, Json(Ordered { orderid: placed.id.get(), track })).into_response()
            }
            Outcome::Refused(refusal) => problem(refusal, self.reservation_s()).into_response(),
            Outcome::Gone => Problem::not_found("there is no such product").into_response(),
            // the script leaves it to the browser, which gets a page that says so
            Outcome::WrongAddress(_) | Outcome::Repriced | Outcome::Keyless => {
                Problem::invalid(Vec::new()).into_response()
            }
        }
    }

    fn answer_page(&self, reader: &Reader, uri: &Uri, mut form: Form, outcome: Outcome) -> Response {
        let refused = match outcome {
            Outcome::Placed(placed) => return self.placed(reader, &placed),
            Outcome::Gone => return self.gone(reader, uri),
            Outcome::Keyless => return self.with_key(&form.product, uri),
            Outcome::WrongAddress(words) => {
                let values = context! { error => word(reader.lang, words) };
                return self.page(StatusCode::UNPROCESSABLE_ENTITY, reader, uri, &form, values);
            }
            Outcome::Repriced => {
                return self.page(StatusCode::CONFLICT, reader, uri, &form, context! { note => "repriced" });
            }
            Outcome::Refused(Refusal::Mismatch { is_placed }) => {
                form.renew();
                let note = if is_placed { "ordered" } else { "perhaps" };
                return self.page(StatusCode::CONFLICT, reader, uri, &form, context! { note });
            }
            Outcome::Refused(refusal) => refusal,
        };
        let problem = problem(refused, self.reservation_s());
        let Some(seconds) = problem.retry_after_s() else { return problem.into_response() };
        let note = note_of(refused);
        let status = problem.status();
        let mut response = self.page(status, reader, uri, &form, context! { note, seconds });
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        response
    }

    fn reservation_s(&self) -> u32 {
        self.service.reservation.as_secs() as u32
    }

    /// The form, with what it had in it and what there is to say.
    fn page(&self, status: StatusCode, reader: &Reader, uri: &Uri, form: &Form, values: Value) -> Response {
        let Some((_, product)) = self.service.catalog.by_id(&form.product) else { return self.gone(reader, uri) };
        let asked = Asked::of(uri);
        let key = address_key(uri).map(hex).unwrap_or_default();
        let action = asked.link("/checkout", &[("product", &form.product), ("key", &key)]);
        let lang = if form.lang.is_empty() { reader.lang.code() } else { &form.lang };
        let defaults = context! { note => (), error => (), seconds => () };
        let shown = context! {
            key => &form.key, email => &form.email, mail_lang => lang, action,
            product => context! { id => &*product.id, name => &*product.name, price => product.price.as_str() },
            back => asked.link("/", &[]),
            soon => self.soon(product),
            has_tracking => self.has_tracking,
        };
        let values = if values.is_undefined() {
            defaults
        } else {
            context! { ..values, ..defaults }
        };
        with_status(self.pages.render("checkout.html", reader, context! { ..shown, ..values }), status)
    }

    /// What happens to an order, with the seconds after which it does as far as they are known.
    fn soon(&self, product: &Product) -> Vec<Value> {
        let mut after = Some(Duration::ZERO);
        let steps = self.flow.steps();
        let states = steps.iter().enumerate().map(|(place, step)| {
            let petals = (4 * (place + 1)).div_ceil(steps.len());
            let row = context! { state => &*step.state, petals, seconds => after.map(|after| after.as_secs()) };
            let stays = step.dwell_of(product).or_else(|| step.expect());
            after = after.zip(stays).map(|(after, stays)| after + stays);
            row
        });
        states.collect()
    }

    fn gone(&self, reader: &Reader, uri: &Uri) -> Response {
        let values = context! { back => Asked::of(uri).link("/", &[]) };
        with_status(self.pages.render("gone.html", reader, values), StatusCode::NOT_FOUND)
    }

    /// Leads on to where the order is followed; where nobody can follow it, says that it is placed.
    fn placed(&self, reader: &Reader, placed: &Placed) -> Response {
        if self.has_tracking {
            return see_other(&self.service.address_of(placed));
        }
        self.pages.render("placed.html", reader, context! { number => placed.id.to_string() })
    }

    /// Leads to a form with an address of its own.
    fn with_key(&self, product: &str, uri: &Uri) -> Response {
        match self.random() {
            Ok(key) => see_other(&Asked::of(uri).link("/checkout", &[("product", product), ("key", &hex(key))])),
            Err(problem) => problem.into_response(),
        }
    }

    fn random(&self) -> Result<u128, Problem> {
        let mut bytes = [0; 16];
        self.service.random.fill(&mut bytes).map_err(|error| {
            tracing::error!(%error, "cannot create an idempotency key for a form");
            Problem::internal()
        })?;
        Ok(u128::from_be_bytes(bytes))
    }
}

/// What is said while a form waits to be sent again.
fn note_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooMany(_) => "many",
        Refusal::Overloaded | Refusal::Full(_) | Refusal::Share(_) => "busy",
        Refusal::Unavailable => "away",
        _ => "unsure",
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case(FORM) { Ok(()) } else { Err(Problem::unsupported_type(FORM)) }
}

fn see_other(address: &str) -> Response {
    let location = HeaderValue::from_str(address).expect("addresses of ours are plain ASCII");
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn with_status(mut response: Response, status: StatusCode) -> Response {
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}
