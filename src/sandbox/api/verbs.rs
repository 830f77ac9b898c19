//! The verbs on objects: get, list, watch, create, replace, patch, delete.
//!
//! Each function is one verb for all kinds: it reads the request, calls the registry and renders the answer. The rules are in
//! `objects`.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpResponse, web::Bytes};
use serde_json::{Value, json};

use super::{
    pages, patch,
    request::{Query, ResourcePath},
    table::Tables,
    watch::{self, Watch},
};
use crate::sandbox::objects::{
    deletion::{self, Options, Propagation},
    object::{Object, elements, text},
    registry::{Part, Registry},
    resource::Kind,
    status::{FieldError, Status},
    unknown_fields,
};

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    JSON_PATCH,
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const JOB_DELETION_WARNING: &str = "299 - \"child pods are preserved by default when jobs are deleted; set \
    propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning\"";

/// The parts of a request that the verbs need.
pub struct Request {
    pub path: ResourcePath,
    pub query: Query,
    pub content_type: String,
    pub body: Bytes,
    pub tables: Option<Tables>,
}

pub fn get(registry: &Registry, request: &Request, name: &str) -> Result<HttpResponse, Status> {
    let path = &request.path;
    let object = registry.get(path.resource.id, path.namespace(), name)?;
    if let Some(tables) = &request.tables {
        let metadata = json!({ "resourceVersion": object.version.to_string() });
        return Ok(answer(
            200,
            &tables.list(object.kind, [object.as_ref()], metadata),
        ));
    }
    Ok(bytes(200, object.standalone()))
}

pub fn list(registry: &Registry, request: &Request) -> Result<HttpResponse, Status> {
    let (path, query) = (&request.path, &request.query);
    let resource = path.resource;
    let selection = path.selection(query)?;
    let page = pages::list(&registry.store(), path, query, &selection)?;
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    if !page.continue_token.is_empty() {
        metadata["continue"] = json!(page.continue_token);
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    if let Some(tables) = &request.tables {
        let objects = page.objects.iter().map(Arc::as_ref);
        return Ok(answer(200, &tables.list(resource.id, objects, metadata)));
    }
    let size: usize = page
        .objects
        .iter()
        .map(|object| object.body.len() + 1)
        .sum();
    let mut json = Vec::with_capacity(size + 512);
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        resource.kind,
        resource.api_version()
    );
    json.extend_from_slice(head.as_bytes());
    for (index, object) in page.objects.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&object.body);
    }
    json.extend_from_slice(b"]}");
    Ok(bytes(200, json))
}

