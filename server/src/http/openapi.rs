//! The OpenAPI document, made from the handlers, and the page to read it: Swagger UI out of the binary, no network.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, SecurityRequirement};
use utoipa_actix_web::AppExt as _;

use super::error::{PROBLEM_JSON, Problem, ProblemBody};
use super::health::Version;
use super::{State, configure_api, health};

/// Patterns by the name that the handlers' schemas use, because an attribute takes no constant.
///
/// Texts on one line: not only spaces, no control characters, no direction overrides. The rule (`domain/text.rs`) refuses
/// more, which a pattern says at a price: generators of test data take minutes for classes of many ranges.
const PATTERNS: [(&str, &str); 2] = [
    (
        "@text",
        "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*\
         [^\\s\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]\
         [^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*$",
    ),
    ("@optional_text", "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*$"),
];

/// Calls below `/api/admin/` that nobody is signed in for.
const OPEN: [&str; 5] = [
    "/api/admin/login",
    "/api/admin/login/passkey",
    "/api/admin/setup",
    "/api/admin/logout",
    "/api/admin/bareme-presets",
];

/// What is not collected from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Barème",
        description = "Viewers rate the games of a live; the stream sees the averages move.\n\nErrors are \
            `application/problem+json` with a stable `code`, the `field` that is wrong, the `reason` and a `remedy`. \
            Times are microseconds since 1970.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(health::version, openapi_json),
    components(schemas(ProblemBody<'static>, Version)),
    tags(
        (name = "public", description = "For everybody: votes, lives, results"),
        (name = "lives", description = "Driving a live: for admins and moderators"),
        (name = "catalogue", description = "Channels, jeux, baremes, overlay keys"),
        (name = "people", description = "Signing in, accounts, tokens, sessions"),
        (name = "operations", description = "The version, and this document"),
    )
)]
struct Base;

/// The OpenAPI document and a table of its paths.
pub struct Api {
    json: Bytes,
    paths: Vec<(Vec<Segment>, Vec<Method>)>,
    ids: HashMap<(Method, String), String>,
}

enum Segment {
    Fixed(String),
    /// Anything but nothing, between a fixed beginning and end.
    Any(String, String),
}

