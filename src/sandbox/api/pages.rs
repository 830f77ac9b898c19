//! Pages of a list: `limit` and `continue`.
//!
//! All pages show the list at the version of the first page. A token has that version and the key of the next item, and is valid as
//! long as the store keeps the changes since. It follows Kubernetes, `staging/src/k8s.io/apiserver/pkg/storage/continue.go`, v1.36.

use std::sync::Arc;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::request::{Query, ResourcePath};
use crate::sandbox::objects::{
    object::{Object, text},
    selection::Selection,
    status::Status,
    store::Store,
};

/// One page, or a whole list.
pub struct Page {
    pub version: u64,
    pub objects: Vec<Arc<Object>>,
    /// Empty on the last page.
    pub continue_token: String,
    pub remaining: Option<usize>,
}

/// Lists the selected objects from the token on, up to the limit.
pub fn list(
    store: &Store,
    path: &ResourcePath,
    query: &Query,
    selection: &Selection,
) -> Result<Page, Status> {
    let kind = path.resource.id;
    let limit = query
        .number("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    let (version, token) = match query.get("continue") {
        None => (wanted_version(store, query)?, String::new()),
        Some(token) => read_token(token).ok_or_else(|| {
            Status::bad_request("continue key is not valid: invalid value for the continue token")
        })?,
    };
    let start = key(&token, path);
    // A list with a selector does not tell how many items remain.
    let most = limit.filter(|_| !selection.is_everything());
    let most = most.map_or(usize::MAX, |limit| limit + 1);
    let objects = match version {
        Some(version) => store
            .list_at(kind, selection, version, &start, most)
            .ok_or_else(|| {
                if token.is_empty() {
                    return Status::too_old(version, store.version());
                }
                Status::page_expired(write_token(-1, &token))
            })?,
        None => store.list_from(kind, selection, &start, most),
    };
    let version = version.unwrap_or(store.version());
    let mut page = Page {
        version,
        objects,
        continue_token: String::new(),
        remaining: None,
    };
    if let Some(limit) = limit.filter(|limit| page.objects.len() > *limit) {
        if selection.is_everything() {
            page.remaining = Some(page.objects.len() - limit);
        }
        page.objects.truncate(limit);
        if let Some(last) = page.objects.last() {
            let number = i64::try_from(version).unwrap_or(i64::MAX);
            page.continue_token = write_token(number, &format!("{}\0", position(last, path)));
        }
    }
    Ok(page)
}

/// The version that the client wants exactly, or none for the present one.
fn wanted_version(store: &Store, query: &Query) -> Result<Option<u64>, Status> {
    let Some(wanted) = query.get("resourceVersion") else {
        return Ok(None);
    };
    let wanted: u64 = wanted.parse().map_err(|_| {
        Status::bad_request(format!(
            "resourceVersion: Invalid value: \"{wanted}\": not a number"
        ))
    })?;
    if wanted > store.version() {
        return Err(Status::not_yet(wanted, store.version()));
    }
    let exact = query.get("resourceVersionMatch") == Some("Exact");
    Ok(exact.then_some(wanted))
}

fn position(object: &Object, path: &ResourcePath) -> String {
    match path.namespace {
        None if path.resource.namespaced => format!("{}/{}", object.namespace(), object.name()),
        _ => object.name().to_owned(),
    }
}

/// The key at a position.
fn key(position: &str, path: &ResourcePath) -> (String, String) {
    match (&path.namespace, position.split_once('/')) {
        (Some(namespace), _) => (namespace.clone(), position.to_owned()),
        (None, Some((namespace, name))) if path.resource.namespaced => {
            (namespace.to_owned(), name.to_owned())
        }
        (None, _) => (String::new(), position.to_owned()),
    }
}

fn write_token(version: i64, start: &str) -> String {
    let token = format!(
        "{{\"v\":\"meta.k8s.io/v1\",\"rv\":{version},\"start\":{}}}",
        json!(start)
    );
    let base64 = json!(ByteString(token.into_bytes()));
    text(&base64)
        .replace('+', "-")
        .replace('/', "_")
        .trim_end_matches('=')
        .to_owned()
}

/// The version, or none for a list that need not be consistent, and the position.
fn read_token(token: &str) -> Option<(Option<u64>, String)> {
    let mut base64 = token.replace('-', "+").replace('_', "/");
    while !base64.len().is_multiple_of(4) {
        base64.push('=');
    }
    let ByteString(bytes) = serde_json::from_value(json!(base64)).ok()?;
    let token: Value = serde_json::from_slice(&bytes).ok()?;
    let start = text(&token["start"]).to_owned();
    match token["rv"].as_i64()? {
        -1 => Some((None, start)),
        version => Some((Some(u64::try_from(version).ok()?), start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_trip() {
        assert_eq!(
            read_token(&write_token(18978, "a\0")),
            Some((Some(18978), "a\0".to_owned()))
        );
        assert_eq!(
            read_token(&write_token(-1, "b?>")),
            Some((None, "b?>".to_owned()))
        );
        assert_eq!(read_token("%%%"), None);
    }
}
