//! The syntax of names: objects, labels, environment variables.
//!
//! Each rule is a predicate `is_…`, or a check that returns the API server's explanation. They follow Kubernetes,
//! `staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go`, v1.36.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
    is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const ENVIRONMENT: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// The most bytes of an RFC 1123 label, of a label value and of the name part of a label key.
pub const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

/// Whether a name is an RFC 1123 label, as containers, volumes and namespaces need.
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && has_label_syntax(name)
}

/// Whether a name is an RFC 1123 subdomain, as most kinds of object need.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(has_label_syntax)
}

/// Whether a text can be the value of a label. The empty text can.
pub fn is_label_value(value: &str) -> bool {
    value.len() <= MAX_LABEL && (value.is_empty() || has_value_syntax(value))
}

/// Whether a text can be the key of a label or annotation.
pub fn is_label_key(key: &str) -> bool {
    check_label_key(key).is_none()
}

/// Explains why `name` cannot be the name of most kinds of object.
pub fn check_subdomain(name: &str) -> Option<String> {
    if name.len() > MAX_SUBDOMAIN {
        return Some(too_long(MAX_SUBDOMAIN));
    }
    (!is_dns_subdomain(name)).then(|| SUBDOMAIN.to_owned())
}

/// Explains why `name` cannot be the name of a container, a volume, a namespace or a Service.
pub fn check_dns_label(name: &str) -> Option<String> {
    if name.len() > MAX_LABEL {
        return Some(too_long(MAX_LABEL));
    }
    (!is_dns_label(name)).then(|| DNS_LABEL.to_owned())
}

/// Explains why `name` cannot be the name of a port.
pub fn check_port_name(name: &str) -> Option<String> {
    const LONGEST: usize = 15;
    if name.len() > LONGEST {
        return Some(format!("must be no more than {LONGEST} characters"));
    }
    let is_valid = is_dns_label(name)
        && !name.contains("--")
        && name.contains(|c: char| c.is_ascii_lowercase());
    (!is_valid).then(|| {
        "must contain only lower case letters, digits and single hyphens, and a letter".to_owned()
    })
}

/// Explains why `value` cannot be the value of a label.
pub fn check_label_value(value: &str) -> Option<String> {
    if value.len() > MAX_LABEL {
        return Some(too_long(MAX_LABEL));
    }
    (!is_label_value(value)).then(|| LABEL_VALUE.to_owned())
}

/// Explains why `key` cannot be the key of a label or annotation.
pub fn check_label_key(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        None => key,
        Some(("", _)) => return Some("prefix part must be non-empty".to_owned()),
        Some((prefix, name)) => match check_subdomain(prefix) {
            Some(why) => return Some(format!("prefix part {why}")),
            None => name,
        },
    };
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        name if name.len() > MAX_LABEL => Some(format!("name part {}", too_long(MAX_LABEL))),
        name => (!has_value_syntax(name)).then(|| QUALIFIED.to_owned()),
    }
}

/// Explains why `name` cannot be the name of an environment variable.
pub fn check_environment_name(name: &str) -> Option<String> {
    let is_inner = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    let is_valid = !name.is_empty() && name.bytes().all(is_inner);
    (!is_valid).then(|| ENVIRONMENT.to_owned())
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn has_label_syntax(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(is_inner) && has_alphanumeric_ends(text)
}

fn has_value_syntax(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().all(is_inner) && has_alphanumeric_ends(text)
}

fn has_alphanumeric_ends(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_end(text.as_bytes().first()) && is_end(text.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_api_server_does() {
        assert_eq!(check_subdomain("a-b.c1"), None);
        assert!(check_subdomain("Bad_Name").is_some());
        assert!(check_subdomain("a..b").is_some());
        assert_eq!(check_label_value(""), None);
        assert_eq!(
            check_label_value(&"a".repeat(70)).as_deref(),
            Some("must be no more than 63 bytes")
        );
        assert!(check_label_value("a@b").is_some());
        assert_eq!(check_label_key("batch.kubernetes.io/job-name"), None);
        assert!(check_label_key("a/b/c").is_some());
        assert_eq!(check_environment_name("my.var-1"), None);
        assert!(check_environment_name("a=b").is_some());
    }
}
