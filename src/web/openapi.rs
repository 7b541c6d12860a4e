//! What a listener answers, as an OpenAPI 3.1 document; the schemas are made of the types that are read and answered.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::problem::Body;

/// A listener.
pub struct About {
    /// Its name.
    pub title: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Which key opens what is not open to everybody, if there is such.
    pub key: Option<&'static str>,
}

/// A method of a path.
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
    /// What it answers when all is well, by status; one status several times, if it has several media types.
    pub answers: Vec<(u16, &'static str, Option<Content>)>,
    /// The statuses of what it answers otherwise: `application/problem+json`, all of one form.
    pub problems: &'static [u16],
}

/// A body: its media type and its schema.
pub struct Content(pub &'static str, pub Value);

const JSON: &str = "application/json";

impl Content {
    /// JSON that is read.
    pub fn read<T: JsonSchema>() -> Self {
        Self(JSON, schema::<T>(SchemaSettings::draft2020_12()))
    }

    /// JSON that is answered.
    pub fn answered<T: JsonSchema>() -> Self {
        Self(JSON, schema::<T>(SchemaSettings::draft2020_12().for_serialize()))
    }

    /// Text for people.
    pub fn text(media: &'static str) -> Self {
        Self(media, json!({ "type": "string" }))
    }

    /// What has a name stands among `named`, and is referred to: programs get one type for it, however many answer it.
    fn document(&self, named: &mut Map<String, Value>) -> Map<String, Value> {
        let Self(media, schema) = self;
        let name = schema["title"].as_str().filter(|name| named.get(*name).is_none_or(|known| known == schema));
        let schema = match name {
            None => json!({ "schema": schema }),
            Some(name) => {
                named.insert(name.to_owned(), schema.clone());
                json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } })
            }
        };
        Map::from_iter([((*media).to_owned(), schema)])
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
    })
}

fn operation(endpoint: &Endpoint, named: &mut Map<String, Value>) -> Value {
    let mut responses = Map::new();
    for (status, description, content) in &endpoint.answers {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        for (media, content) in content.iter().flat_map(|content| content.document(named)) {
            response["content"][media] = content;
        }
    }
    for status in endpoint.problems {
        let meaning = axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        responses.insert(status.to_string(), json!({ "description": meaning.unwrap_or_default(), "content": content }));
    }
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "parameters": endpoint.parameters,
        "responses": responses,
    });
    if let Some(content) = &endpoint.takes {
        operation["requestBody"] = json!({ "required": true, "content": content.document(named) });
    }
    if endpoint.problems.contains(&401) {
        operation["security"] = json!([{ "key": [] }, {}]); // none is set, or none is asked of who is on this machine
    }
    operation
}
