//! `POST /` as the old service takes and answers it: whatever Flask reads as a form. Errors are two lines of text, since
//! people read them.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Multipart, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
        request::Parts,
    },
    response::{Html, IntoResponse, Response},
};

use super::place::{OrderRequest, OrderService, Refusal};
use crate::{
    domain::{EmailAddress, TraceParent},
    web, words,
};

/// The listener allows less; this bounds the router when something else serves it.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The old service's answer, to the byte.
const PLACED: &str = "Transaccion enviada!";

pub(super) async fn place(State(service): State<Arc<OrderService>>, request: Request) -> Response {
    let start = service.clock.monotonic();
    let response = match run(&service, request).await {
        Ok(()) => Html(PLACED).into_response(),
        Err(complaint) => complaint.into_response(),
    };
    service.metrics.seconds.observe(service.clock.monotonic().saturating_sub(start).as_secs_f64());
    response
}

async fn run(service: &OrderService, request: Request) -> Result<(), FormError> {
    let refuse = |refusal| {
        service.count(refusal);
        FormError::refused(refusal)
    };
    let client = web::client(&request, service.rates.trusted_hops);
    service.admission.open(client.map(web::network)).map_err(|queue| refuse(Refusal::Full(queue)))?;
    let trace = service.traces.of(request.headers());
    let order_request = match Fields::of(request).await.and_then(|fields| order_request(service, &fields, trace)) {
        Ok(order_request) => order_request,
        Err(complaint) => {
            service.metrics.refused_invalid.inc();
            return Err(complaint);
        }
    };
    service.admit(client, &order_request.email).map_err(refuse)?;
    service.place(order_request).await.map_err(refuse)?;
    service.metrics.accepted_by_form.inc();
    Ok(())
}

/// The fields of a form, as they came.
struct Fields {
    fields: Vec<(String, String)>,
    /// Whether a `+` stands for a blank.
    is_urlencoded: bool,
}

impl Fields {
    /// From the body, or from the query when the body has none.
    async fn of(request: Request) -> Result<Self, FormError> {
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| FormError::not_a_form())?;
        if bytes.is_empty() {
            let fields = web::query_fields(&parts.uri).collect();
            return Ok(Self { fields, is_urlencoded: true });
        }
        Self::of_body(parts, bytes).await
    }

    async fn of_body(parts: Parts, bytes: Bytes) -> Result<Self, FormError> {
        let kind = parts.headers.get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
        let essence = kind.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        // Flask takes the second name, too
        if ["application/x-www-form-urlencoded", "application/x-url-encoded"]
            .iter()
            .any(|form| essence.eq_ignore_ascii_case(form))
        {
            let fields = form_urlencoded::parse(&bytes).into_owned().collect();
            return Ok(Self { fields, is_urlencoded: true });
        }
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            let fields = parts_of(Request::from_parts(parts, Body::from(bytes))).await;
            return Ok(Self { fields: fields.ok_or_else(FormError::not_a_form)?, is_urlencoded: false });
        }
        Err(FormError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "form_type"))
    }

    /// The first of several equal fields counts, unknown ones do not.
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The fields of a multipart body. Files are none; names and texts are read as UTF-8, which is what Flask does.
async fn parts_of(request: Request) -> Option<Vec<(String, String)>> {
    let mut parts = Multipart::from_request(request, &()).await.ok()?;
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.ok()? {
        let name = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned);
        let bytes = part.bytes().await.ok()?;
        if let Some(name) = name {
            fields.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Some(fields)
}

fn order_request(
    service: &OrderService,
    fields: &Fields,
    trace: Option<TraceParent>,
) -> Result<OrderRequest, FormError> {
    let value = fields.get("value").map(str::trim).ok_or_else(|| FormError::invalid("form_no_value"))?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FormError::invalid("form_value"));
    }
    // more digits than a number holds are out of range as well
    let product = value.parse().ok().and_then(|row| service.catalog.row(row)).ok_or_else(|| {
        let last = service.catalog.len().to_string();
        FormError::with(StatusCode::UNPROCESSABLE_ENTITY, "form_row", &[("last", &last)])
    })?;
    let email = email(service, fields)?;
    Ok(OrderRequest { product: product.clone(), email, lang: None, trace })
}

/// An address that is left empty is the default one, as if there were no such field.
fn email(service: &OrderService, fields: &Fields) -> Result<EmailAddress, FormError> {
    let given = fields.get("usermail").unwrap_or_default().trim_end();
    let usermail = given.trim_start();
    if usermail.is_empty() {
        return Ok(service.usermail.clone());
    }
    // it may have been a plus: the order must not go to whoever has the rest as an address
    if fields.is_urlencoded && given.contains(' ') {
        return Err(FormError::invalid("form_blank"));
    }
    usermail.parse().map_err(|_| FormError::invalid("form_usermail"))
}

/// One line in each language.
struct FormError {
    status: StatusCode,
    text: String,
    retry_after_s: Option<u32>,
}

impl FormError {
    fn with(status: StatusCode, key: &str, places: &[(&str, &str)]) -> Self {
        Self { status, text: words::both(key, places) + "\n", retry_after_s: None }
    }

    fn new(status: StatusCode, key: &str) -> Self {
        Self::with(status, key, &[])
    }

    fn not_a_form() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "form_body")
    }

    fn invalid(key: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, key)
    }

    fn refused(refusal: Refusal) -> Self {
        let (status, key, retry_after_s) = match refusal {
            Refusal::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "form_overloaded", Some(1)),
            Refusal::Full(queue) => {
                (StatusCode::SERVICE_UNAVAILABLE, "form_overloaded", Some(queue.wait_s.unwrap_or(1)))
            }
            Refusal::Share(queue) => (StatusCode::TOO_MANY_REQUESTS, "form_share", Some(queue.wait_s.unwrap_or(1))),
            Refusal::TooMany(seconds) => (StatusCode::TOO_MANY_REQUESTS, "form_too_many", Some(seconds)),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "form_unavailable", Some(2)),
            Refusal::Unconfirmed => (StatusCode::SERVICE_UNAVAILABLE, "form_unconfirmed", Some(5)),
            // the form has no idempotency keys, so the other two cannot come
            Refusal::Internal | Refusal::Running | Refusal::Mismatch { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "form_internal", None)
            }
        };
        Self { retry_after_s, ..Self::new(status, key) }
    }
}

impl IntoResponse for FormError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