impl Segment {
    fn of(text: &str) -> Self {
        match (text.find('{'), text.find('}')) {
            (Some(open), Some(close)) => Self::Any(text[..open].to_owned(), text[close + 1..].to_owned()),
            _ => Self::Fixed(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Fixed(fixed) => fixed == text,
            Self::Any(start, end) => {
                text.len() > start.len() + end.len() && text.starts_with(start.as_str()) && text.ends_with(end.as_str())
            }
        }
    }
}

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn operations(item: &mut PathItem) -> [(&'static str, &mut Option<Operation>); 5] {
    let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
    let mut names = METHODS.into_iter();
    all.map(|operation| (names.next().unwrap_or_default(), operation))
}

impl Api {
    /// Collects the document from the handlers. The same at every start.
    pub fn collect() -> Arc<Self> {
        let app = App::new().into_utoipa_app().openapi(Base::openapi()).configure(configure_api);
        let (_, mut document) = app.split_for_parts();
        complete(&mut document);
        let (mut paths, mut ids) = (Vec::new(), HashMap::new());
        for (path, item) in &mut document.paths.paths {
            let mut methods = Vec::new();
            for (name, operation) in operations(item) {
                let Some(operation) = operation else { continue };
                let Ok(method) = Method::from_bytes(name.to_uppercase().as_bytes()) else { continue };
                ids.insert((method.clone(), path.clone()), operation.operation_id.clone().unwrap_or_default());
                methods.push(method);
            }
            paths.push((path.split('/').map(Segment::of).collect(), methods));
        }
        let json = PATTERNS.iter().fold(document.to_json().unwrap_or_default(), |json, (name, pattern)| {
            json.replace(&format!("\"{name}\""), &serde_json::Value::from(*pattern).to_string())
        });
        Arc::new(Self { json: Bytes::from(json), paths, ids })
    }

    /// The document.
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// The `operationId` of a method of a path, as the document writes the path.
    pub fn operation(&self, method: &Method, path: &str) -> Option<&str> {
        self.ids.get(&(method.clone(), path.to_owned())).map(String::as_str)
    }

    /// The methods that a path has.
    pub fn methods(&self, path: &str) -> Vec<Method> {
        let segments: Vec<_> = path.split('/').collect();
        let fits = |template: &[Segment]| {
            template.len() == segments.len() && template.iter().zip(&segments).all(|(one, text)| one.matches(text))
        };
        let mut methods: Vec<Method> = Vec::new();
        for (_, found) in self.paths.iter().filter(|(template, _)| fits(template)) {
            methods.extend(found.iter().cloned());
        }
        methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
        methods
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build().into()
}

/// Adds what every operation has in common: the refusals its kind can answer with, and the ways to sign in.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/api/") || path.starts_with("/api/openapi") {
            continue;
        }
        let has_parameter = path.contains('{');
        // Signing in is what one does without being signed in.
        let is_admin = (path.starts_with("/api/admin/") && !OPEN.contains(&path.as_str())) || path.ends_with("/notes");
        for (name, operation) in operations(item) {
            let Some(operation) = operation else { continue };
            let is_unsafe = name != "get";
            let has_body = operation.request_body.is_some();
            let mut refusals = vec![("500", "The server failed inside"), ("503", "The store is away; try again")];
            if has_body {
                refusals.extend([
                    ("400", "The body cannot be read"),
                    ("413", "The body is too long"),
                    ("415", "The body is of another content type"),
                    ("422", "A field is wrong"),
                ]);
            }
            if is_admin {
                refusals.push(("401", "Nobody is signed in"));
            }
            if is_unsafe {
                refusals.push(("403", "Not allowed, or sent by a page of another site"));
                refusals.push(("409", "The state of things does not allow it"));
            } else if is_admin {
                refusals.push(("403", "Not allowed"));
            }
            if has_parameter {
                refusals.push(("404", "There is no such thing"));
            }
            for (status, description) in refusals {
                operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(description));
            }
            if is_admin {
                let bearer = SecurityRequirement::new::<_, _, &str>("bearer", []);
                let session = SecurityRequirement::new::<_, _, &str>("session", []);
                operation.security = Some(vec![bearer, session]);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let session = ApiKeyValue::with_description(
        "bareme_session",
        "Set by signing in; unsafe methods also need the header X-CSRF-Token. `__Host-bareme_session` over https.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")))]
async fn openapi_json(state: State) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(state.api.json())
}

async fn docs_file(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    let name = file.into_inner();
    let config = Arc::new(utoipa_swagger_ui::Config::from("/api/openapi.json").validator_url("none"));
    let found = utoipa_swagger_ui::serve(if name.is_empty() { "index.html" } else { &name }, config);
    match found.map_err(Problem::internal)? {
        Some(file) => Ok(HttpResponse::Ok().content_type(file.content_type.to_string()).body(file.bytes.to_vec())),
        None => Err(Problem::no_such_path()),
    }
}

/// Registers the document and the page to read it.
pub fn configure(config: &mut web::ServiceConfig) {
    let to_folder = || async {
        // Relative, so that it holds behind any prefix.
        HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "docs/")).finish()
    };
    config
        .route("/api/openapi.json", web::get().to(openapi_json))
        .route("/api/docs", web::get().to(to_folder))
        .route("/api/docs/{file:.*}", web::get().to(docs_file));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_knows_its_methods() {
        let api = Api::collect();
        assert_eq!(api.methods("/api/note"), [Method::POST]);
        assert_eq!(api.operation(&Method::DELETE, "/api/admin/channels/{channel}"), Some("delete_channel"));
        let channel = api.methods("/api/admin/channels/demo");
        assert_eq!(channel, [Method::DELETE, Method::GET, Method::PATCH]);
        assert!(api.methods("/api/v1/monitoring/websocket/stats").is_empty(), "operators have their own listener");
        assert!(api.methods("/api/nothing").is_empty());
        assert!(api.methods("/api/lives/x/results.csv").contains(&Method::GET));
    }

    #[test]
    fn every_operation_has_an_id_a_summary_and_a_documented_problem() {
        let document: serde_json::Value = serde_json::from_slice(&Api::collect().json()).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}: id twice");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            }
        }
        assert!(ids.len() > 40, "{}", ids.len());
        assert_eq!(document["components"]["schemas"]["Problem"]["type"], "object");
    }
}