pub fn watch(registry: Arc<Registry>, request: Request) -> Result<HttpResponse, Status> {
    let (path, query) = (&request.path, &request.query);
    let selection = path.selection(query)?;
    let since = match query.get("resourceVersion").unwrap_or("0") {
        "0" => None,
        version => Some(version.parse::<u64>().map_err(|_| {
            Status::bad_request(format!(
                "resourceVersion: Invalid value: \"{version}\": not a number"
            ))
        })?),
    };
    let initial_events = query.flag("sendInitialEvents");
    let seconds = query
        .number("timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok());
    let watch = Watch {
        kind: path.resource.id,
        selection,
        since: since.filter(|_| !initial_events),
        bookmarks: query.flag("allowWatchBookmarks"),
        initial_events,
        timeout: seconds
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        tables: request.tables,
    };
    Ok(HttpResponse::Ok()
        .content_type(JSON)
        .streaming(watch::start(registry, watch)))
}

pub fn create(registry: &Registry, request: &Request) -> Result<HttpResponse, Status> {
    let path = &request.path;
    let value = read_object(request)?;
    let value = registry.create(
        path.resource.id,
        path.namespace(),
        value,
        request.query.dry_run("CreateOptions")?,
    )?;
    Ok(answer(201, &value))
}

pub fn replace(registry: &Registry, request: &Request, name: &str) -> Result<HttpResponse, Status> {
    let new = read_object(request)?;
    check_name(&new, name)?;
    change(registry, request, name, |value| *value = new)
}

pub fn patch(registry: &Registry, request: &Request, name: &str) -> Result<HttpResponse, Status> {
    // Server-side apply is not served.
    if !PATCH_TYPES[1..].contains(&request.content_type.as_str()) {
        return Err(Status::unsupported_media_type(&PATCH_TYPES[1..]));
    }
    let patch: Value = serde_json::from_slice(&request.body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let apply = |value: &mut Value| -> Result<(), Status> {
        if request.content_type == JSON_PATCH {
            let operations = patch.as_array().ok_or_else(|| {
                Status::bad_request("error decoding patch: a JSON patch is a list of operations")
            })?;
            patch::apply(value, operations).ok_or_else(|| Status::rejected_patch(name))?;
        } else {
            let strategic = request.content_type.contains("strategic");
            patch::merge(value, &patch, strategic);
        }
        check_fields(request, value)?;
        check_name(value, name)
    };
    let mut refusal = None;
    let changed = change(registry, request, name, |value| {
        let mut patched = value.clone();
        match apply(&mut patched) {
            Ok(()) => *value = patched,
            Err(status) => refusal = Some(status),
        }
    });
    refusal.map_or(changed, Err)
}

/// Refuses an object of another name than that of the path.
fn check_name(object: &Value, name: &str) -> Result<(), Status> {
    match text(&object["metadata"]["name"]) {
        given if given == name || !object.is_object() => Ok(()),
        given => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
    }
}

pub fn delete(registry: &Registry, request: &Request, name: &str) -> Result<HttpResponse, Status> {
    let path = &request.path;
    let options = read_options(request, &read_body(request)?)?;
    let deleted = deletion::delete(registry, path.resource.id, path.namespace(), name, &options)?;
    let mut response = if deleted.gone && path.resource.id != Kind::Pod {
        answer(200, &success(&deleted.object))
    } else {
        bytes(200, deleted.object.standalone())
    };
    if path.resource.id == Kind::Job && options.propagation.is_none() {
        let warning = actix_web::http::header::HeaderValue::from_static(JOB_DELETION_WARNING);
        response
            .headers_mut()
            .insert(actix_web::http::header::WARNING, warning);
    }
    Ok(response)
}

/// Evicts a pod: deletes it, and says why in its status.
pub fn evict(registry: &Registry, request: &Request, name: &str) -> Result<HttpResponse, Status> {
    let eviction = read_body(request)?;
    check_name(&eviction, name)?;
    let options = read_options(request, &eviction["deleteOptions"])?;
    let pod = registry.get(Kind::Pod, request.path.namespace(), name)?;
    let (reason, message) = ("EvictionByEvictionAPI", "Eviction API: evicting");
    deletion::disrupt(registry, &pod, reason, message, &options)?;
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(answer(201, &status))
}

pub fn delete_collection(registry: &Registry, request: &Request) -> Result<HttpResponse, Status> {
    let path = &request.path;
    let options = read_options(request, &read_body(request)?)?;
    let selection = path.selection(&request.query)?;
    let objects = registry.store().list(path.resource.id, &selection);
    let mut items = Vec::new();
    for object in objects {
        match deletion::delete_object(registry, &object, &options) {
            Ok(deleted) => items.push(deleted.object.value()),
            // Another client has deleted it.
            Err(status) if status.code == 404 => (),
            Err(status) => return Err(status),
        }
    }
    let version = registry.store().version().to_string();
    Ok(answer(
        200,
        &json!({
            "kind": format!("{}List", path.resource.kind), "apiVersion": path.resource.api_version(),
            "metadata": { "resourceVersion": version }, "items": items,
        }),
    ))
}

/// A JSON answer.
pub fn answer(code: u16, value: &Value) -> HttpResponse {
    bytes(code, value.to_string().into_bytes())
}

fn bytes(code: u16, json: Vec<u8>) -> HttpResponse {
    let code = actix_web::http::StatusCode::from_u16(code).unwrap_or_default();
    HttpResponse::build(code).content_type(JSON).body(json)
}

fn change(
    registry: &Registry,
    request: &Request,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> Result<HttpResponse, Status> {
    let path = &request.path;
    let part = if path.subresource.as_deref() == Some("status") {
        Part::Status
    } else {
        Part::Spec
    };
    let is_patch = PATCH_TYPES.contains(&request.content_type.as_str());
    let options = if is_patch {
        "PatchOptions"
    } else {
        "UpdateOptions"
    };
    let dry_run = request.query.dry_run(options)?;
    let object = registry.update(
        path.resource.id,
        path.namespace(),
        name,
        part,
        dry_run,
        change,
    )?;
    Ok(bytes(200, object.standalone()))
}

/// Parses the body. The errors are those of a real server.
fn read_object(request: &Request) -> Result<Value, Status> {
    if request.content_type == "application/vnd.kubernetes.protobuf" {
        return Err(Status::protobuf());
    }
    if !request.content_type.is_empty() && request.content_type != JSON {
        return Err(Status::unsupported_media_type(&[JSON]));
    }
    let object = serde_json::from_slice(&request.body).map_err(|error| {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        let body: String = String::from_utf8_lossy(&request.body).chars().take(1024).collect();
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {why} \
             ({body})",
            request.path.resource.kind
        ))
    })?;
    check_fields(request, &object)?;
    Ok(object)
}

/// Refuses unknown fields, if the client asks for that.
fn check_fields(request: &Request, object: &Value) -> Result<(), Status> {
    match request.query.get("fieldValidation") {
        Some("Strict") => unknown_fields::check(request.path.resource, object),
        _ => Ok(()),
    }
}

/// Parses the body of a deletion, which may be empty.
fn read_body(request: &Request) -> Result<Value, Status> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|error| Status::bad_request(error.to_string()))?;
    match body.is_object() || body.is_null() {
        true => Ok(body),
        false => Err(Status::bad_request(
            "couldn't get version/kind; json parse error: the options are not an object",
        )),
    }
}

/// Reads the options of a deletion from their object and from the query.
fn read_options(request: &Request, body: &Value) -> Result<Options, Status> {
    let query = &request.query;
    let word = body["propagationPolicy"]
        .as_str()
        .or(query.get("propagationPolicy"));
    let propagation = match word {
        None if body["orphanDependents"] == true => Some(Propagation::Orphan),
        None if body["orphanDependents"] == false => Some(Propagation::Background),
        None => None,
        Some(word) if !body["orphanDependents"].is_null() => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", word, why);
            return Err(Status::invalid_options("DeleteOptions", &[error]));
        }
        Some(word) => Some(Propagation::parse(word).ok_or_else(|| {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", word, &supported);
            Status::invalid_options("DeleteOptions", &[error])
        })?),
    };
    if let Some(word) = elements(&body["dryRun"]).iter().find(|word| *word != "All") {
        let error = FieldError::not_supported("dryRun", text(word), &["All"]);
        return Err(Status::invalid_options("DeleteOptions", &[error]));
    }
    let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(Options {
        grace_seconds: body["gracePeriodSeconds"]
            .as_i64()
            .or(query.number("gracePeriodSeconds")?),
        propagation,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: query.dry_run("DeleteOptions")?
            || elements(&body["dryRun"]).iter().any(|word| word == "All"),
    })
}

fn success(object: &Object) -> Value {
    let resource = object.kind.resource();
    let mut details = json!({ "name": object.name(), "kind": resource.plural, "uid": object.uid });
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}
