//! The API's description (OpenAPI 3.1), made from the handlers themselves: what they take and what they answer.
//!
//! Each extractor and each answer says how it is described; the table of routes calls [`Described::describe`] on each of its
//! handlers. So a handler cannot take or answer something else than what the description says.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::auth::{Caller, Peer, Person, Visitor};
use super::input::{Ask, Id, Ids, Json, PathId, Raw};
use super::{Api, Problem};

/// One operation in the making.
pub(super) struct Operation<'g> {
    generator: &'g mut SchemaGenerator,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
}

impl Operation<'_> {
    /// Takes something besides the body.
    pub(super) fn parameter(&mut self, place: &str, name: &str, required: bool, about: &str, schema: Value) {
        let mut parameter = json!({ "in": place, "name": name, "required": required, "schema": schema });
        if !about.is_empty() {
            parameter["description"] = about.into();
        }
        self.parameters.push(parameter);
    }

    fn body(&mut self, kind: &str, schema: Value) {
        self.body = Some(json!({ "required": true, "content": { kind: { "schema": schema } } }));
    }

    /// What something looks like in JSON.
    pub(super) fn schema<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    /// Answers JSON.
    pub(super) fn json_answer<T: JsonSchema>(&mut self, status: &str, about: &str) {
        let schema = self.schema::<T>();
        self.answer(status, about, Some(json!({ "application/json": { "schema": schema } })));
    }

    /// Answers something, by media type.
    pub(super) fn answer(&mut self, status: &str, about: &str, content: Option<Value>) {
        let mut answer = json!({ "description": about });
        if let Some(content) = content {
            answer["content"] = content;
        }
        self.answers.insert(status.to_owned(), answer);
    }

    /// Adds a header to an answer that was described.
    pub(super) fn answer_header(&mut self, status: &str, name: &HeaderName, about: &str) {
        if let Some(answer) = self.answers.get_mut(status) {
            let header = json!({ "description": about, "schema": { "type": "string" } });
            answer["headers"] = json!({ name.as_str(): header });
        }
    }
}

/// What a handler takes.
pub(super) trait Part {
    /// Describes it; what does not come from the caller has nothing to describe.
    fn describe(_: &mut Operation<'_>) {}
}

/// What a handler answers.
pub(super) trait Answer {
    /// Describes it.
    fn describe(operation: &mut Operation<'_>);
}

impl Part for State<Api> {}
impl Part for Caller {}
impl Part for Visitor {}
impl Part for Peer {}
impl Part for HeaderMap {}
impl<E> Part for Result<Person, E> {}

impl<T: PathId> Part for Id<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.parameter("path", T::WHAT, true, "", T::schema());
    }
}

impl<A: PathId, B: PathId> Part for Ids<A, B> {
    fn describe(operation: &mut Operation<'_>) {
        Id::<A>::describe(operation);
        Id::<B>::describe(operation);
    }
}

impl<T: JsonSchema> Part for Ask<T> {
    fn describe(operation: &mut Operation<'_>) {
        let schema = T::json_schema(operation.generator).to_value();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties: BTreeMap<_, _> = schema["properties"].as_object().into_iter().flatten().collect();
        for (name, property) in properties {
            let mut property = property.clone();
            let about = property.as_object_mut().and_then(|property| property.remove("description"));
            let about = about.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            operation.parameter("query", name, required.contains(&json!(name)), &about, property);
        }
    }
}

impl<T: JsonSchema> Part for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        let schema = operation.schema::<T>();
        operation.body("application/json", schema);
    }
}

const BYTES: &str = "application/octet-stream";

impl Part for Raw {
    fn describe(operation: &mut Operation<'_>) {
        operation.body(BYTES, json!({ "type": "string", "format": "binary" }));
    }
}

impl Part for Body {
    fn describe(operation: &mut Operation<'_>) {
        operation.body(BYTES, json!({ "type": "string", "format": "binary" }));
    }
}

impl<T: Answer> Answer for Result<T, Problem> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

/// A handler that can be described; `A` is what it takes.
pub(super) trait Described<A> {
    /// Describes what it takes and answers.
    fn describe(&self, operation: &mut Operation<'_>);
}

macro_rules! described {
    ($($part:ident),*) => {
        impl<F, R, $($part),*> Described<($($part,)*)> for F
        where
            F: Fn($($part),*) -> R,
            R: Future,
            R::Output: Answer,
            $($part: Part,)*
        {
            fn describe(&self, operation: &mut Operation<'_>) {
                $($part::describe(operation);)*
                R::Output::describe(operation);
            }
        }
    };
}
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, F2);

/// A route to describe.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// The handler's path in the code: unique, and as stable as the code.
    pub(super) handler: &'static str,
    pub(super) describe: fn(&mut Operation<'_>),
}

/// Describes a handler whose type has no name: its function item is its only value.
pub(super) fn describe<A, H: Described<A>>(handler: H, operation: &mut Operation<'_>) {
    handler.describe(operation);
}

/// The whole description: routes for everybody, and those for people and programs that have shown who they are.
pub(super) fn document(public: &[Route], authenticated: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for (routes, is_public) in [(public, true), (authenticated, false)] {
        for route in routes {
            let mut operation = operation(&mut generator, route);
            if is_public {
                operation["security"] = json!([]);
            }
            let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
            path[route.method] = operation;
        }
    }
    let problem = generator.subschema_for::<Problem>().to_value();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Over-the-air updates for fleets of devices",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that people and their programs do with the server. Errors are problem documents \
                (RFC 9457) that say what is wrong, why, and what to do; nothing has been changed when one is answered.",
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "security": [{ "token": [] }, { "session": [], "csrf": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "What is wrong, why, and what to do",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "An API token, as `ota login` gets one" },
                "session": { "type": "apiKey", "in": "cookie", "name": "ota_session" },
                "csrf": {
                    "type": "apiKey", "in": "header", "name": "x-csrf-token",
                    "description": "With a session: what signing in told, for everything that is no GET",
                },
            },
        },
    });
    // Whether a map keeps its order is a feature of its crate, which any other crate of the build may switch on.
    document.sort_all_objects();
    document
}

fn operation(generator: &mut SchemaGenerator, route: &Route) -> Value {
    let mut operation = Operation { generator, parameters: Vec::new(), body: None, answers: Map::new() };
    (route.describe)(&mut operation);
    if route.method == "post" {
        let about = "A text of your choice: a repeated request with the same key is answered as the first one was, for a day, by the \
             server that has answered it and for as long as that runs";
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$" });
        operation.parameter("header", "Idempotency-Key", false, about, schema);
    }
    operation.answers.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let tag = route.path.split('/').nth(3).unwrap_or("system");
    let mut described = json!({
        "operationId": route.handler.replace(" :: ", "_").replace("::", "_"),
        "summary": route.about,
        "tags": [tag],
        "responses": operation.answers,
    });
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.into();
    }
    if let Some(body) = operation.body {
        described["requestBody"] = body;
    }
    described
}
