//! `/docs`: what a listener answers to programs, for people. Made of its OpenAPI document, so that it tells nothing else; the
//! requests that it shows are run by a test as they stand.

mod fields;
mod request;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header::HOST},
    response::Response,
    routing::get,
};
use minijinja::{Value as Shown, context};
use serde_json::Value;

use self::{
    fields::{Field, fields, kind},
    request::{Setting, curl},
};
use super::{Pages, Reader, Site, functions::escaped};
use crate::{
    domain::Lang,
    web::openapi::{OF_ANY, PROBLEM},
    words,
};

/// What the page of a listener tells besides its document.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// `intake`, `tracking` or `ops`: under what words it stands.
    pub name: &'static str,
    /// Where it is reached from elsewhere, `https://host`, if that is known.
    pub address: Option<String>,
    /// Where this listener's other pages begin, if people begin there.
    pub home: Option<String>,
    /// The same pages of other listeners, by their names.
    pub others: Vec<(&'static str, String)>,
    /// Whether the key is asked for here.
    pub has_key: bool,
    /// What examples need to know first: a variable of the shell, and the command that finds it, with `{address}` in it.
    pub variable: Option<(&'static str, &'static str)>,
}

/// The page; a cheap handle.
#[derive(Clone)]
pub struct Docs(Arc<Inner>);

struct Inner {
    pages: Pages,
    document: Value,
    told: Told,
}

impl Docs {
    /// The page of a document.
    pub fn new(site: &Site, document: Value, told: Told) -> Self {
        let pages = Pages::new(site, &[("docs.html", include_str!("../templates/docs.html"))]);
        Self(Arc::new(Inner { pages, document, told }))
    }

    /// `/docs`.
    pub fn router(self) -> Router {
        let page = async |State(docs): State<Self>, reader: Reader, headers: HeaderMap| docs.page(&reader, &headers);
        Router::new().route("/docs", get(page)).with_state(self)
    }

    fn page(&self, reader: &Reader, headers: &HeaderMap) -> Response {
        let Inner { pages, document, told } = &*self.0;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let address = address(host, told.address.as_deref());
        let teller = Teller { lang: reader.lang, document, address: &address, has_key: told.has_key };
        let others: Vec<_> = told.others.iter().map(|(name, link)| context! { name => *name, link }).collect();
        let variable = told.variable.map(|(name, command)| {
            context! { name, command => teller.with_key(&command.replace("{address}", &address)) }
        });
        let operations: Vec<_> = teller.operations().collect();
        let values = context! {
            name => told.name, home => &told.home, others, variable, operations, key_variable => teller.variable(),
            about => teller.text(&document["info"]["description"]), version => document["info"]["version"].as_str(),
            of_any => teller.of_any(), problem => teller.fields(&document["components"]["schemas"]["Problem"]),
        };
        pages.render("docs.html", reader, values)
    }
}

/// Where whoever reads the page has reached this listener: nothing but a host and a port, since it is shown in commands.
fn address(host: Option<&str>, known: Option<&str>) -> String {
    let is_plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    match (host.filter(is_plain).filter(|host| !host.is_empty()), known) {
        (Some(host), Some(known)) if known.split_once("://").is_some_and(|(_, known)| known == host) => {
            known.to_owned()
        }
        (Some(host), _) => format!("http://{host}"),
        (None, Some(known)) => known.to_owned(),
        (None, None) => "http://localhost".to_owned(),
    }
}

/// Tells a document in a language.
struct Teller<'a> {
    lang: Lang,
    document: &'a Value,
    address: &'a str,
    has_key: bool,
}

