//! The environment, command and arguments of a container, with the expansion of `$(NAME)`.
//!
//! It reads Secrets and `ConfigMaps`, and of the machine's environment only `PATH`. The expansion follows Kubernetes,
//! `third_party/forked/golang/expansion/expand.go`, and the order of the sources `pkg/kubelet/kubelet_pods.go`, v1.36.

use std::{collections::BTreeSet, path::Path};

use k8s_openapi::ByteString;
use serde_json::Value;

use crate::sandbox::objects::{
    node::NODE,
    object::{elements, text},
    registry::Registry,
    resource::Kind,
};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names and values, in order. A name occurs once.
pub type Variables = Vec<(String, String)>;

/// The environment of a container, whose home directory is `home` unless the pod has another. The error names a missing object or key.
pub fn variables(
    registry: &Registry,
    pod: &Value,
    container: &Value,
    ip: &str,
    home: &Path,
) -> Result<Variables, String> {
    let mut variables = Variables::new();
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    set(&mut variables, "PATH", path);
    set(&mut variables, "HOME", home.to_string_lossy().into_owned());
    set(&mut variables, "HOSTNAME", hostname(pod));
    let namespace = text(&pod["metadata"]["namespace"]);
    for source in elements(&container["envFrom"]) {
        let prefix = text(&source["prefix"]);
        for (field, kind) in [
            ("secretRef", Kind::Secret),
            ("configMapRef", Kind::ConfigMap),
        ] {
            let reference = &source[field];
            if reference.is_null() {
                continue;
            }
            match read_object(registry, kind, namespace, text(&reference["name"])) {
                Ok(values) => {
                    for (name, value) in values {
                        set(
                            &mut variables,
                            &format!("{prefix}{name}"),
                            String::from_utf8_lossy(&value).into_owned(),
                        );
                    }
                }
                Err(_) if reference["optional"] == true => (),
                Err(why) => return Err(why),
            }
        }
    }
    for variable in elements(&container["env"]) {
        let name = text(&variable["name"]);
        let value = match variable.get("valueFrom") {
            None => Some(expand(text(&variable["value"]), &variables)),
            Some(source) => value_from(registry, pod, container, source, ip)?,
        };
        if let Some(value) = value {
            set(&mut variables, name, value);
        }
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the value of the variable and `$$` by `$`. An unknown name stays.
pub fn expand(template: &str, variables: &Variables) -> String {
    expand_known(template, variables).0
}

/// Like [`expand`]; the second value has the unknown names, in order.
pub fn expand_known<'a>(template: &'a str, variables: &Variables) -> (String, BTreeSet<&'a str>) {
    let mut unknown = BTreeSet::new();
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(index) = rest.find('$') {
        expanded.push_str(&rest[..index]);
        rest = &rest[index + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        else {
            expanded.push('$');
            continue;
        };
        match variables.iter().find(|(known, _)| known == name) {
            Some((_, value)) => expanded.push_str(value),
            None => {
                unknown.insert(name);
                expanded.push_str(&format!("$({name})"));
            }
        }
        rest = after;
    }
    (expanded + rest, unknown)
}

/// The command and the arguments of a container; empty if it has neither.
pub fn command(container: &Value, variables: &Variables) -> Vec<String> {
    let words = [&container["command"], &container["args"]];
    words
        .into_iter()
        .flat_map(elements)
        .map(|word| expand(text(word), variables))
        .collect()
}

/// The host name of a pod.
pub fn hostname(pod: &Value) -> String {
    let name = pod["spec"]["hostname"]
        .as_str()
        .unwrap_or(text(&pod["metadata"]["name"]));
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// The decoded entries of a Secret or `ConfigMap`.
pub fn read_object(
    registry: &Registry,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let resource = kind.resource();
    let found = registry.get(kind, namespace, name);
    let object = found
        .map_err(|_| format!("{} \"{name}\" not found", resource.kind.to_lowercase()))?
        .value();
    let mut entries = Vec::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let bytes = match kind {
            Kind::Secret => decode(value),
            _ => text(value).as_bytes().to_vec(),
        };
        entries.push((key.clone(), bytes));
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        entries.push((key.clone(), decode(value)));
    }
    Ok(entries)
}

fn value_from(
    registry: &Registry,
    pod: &Value,
    container: &Value,
    source: &Value,
    ip: &str,
) -> Result<Option<String>, String> {
    let namespace = text(&pod["metadata"]["namespace"]);
    for (field, kind) in [
        ("secretKeyRef", Kind::Secret),
        ("configMapKeyRef", Kind::ConfigMap),
    ] {
        let reference = &source[field];
        if reference.is_null() {
            continue;
        }
        let (name, key) = (text(&reference["name"]), text(&reference["key"]));
        let found = read_object(registry, kind, namespace, name).and_then(|entries| {
            let entry = entries.into_iter().find(|(known, _)| known == key);
            entry.ok_or_else(|| {
                let word = if kind == Kind::Secret {
                    "Secret"
                } else {
                    "ConfigMap"
                };
                format!("couldn't find key {key} in {word} {namespace}/{name}")
            })
        });
        return match found {
            Ok((_, value)) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(_) if reference["optional"] == true => Ok(None),
            Err(why) => Err(why),
        };
    }
    Ok(Some(pod_field(pod, container, source, ip)))
}

/// The value of a `fieldRef` or `resourceFieldRef`.
pub fn pod_field(pod: &Value, container: &Value, source: &Value, ip: &str) -> String {
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return field(pod, path, ip);
    }
    let wanted = text(&source["resourceFieldRef"]["resource"]);
    let (list, name) = wanted.split_once('.').unwrap_or(("limits", wanted));
    text(&container["resources"][list][name]).to_owned()
}

fn field(pod: &Value, path: &str, ip: &str) -> String {
    match path {
        "status.podIP" | "status.podIPs" => return ip.to_owned(),
        "status.hostIP" | "status.hostIPs" => return "127.0.0.1".to_owned(),
        "spec.nodeName" => return NODE.to_owned(),
        "metadata.annotations" | "metadata.labels" => {
            let map = &pod["metadata"][path.trim_start_matches("metadata.")];
            let entries = map.as_object().into_iter().flatten();
            let mut lines: Vec<String> = entries
                .map(|(key, value)| format!("{key}={}", quote(text(value))))
                .collect();
            lines.sort();
            return lines.join("\n");
        }
        _ => (),
    }
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        let map = map.trim_start_matches("metadata.");
        return text(&pod["metadata"][map][key]).to_owned();
    }
    let pointer = format!("/{}", path.replace('.', "/"));
    pod.pointer(&pointer)
        .map(|value| text(value).to_owned())
        .unwrap_or_default()
}

