//! `POST /` as the old service takes and answers it. Its errors are two lines of text, since people read them.

use std::sync::Arc;

use axum::{
    Form,
    body::HttpBody,
    extract::{FromRequest, Request, State, rejection::FormRejection},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{Html, IntoResponse, Response},
};

use super::place::{Desk, Refusal, Wish};
use crate::domain::TraceParent;

/// The old service's answer, to the byte.
const PLACED: &str = "Transaccion enviada!";

pub(super) async fn place(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let start = desk.clock.monotonic();
    let response = match run(&desk, request).await {
        Ok(()) => Html(PLACED).into_response(),
        Err(complaint) => complaint.into_response(),
    };
    desk.metrics.seconds.observe(desk.clock.monotonic().saturating_sub(start).as_secs_f64());
    response
}

async fn run(desk: &Desk, request: Request) -> Result<(), Complaint> {
    let refuse = |refusal| {
        desk.count(refusal);
        Complaint::refused(refusal)
    };
    if !desk.admission.is_open() {
        return Err(refuse(Refusal::Overloaded));
    }
    let trace = desk.traces.of(request.headers());
    let wish = match fields(request).await.and_then(|fields| wish(desk, &fields, trace)) {
        Ok(wish) => wish,
        Err(complaint) => {
            desk.metrics.refused_invalid.inc();
            return Err(complaint);
        }
    };
    desk.place(wish).await.map_err(refuse)?;
    desk.metrics.accepted_by_form.inc();
    Ok(())
}

type Fields = Vec<(String, String)>;

async fn fields(request: Request) -> Result<Fields, Complaint> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Fields::new());
    }
    match Form::from_request(Request::from_parts(parts, body), &()).await {
        Ok(Form(fields)) => Ok(fields),
        Err(FormRejection::InvalidFormContentType(_)) => Err(Complaint::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "El Content-Type debe ser application/x-www-form-urlencoded, con value=N en el cuerpo.",
            "The Content-Type must be application/x-www-form-urlencoded, with value=N in the body.",
        )),
        Err(_) => Err(Complaint::new(
            StatusCode::BAD_REQUEST,
            "El cuerpo debe ser un formulario: value=N o value=N&usermail=ana@example.org.",
            "The body must be a form: value=N or value=N&usermail=ana@example.org.",
        )),
    }
}

/// As the old service reads it: the first of several equal fields counts, unknown ones do not.
fn wish(desk: &Desk, fields: &Fields, trace: Option<TraceParent>) -> Result<Wish, Complaint> {
    let field = |name| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.trim());
    let value = field("value").ok_or_else(|| {
        Complaint::invalid(
            "Falta value: el número de fila de un producto, por ejemplo value=1.",
            "value is missing: the row number of a product, for example value=1.",
        )
    })?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Complaint::invalid(
            "value debe ser el número de fila de un producto, por ejemplo value=1.",
            "value must be the row number of a product, for example value=1.",
        ));
    }
    // more digits than a number holds are out of range as well
    let product = value.parse().ok().and_then(|row| desk.catalog.row(row)).ok_or_else(|| {
        let last = desk.catalog.len();
        Complaint::invalid(
            format!("No hay ningún producto en esa fila: value debe estar entre 1 y {last}."),
            format!("There is no product in that row: value must be from 1 to {last}."),
        )
    })?;
    let email = match field("usermail") {
        None => desk.usermail.clone(),
        Some(usermail) => usermail.parse().map_err(|_| {
            Complaint::invalid(
                "usermail debe ser una dirección de correo como ana@example.org.",
                "usermail must be an e-mail address like ana@example.org.",
            )
        })?,
    };
    Ok(Wish { product: product.clone(), email, lang: None, trace })
}

/// One line in each language.
struct Complaint {
    status: StatusCode,
    text: String,
    retry_after_s: Option<u32>,
}

impl Complaint {
    fn new(status: StatusCode, es: impl AsRef<str>, en: impl AsRef<str>) -> Self {
        Self { status, text: format!("{}\n{}\n", es.as_ref(), en.as_ref()), retry_after_s: None }
    }

    fn invalid(es: impl AsRef<str>, en: impl AsRef<str>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, es, en)
    }

    fn refused(refusal: Refusal) -> Self {
        let (status, es, en, retry_after_s) = match refusal {
            Refusal::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Demasiados pedidos en este momento: este no se ha registrado, inténtelo de nuevo.",
                "Too many orders at this moment: this one was not taken, please try again.",
                Some(1),
            ),
            Refusal::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Ahora no se puede guardar el pedido: no se ha registrado, inténtelo de nuevo.",
                "The order cannot be stored now: it was not taken, please try again.",
                Some(2),
            ),
            Refusal::Unconfirmed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "No se ha podido confirmar el pedido: puede que esté registrado o que no.",
                "The order could not be confirmed: it may have been taken or not.",
                Some(5),
            ),
            // the form has no idempotency keys, so the other two cannot come
            Refusal::Internal | Refusal::Running | Refusal::Mismatch => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Error interno; el registro del servidor tiene el motivo.",
                "Internal error; the server's log has the reason.",
                None,
            ),
        };
        Self { retry_after_s, ..Self::new(status, es, en) }
    }
}

impl IntoResponse for Complaint {
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
