//! What a listener answers, as an OpenAPI 3.1 document; the schemas are made of the types that are read and answered.
//! `/docs` shows it to people.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::problem::Body;

/// A listener.
pub struct About {
    /// Its name.
    pub title: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The setting with the key that opens what is not open to everybody, if there is such.
    pub key: Option<&'static str>,
}

/// A method of a path.
#[derive(Default)]
pub struct Endpoint {
    /// `get`, `post`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// A name for it in programs.
    pub id: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Parameters, as [`parameter`] makes them.
    pub parameters: Vec<Value>,
    /// The body that it takes.
    pub takes: Option<Content>,
    /// Whether it can do without a body.
    pub can_do_without: bool,
    /// What it answers when all is well, by status; one status several times, if it has several media types.
    pub answers: Vec<(u16, &'static str, Option<Content>)>,
    /// The statuses of what it answers otherwise: `application/problem+json`, all of one form. Those of any request
    /// ([`EVERYWHERE`]) need not stand here.
    pub problems: &'static [u16],
    /// What these mean, where that is more than their status says.
    pub meanings: &'static [(u16, &'static str)],
}

impl Endpoint {
    /// One of which nothing else is known.
    pub fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method, path, id, summary, ..Self::default() }
    }
}

/// A body: its media type, its schema, and one as an example.
pub struct Content {
    media: &'static str,
    schema: Value,
    example: Option<Value>,
}

const JSON: &str = "application/json";
/// The media type of problems (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";
/// What any request may be answered before its endpoint is asked, or instead of it: where its head, its body or where it comes
/// from will not do, and where there is too much to do, or something fails.
pub const EVERYWHERE: [u16; 11] = [400, 403, 408, 413, 415, 417, 431, 500, 501, 503, 505];
/// Marks an answer that an endpoint has in common with all others: whoever tells people of them says it once.
pub const OF_ANY: &str = "x-of-any-request";

impl Content {
    /// Of a schema that no type has.
    pub fn of(media: &'static str, schema: Value) -> Self {
        Self { media, schema, example: None }
    }

    /// JSON that is read.
    pub fn read<T: JsonSchema>() -> Self {
        Self::of(JSON, schema::<T>(SchemaSettings::draft2020_12()))
    }

    /// JSON that is answered.
    pub fn answered<T: JsonSchema>() -> Self {
        Self::of(JSON, schema::<T>(SchemaSettings::draft2020_12().for_serialize()))
    }

    /// JSON of one of two forms.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::of(self.media, json!({ "anyOf": [self.schema, other.schema] }))
    }

    /// JSON that describes something else: an object with these fields.
    pub fn document(fields: &[&str]) -> Self {
        Self::of(JSON, json!({ "type": "object", "required": fields }))
    }

    /// Text.
    pub fn text(media: &'static str) -> Self {
        Self::of(media, json!({ "type": "string" }))
    }

    /// With an example, as it goes over the wire.
    ///
    /// # Panics
    ///
    /// When it is to be JSON and is none: examples are compiled in.
    #[must_use]
    pub fn like(self, example: &str) -> Self {
        let value = match self.media {
            JSON => serde_json::from_str(example).expect("an example is JSON"),
            _ => example.into(),
        };
        Self { example: Some(value), ..self }
    }

    /// What has a name stands among `named`, and is referred to: programs get one type for it, however many answer it.
    fn media_type(&self, named: &mut Map<String, Value>) -> Value {
        let Self { schema, example, media: _ } = self;
        let name = schema["title"].as_str().filter(|name| named.get(*name).is_none_or(|known| known == schema));
        let mut media_type = match name {
            None => json!({ "schema": schema }),
            Some(name) => {
                named.insert(name.to_owned(), schema.clone());
                json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } })
            }
        };
        if let Some(example) = example {
            media_type["example"] = example.clone();
        }
        media_type
    }
}

fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None; // the document says it for all of its schemas
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// A parameter: `place` is `query`, `path` or `header`. In a path it must be there.
pub fn parameter(place: &'static str, name: &'static str, description: &'static str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "description": description, "required": place == "path", "schema": schema })
}

/// The same with an example, which requests that are shown have in them.
pub fn parameter_like(
    place: &'static str,
    name: &'static str,
    description: &'static str,
    schema: Value,
    example: impl Into<Value>,
) -> Value {
    let mut parameter = parameter(place, name, description, schema);
    parameter["example"] = example.into();
    parameter
}

/// The fields of a type that a request is read into, as parameters of that place.
pub fn parameters<T: JsonSchema>(place: &'static str) -> Vec<Value> {
    let schema = schema::<T>(SchemaSettings::draft2020_12());
    let fields = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, field): (&String, &Value)| {
        let mut field = field.clone();
        let description = field.as_object_mut().and_then(|field| field.remove("description"));
        if let Some(field) = field.as_object_mut() {
            field.remove("default"); // that of the reader, for what is not there
        }
        json!({ "in": place, "name": name, "description": description, "required": false, "schema": field })
    };
    fields.map(parameter).collect()
}

/// The document of a listener.
pub fn document(about: &About, endpoints: Vec<Endpoint>) -> Value {
    let About { title, description, key } = about;
    let (mut paths, mut named) = (Map::new(), Map::new());
    named.insert("Problem".to_owned(), schema::<Body<'static>>(SchemaSettings::draft2020_12().for_serialize()));
    let order: Vec<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    for endpoint in endpoints {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        methods[endpoint.method] = operation(&endpoint, &mut named);
    }
    let mut components = json!({ "schemas": named });
    if let Some(key) = key {
        components["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer", "description": key } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "description": description,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": components,
        "x-order": order, // in which they are told to people
    })
}

fn operation(endpoint: &Endpoint, named: &mut Map<String, Value>) -> Value {
    let mut responses = Map::new();
    for (status, description, content) in &endpoint.answers {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        if let Some(content) = content {
            response["content"][content.media] = content.media_type(named);
        }
    }
    for status in endpoint.problems.iter().chain(&EVERYWHERE) {
        let own = endpoint.meanings.iter().find(|(other, _)| other == status);
        let description = own.map_or_else(|| meaning(*status), |own| own.1);
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        response["content"][PROBLEM] = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        if EVERYWHERE.contains(status) && response["description"] == meaning(*status) {
            response[OF_ANY] = true.into();
        }
    }
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "parameters": endpoint.parameters,
        "responses": responses,
    });
    if let Some(content) = &endpoint.takes {
        operation["requestBody"]["required"] = (!endpoint.can_do_without).into();
        operation["requestBody"]["content"][content.media] = content.media_type(named);
    }
    if endpoint.problems.contains(&401) {
        operation["security"] = json!([{ "key": [] }, {}]); // none is set, or none is asked of who is on this machine
    }
    operation
}

/// What a status means wherever it is answered.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read.",
        401 => "The key is missing, or it is another one.",
        403 => "It is closed from where it was asked for.",
        404 => "There is no such thing.",
        408 => "It came too slowly.",
        413 => "The body is too long.",
        415 => "The body is of another type, or encoded.",
        417 => "It expects something else than `100-continue`.",
        422 => "A field is wrong: `errors` says which, and what would be right.",
        429 => "There were too many; `Retry-After` says when to come back.",
        431 => "Its line and headers are too long.",
        500 => "Something failed, and the server's log has the reason.",
        501 => "Its body comes in a coding that is not known here.",
        503 => "Not now, and nothing was done; `Retry-After` says when to come back.",
        505 => "It is of another HTTP than 1.0 and 1.1.",
        _ => panic!("a status without words: {status}"),
    }
}
