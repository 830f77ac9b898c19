//! `GET /openapi.json`: the description of the API for programs (OpenAPI 3.1), made from the routes and the types of this module.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::json;
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, ContentBuilder, Header, HeaderBuilder, InfoBuilder,
    OpenApi, OpenApiBuilder, PathItem, Paths, Ref, RefOr, Required, Response, ResponseBuilder,
    Responses, ResponsesBuilder, Schema,
    encoding::EncodingBuilder,
    path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::AnyOfBuilder,
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use super::{
    Answer, Body, ErrorBody, GroupId, JSON, Parameter, Part, PartContent, REFUSALS,
    REQUEST_ID_HEADER, Reason, Route, TOKEN_HEADER, TaskId, Type, USER_HEADER, VolumeId, path,
    routes, schema::of_json,
};

/// The document as JSON. It is the same for the life of the program. `hides_metrics`: it is that of a server whose metrics have an
/// address of their own.
pub fn openapi(hides_metrics: bool) -> &'static str {
    static WHOLE: LazyLock<String> = LazyLock::new(|| json_of(&document()));
    static WITHOUT_METRICS: LazyLock<String> = LazyLock::new(|| {
        let mut document = document();
        document.paths.paths.remove(path::METRICS);
        json_of(&document)
    });
    match hides_metrics {
        true => &WITHOUT_METRICS,
        false => &WHOLE,
    }
}

fn json_of(document: &OpenApi) -> String {
    document.to_json().expect("the document is plain data")
}

fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("k8s-cli")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Tasks and volumes on a Kubernetes cluster. Every refusal of a well-formed request is a sentence for a person and a \
             reason for programs. A path that has no such method answers with 405.",
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths())
        .components(Some(components()))
        .build()
}

fn paths() -> Paths {
    let mut paths = Paths::new();
    for route in routes() {
        for method in route.methods() {
            let item = paths.paths.entry(route.path.to_owned()).or_default();
            let operation = Some(operation(route, method));
            *place(item, method) = operation;
        }
    }
    paths
}

/// The place of a method's operation.
fn place<'a>(item: &'a mut PathItem, method: &str) -> &'a mut Option<Operation> {
    match method {
        "GET" => &mut item.get,
        "HEAD" => &mut item.head,
        "DELETE" => &mut item.delete,
        _ => &mut item.post,
    }
}

fn operation(route: &Route, method: &str) -> Operation {
    let is_head = method == "HEAD";
    let (name, summary) = match is_head {
        true => (
            format!("head_{}", route.name),
            format!("The same as `GET {}` without the body.", route.path),
        ),
        false => (route.name.to_owned(), route.summary.to_owned()),
    };
    let notes = Some(route.notes).filter(|notes| !notes.is_empty() && !is_head);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(name))
        .summary(Some(summary))
        .description(notes)
        .tag(tag(route.path))
        .request_body(body(route.bodies))
        .responses(responses(route, is_head));
    for name in route.path_parameters() {
        let id = match name {
            "task_id" => Type::of::<TaskId>(),
            _ => Type::of::<VolumeId>(),
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(reference(id)));
        operation = operation.parameter(parameter);
    }
    for (place, parameters) in [
        (ParameterIn::Query, route.query),
        (ParameterIn::Header, route.headers),
    ] {
        for parameter in parameters {
            operation = operation.parameter(given(parameter, place.clone()));
        }
    }
    if route.needs_user {
        let schemes = SCHEMES.map(|scheme| SecurityRequirement::new::<_, [&str; 0], _>(scheme, []));
        operation = operation.securities(Some(schemes));
    }
    operation.build()
}

/// `tasks` for `/tasks/{task_id}`.
fn tag(path: &str) -> &str {
    match path.split('/').nth(1) {
        Some(first @ ("tasks" | "volumes" | "nodes")) => first,
        _ => "server",
    }
}

fn given(parameter: &Parameter, place: ParameterIn) -> ParameterBuilder {
    let required = match parameter.is_required {
        true => Required::True,
        false => Required::False,
    };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(required)
        .description(Some(sentence(parameter.doc)))
        .schema(Some(of_json(parameter.schema())))
}