/// Writes a string as Go's `%q` does.
fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            _ if letter.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(letter)));
            }
            _ if letter.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

fn decode(value: &Value) -> Vec<u8> {
    serde_json::from_value(value.clone())
        .map(|ByteString(bytes)| bytes)
        .unwrap_or_default()
}

fn set(variables: &mut Variables, name: &str, value: String) {
    variables.retain(|(known, _)| known != name);
    variables.push((name.to_owned(), value));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let variables = vec![
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "$(A)".to_owned()),
        ];
        assert_eq!(expand(template, &variables), expected);
    }

    #[test]
    fn annotations_are_lines_of_a_file() {
        let annotations = json!({ "b": "two\nlines \u{1b}\u{e9}", "a/c": "say \"x\\\"" });
        let pod = json!({ "metadata": { "annotations": annotations } });
        let lines = "a/c=\"say \\\"x\\\\\\\"\"\nb=\"two\\nlines \\x1b\u{e9}\"";
        assert_eq!(field(&pod, "metadata.annotations", ""), lines);
    }

    #[test]
    fn references_expand_as_in_kubernetes() {
        check("x$(A)y", "x1y");
        check("$(B)", "$(A)");
        check("$$(A)", "$(A)");
        check("$(C) $A ${A} $", "$(C) $A ${A} $");
        check("$(A", "$(A");
    }
}