impl Teller<'_> {
    /// In the order in which the document wants them told.
    fn operations(&self) -> impl Iterator<Item = Shown> {
        let ids = self.document["x-order"].as_array().into_iter().flatten();
        ids.filter_map(|id| {
            let paths = self.document["paths"].as_object()?.iter();
            let mut all = paths.flat_map(|(path, methods)| {
                methods.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
            });
            let (path, method, operation) = all.find(|(.., operation)| operation["operationId"] == *id)?;
            Some(self.operation(path, method, operation))
        })
    }

    fn operation(&self, path: &str, method: &str, operation: &Value) -> Shown {
        let setting = Setting { address: self.address, key: self.variable().filter(|_| self.has_key) };
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let (media, body) = content(&operation["requestBody"]).unwrap_or_default();
        context! {
            id => operation["operationId"].as_str(), method => method.to_ascii_uppercase(), path,
            summary => self.text(&operation["summary"]),
            is_for_key => operation["security"].is_array(),
            curl => curl(&setting, method, path, operation),
            parameters => parameters.map(|parameter| self.parameter(parameter)).collect::<Vec<_>>(),
            media => media, body => self.fields(&body["schema"]),
            answers => self.answers(&operation["responses"]),
        }
    }

    fn parameter(&self, parameter: &Value) -> Shown {
        let field = Field {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            is_needed: parameter["required"] == true,
            schema: &parameter["schema"],
            about: &parameter["description"],
        };
        context! { place => parameter["in"].as_str(), ..self.field(&field) }
    }

    /// The answers that any request may get, once.
    fn of_any(&self) -> Vec<Shown> {
        let mut found = BTreeMap::new();
        let methods = self.document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
        for operation in methods.flat_map(|methods| methods.as_object().into_iter().flat_map(|them| them.values())) {
            let responses = operation["responses"].as_object().into_iter().flatten();
            found.extend(responses.filter(|(_, response)| response[OF_ANY] == true));
        }
        let told =
            |(status, response): (&String, &Value)| context! { status, about => self.text(&response["description"]) };
        found.into_iter().map(told).collect()
    }

    /// Those of an operation alone.
    fn answers(&self, responses: &Value) -> Vec<Shown> {
        let answer = |(status, response): (&String, &Value)| {
            let (media, body) = content(response).unwrap_or_default();
            let is_problem = media == PROBLEM;
            let schema = if is_problem { &Value::Null } else { &body["schema"] };
            context! {
                status, about => self.text(&response["description"]), media, is_problem,
                example => example(&body["example"]), fields => self.fields(schema),
            }
        };
        let own = responses.as_object().into_iter().flatten().filter(|(_, response)| response[OF_ANY] != true);
        own.map(answer).collect()
    }

    /// The fields of a schema that has some.
    fn fields(&self, schema: &Value) -> Vec<Shown> {
        fields(self.document, schema).iter().map(|field| self.field(field)).collect()
    }

    fn field(&self, field: &Field<'_>) -> Shown {
        let Field { name, is_needed, schema, about } = field;
        context! { name, is_needed, place => (), kind => kind(self.lang, schema), about => self.text(about) }
    }

    /// A description in the reader's language, as markup: what stands between backticks is code.
    fn text(&self, text: &Value) -> Shown {
        let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let parts = words::contract(self.lang, &text).split('`').enumerate();
        let markup = parts.map(|(index, part)| match index % 2 {
            0 => escaped(part),
            _ => format!("<code>{}</code>", escaped(part)),
        });
        Shown::from_safe_string(markup.collect())
    }

    /// The variable of the shell that holds the key: that of the setting.
    fn variable(&self) -> Option<String> {
        let setting = self.document["components"]["securitySchemes"]["key"]["description"].as_str()?;
        Some(format!("ENCARGO_{}", setting.replace('.', "_").to_ascii_uppercase()))
    }

    /// A command with the key in it, where it is asked for.
    fn with_key(&self, command: &str) -> String {
        let key = self.variable().filter(|_| self.has_key);
        let header = key.map(|key| format!(" -H \"Authorization: Bearer ${key}\"")).unwrap_or_default();
        command.replace("{key}", &header)
    }
}

/// The first body of an answer or a request: its media type, and what is told of it.
fn content(of: &Value) -> Option<(&str, &Value)> {
    let (media, body) = of["content"]
        .as_object()?
        .iter()
        .find(|(_, body)| !body["example"].is_null())
        .or_else(|| of["content"].as_object()?.iter().find(|(media, _)| *media != PROBLEM))
        .or_else(|| of["content"].as_object()?.iter().next())?;
    Some((media, body))
}

/// As people read it.
fn example(example: &Value) -> Option<String> {
    match example {
        Value::Null => None,
        Value::String(text) => Some(text.trim_end().to_owned()),
        json => serde_json::to_string_pretty(json).ok(),
    }
}

#[cfg(test)]
mod tests;