/// A part of a sentence as a sentence.
fn sentence(part: &str) -> String {
    let mut chars = part.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

fn body(bodies: &[Body]) -> Option<RequestBody> {
    if bodies.is_empty() {
        return None;
    }
    let doc = bodies.iter().find_map(|body| match body {
        Body::Json(_, doc) if !doc.is_empty() => Some(sentence(doc)),
        _ => None,
    });
    let mut body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .description(doc);
    for form in bodies {
        body = match form {
            Body::Json(of, _) => body.content(JSON, Content::new(Some(reference(*of)))),
            Body::Form(fields) => body.content(
                "application/x-www-form-urlencoded",
                Content::new(Some(fields_of(fields))),
            ),
            Body::Multipart(parts) => body.content("multipart/form-data", multipart(parts)),
        };
    }
    Some(body.build())
}

/// The schema of a form with these fields. A server ignores others.
fn fields_of(fields: &[Parameter]) -> RefOr<Schema> {
    let field = |field: &Parameter| {
        let mut schema = field.field_schema();
        schema["description"] = sentence(field.doc).into();
        (field.name.to_owned(), schema)
    };
    let properties: serde_json::Map<_, _> = fields.iter().map(field).collect();
    of_json(json!({"type": "object", "properties": properties}))
}

fn multipart(parts: &[Part]) -> Content {
    let mut properties = serde_json::Map::new();
    let mut content = ContentBuilder::new();
    for part in parts {
        let (schema, media_type) = match part.content {
            PartContent::Json(of) => (json!({"$ref": pointer(of)}), JSON),
            PartContent::Text => (json!({"type": "string"}), "text/plain"),
            PartContent::Value(parameter) => (parameter.schema(), "text/plain"),
            PartContent::File(media_type) => {
                (json!({"type": "string", "format": "binary"}), media_type)
            }
        };
        let mut schema = schema;
        schema["description"] = sentence(part.doc).into();
        properties.insert(part.name.to_owned(), schema);
        let encoding = EncodingBuilder::new().content_type(Some(media_type));
        content = content.encoding(part.name, encoding.build());
    }
    let required: Vec<_> = parts.iter().filter(|part| part.is_required).collect();
    let required: Vec<_> = required.iter().map(|part| part.name).collect();
    let schema = json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    });
    content.schema(Some(of_json(schema))).build()
}

fn responses(route: &Route, is_head: bool) -> Responses {
    let mut responses = ResponsesBuilder::new().response("200", answer(route, is_head));
    for status in route.all_refusals() {
        let refusal = match is_head {
            true => RefOr::T(refused(explanation(status), &[])),
            false => RefOr::Ref(Ref::from_response_name(status.to_string())),
        };
        responses = responses.response(status.to_string(), refusal);
    }
    responses.build()
}

fn explanation(status: u16) -> &'static str {
    let mut known = REFUSALS.iter().filter(|(other, _)| *other == status);
    known.next().map_or("", |(_, explanation)| explanation)
}

fn answer(route: &Route, is_head: bool) -> Response {
    let notes = route.answers.iter().map(|answer| answer.notes);
    let notes: Vec<_> = notes.filter(|notes| !notes.is_empty()).collect();
    let done = match notes.as_slice() {
        [] => "the request was done".to_owned(),
        notes => format!("the request was done: {}", notes.join("; ")),
    };
    let mut response = ResponseBuilder::new()
        .description(sentence(&done))
        .header(REQUEST_ID_HEADER, request_id());
    for (name, doc) in route.answer_headers {
        response = response.header(*name, text_header(doc));
    }
    if is_head {
        return response.build();
    }
    let mut by_media_type: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
    for answer in route.answers {
        by_media_type
            .entry(answer.media_type)
            .or_default()
            .push(answer);
    }
    for (media_type, answers) in by_media_type {
        let types: Vec<Type> = answers
            .iter()
            .flat_map(|answer| answer.types)
            .copied()
            .collect();
        let schema = match types.as_slice() {
            [of] => reference(*of),
            types => {
                let any = AnyOfBuilder::new();
                let any = types.iter().fold(any, |any, of| any.item(reference(*of)));
                RefOr::T(Schema::AnyOf(any.build()))
            }
        };
        response = response.content(media_type, Content::new(Some(schema)));
    }
    response.build()
}

fn text_header(doc: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(of_json(json!({"type": "string"}))))
        .description(Some(doc))
        .build()
}

fn request_id() -> Header {
    text_header("The id of the request, which the server also writes to its log.")
}

/// A refusal with this explanation.
fn refused(explanation: &str, content: &[(&str, RefOr<Schema>)]) -> Response {
    let refused = ResponseBuilder::new()
        .description(sentence(explanation.trim_end_matches('.')))
        .header(REQUEST_ID_HEADER, request_id());
    let refused = content
        .iter()
        .fold(refused, |refused, (media_type, schema)| {
            refused.content(*media_type, Content::new(Some(schema.clone())))
        });
    refused.build()
}

/// The schema of the refusals with a status code.
fn error_body(status: u16) -> RefOr<Schema> {
    let reasons = Reason::ALL
        .iter()
        .filter(|reason| reason.http_status() == status);
    let reasons: Vec<_> = reasons.collect();
    of_json(json!({
        "allOf": [
            {"$ref": pointer(Type::of::<ErrorBody>())},
            {
                "type": "object",
                "required": ["reason"],
                "properties": {"reason": {"type": "string", "enum": reasons}},
            },
        ],
    }))
}

