//! Parsing of the path and the query of a request.
//!
//! Pure, so that paths can be tested without a server.

use std::collections::HashMap;

use crate::sandbox::objects::{
    resource::{self, Resource},
    selection::Selection,
    status::{FieldError, Status},
};

/// The target of a request.
#[derive(Clone)]
pub enum Target {
    /// No object: discovery, versions, health.
    Other,
    Objects(ResourcePath),
}

/// A collection, object or subresource.
#[derive(Clone)]
pub struct ResourcePath {
    pub resource: &'static Resource,
    /// None for all namespaces, and for a kind without namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

/// The query parameters.
#[derive(Debug, Default)]
pub struct Query(HashMap<String, String>);

impl ResourcePath {
    /// The namespace in the key of an object.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    pub fn selection(&self, query: &Query) -> Result<Selection, Status> {
        let (labels, fields) = (query.get("labelSelector"), query.get("fieldSelector"));
        let namespace = self
            .namespace
            .as_deref()
            .filter(|_| self.resource.namespaced);
        let mut selection = Selection::parse(
            self.resource,
            namespace,
            labels.unwrap_or_default(),
            fields.unwrap_or_default(),
        )?;
        if let Some(name) = &self.name {
            selection.require_name(name);
        }
        Ok(selection)
    }
}

/// Parses a path, whose segments may be percent-encoded.
pub fn parse_path(path: &str) -> Option<Target> {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment, false))
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Some(Target::Other),
    };
    let find = |plural: &str| resource::find(group, version, plural);
    let objects = |resource, namespace: Option<&str>, rest: &[&str]| {
        let mut rest = rest.iter().map(|segment| (*segment).to_owned());
        let path = ResourcePath {
            resource,
            namespace: namespace.map(str::to_owned),
            name: rest.next(),
            subresource: rest.next(),
        };
        rest.next().is_none().then_some(Target::Objects(path))
    };
    match rest {
        [] => Some(Target::Other),
        ["namespaces", namespace, plural, rest @ ..]
            if *plural != "status" && *plural != "finalize" =>
        {
            let resource = find(plural).filter(|resource| resource.namespaced)?;
            objects(resource, Some(namespace), rest)
        }
        [plural, rest @ ..] => match find(plural) {
            None => Some(Target::Other),
            Some(resource) if resource.namespaced && !rest.is_empty() => None,
            Some(resource) => objects(resource, None, rest),
        },
    }
}

impl Query {
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name, true), decode(value, true)))
                .collect(),
        )
    }

    /// A parameter, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether the parameter is present and not false.
    pub fn flag(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| !matches!(value.as_str(), "false" | "0" | "False" | "f"))
    }

    /// A parameter as a number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let parse = |_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing \"{value}\": invalid syntax"
            ))
        };
        value.parse().map(Some).map_err(parse)
    }

    /// Checks the options that all verbs of a method have in common.
    pub fn check_options(&self, method: &str) -> Result<(), Status> {
        const LONGEST_MANAGER: usize = 128;
        let mut errors = Vec::new();
        let given = |name: &str| self.0.get(name).map(String::as_str);
        if given("fieldManager").is_some_and(|manager| manager.len() > LONGEST_MANAGER) {
            errors.push(FieldError::too_long("fieldManager", LONGEST_MANAGER));
        }
        match self.get("resourceVersionMatch") {
            Some("Exact" | "NotOlderThan") if self.get("resourceVersion").is_none() => {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
            None | Some("Exact" | "NotOlderThan") => (),
            Some(word) => {
                let words = ["Exact", "NotOlderThan"];
                errors.push(FieldError::not_supported(
                    "resourceVersionMatch",
                    word,
                    &words,
                ));
            }
        }
        self.number("timeoutSeconds")?;
        let kind = match method {
            "GET" => "ListOptions",
            "POST" => "CreateOptions",
            "PUT" => "UpdateOptions",
            "PATCH" => "PatchOptions",
            _ => "DeleteOptions",
        };
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Status::invalid_options(kind, &errors)),
        }
    }

    /// Whether nothing is to be stored. `options` is the kind of the request's options.
    pub fn dry_run(&self, options: &str) -> Result<bool, Status> {
        // An empty word is one too.
        match self.0.get("dryRun").map(String::as_str) {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(word) => Err(Status::invalid_options(
                options,
                &[FieldError::not_supported("dryRun", word, &["All"])],
            )),
        }
    }
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = bytes
            .get(index + 1..index + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match (
            bytes[index],
            hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                index += 2;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let text = match parse_path(path) {
            None => "none".to_owned(),
            Some(Target::Other) => "other".to_owned(),
            Some(Target::Objects(path)) => format!(
                "{} {:?} {:?} {:?}",
                path.resource.plural, path.namespace, path.name, path.subresource
            ),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn paths_are_understood() {
        check("/api/v1", "other");
        check("/apis/batch/v1/jobs", "jobs None None None");
        check(
            "/apis/batch/v1/namespaces/a/jobs/b",
            "jobs Some(\"a\") Some(\"b\") None",
        );
        check(
            "/api/v1/namespaces/a/pods/b/log",
            "pods Some(\"a\") Some(\"b\") Some(\"log\")",
        );
        check("/api/v1/namespaces/a", "namespaces None Some(\"a\") None");
        check("/api/v1/nodes/a", "nodes None Some(\"a\") None");
        check("/api/v1/pods/a", "none");
        check("/api/v1/namespaces/a/nodes", "none");
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&x=1+2&watch=true&follow=false&limit=x");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.get("x"), Some("1 2"));
        assert!(query.flag("watch") && !query.flag("follow") && !query.flag("previous"));
        assert!(query.number("limit").is_err());
    }
}