/// The ways to say who the user is: one of them, as the operator of the server has chosen.
const SCHEMES: [&str; 3] = ["user", "token", "tokenHeader"];

fn components() -> Components {
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas() {
        components = components.schema(name, schema);
    }
    for (status, explanation) in REFUSALS {
        let content = [(JSON, error_body(*status))];
        let mut refusal = refused(explanation, &content);
        if *status == 429 {
            let doc = "The seconds after which the request may be sent again, if that helps.";
            refusal
                .headers
                .insert("Retry-After".to_owned(), RefOr::T(text_header(doc)));
        }
        components = components.response(status.to_string(), refusal);
    }
    let header = |name: &str, doc: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, doc)))
    };
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of the cluster, with `serve --auth kubernetes`.",
        ));
    let schemes = [
        header(
            USER_HEADER,
            "The name of the user, unless the server wants a token. It is a statement and not a proof.",
        ),
        SecurityScheme::Http(bearer.build()),
        header(
            TOKEN_HEADER,
            "The same token, behind a proxy that needs `Authorization` for itself.",
        ),
    ];
    for (name, scheme) in SCHEMES.into_iter().zip(schemes) {
        components = components.security_scheme(name, scheme);
    }
    components.build()
}

/// The types of all routes, and the types of their fields.
fn schemas() -> BTreeMap<String, RefOr<Schema>> {
    let of_part = |part: &Part| match part.content {
        PartContent::Json(of) => Some(of),
        _ => None,
    };
    let of_body = |body: &Body| match body {
        Body::Json(of, _) => vec![*of],
        Body::Form(_) => Vec::new(),
        Body::Multipart(parts) => parts.iter().filter_map(of_part).collect(),
    };
    let of_route = |route: &Route| -> Vec<Type> {
        let bodies = route.bodies.iter().flat_map(of_body);
        let answers = route
            .answers
            .iter()
            .flat_map(|answer| answer.types)
            .copied();
        bodies.chain(answers).collect()
    };
    let others = [
        Type::of::<ErrorBody>(),
        Type::of::<GroupId>(),
        Type::of::<TaskId>(),
        Type::of::<VolumeId>(),
    ];
    let mut schemas = BTreeMap::new();
    for of in routes().flat_map(of_route).chain(others) {
        schemas.extend(of.parts());
        if !of.is_inline() {
            schemas.insert(of.name().into_owned(), of.schema());
        }
    }
    // A client reads records of a newer server as this one. No server sends it.
    for schema in schemas.values_mut() {
        if let RefOr::T(Schema::OneOf(records)) = schema {
            records.items.retain(|record| !is_unknown_record(record));
        }
    }
    schemas
}

fn is_unknown_record(record: &RefOr<Schema>) -> bool {
    let record = serde_json::to_value(record).unwrap_or_default();
    record.pointer("/properties/type/enum") == Some(&json!(["unknown"]))
}

fn pointer(of: Type) -> String {
    format!("#/components/schemas/{}", of.name())
}

/// A reference to a type among the components, or its schema if it is none of them.
fn reference(of: Type) -> RefOr<Schema> {
    match of.is_inline() {
        true => of.schema(),
        false => RefOr::Ref(Ref::new(pointer(of))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::golden;

    fn json() -> Value {
        serde_json::from_str(openapi(false)).unwrap()
    }

    #[test]
    fn the_document_is_a_golden_file() {
        let document = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        golden::assert("wire/openapi.json", &document);
    }

    /// All values of `key` in a document.
    fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get(key));
                fields.values().for_each(|value| all(value, key, found));
            }
            Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
            _ => (),
        }
    }

    #[test]
    fn references_have_targets_and_operations_have_names() {
        let document = json();
        assert_eq!(document["openapi"], "3.1.0");
        let (mut references, mut names) = (Vec::new(), Vec::new());
        all(&document, "$ref", &mut references);
        for reference in references {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        all(&document["paths"], "operationId", &mut names);
        let different: BTreeSet<_> = names.iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn no_schema_loses_a_keyword() {
        let schema = json!({
            "type": ["object", "null"],
            "properties": {"a": {"type": "string", "pattern": "^a$", "maxLength": 3, "examples": ["a"]}},
            "propertyNames": {"type": "string", "pattern": "^_"},
            "additionalProperties": false,
            "required": ["a"],
            "minProperties": 1,
        });
        let read = of_json(schema.clone());
        assert_eq!(serde_json::to_value(read).unwrap(), schema);
    }
}
