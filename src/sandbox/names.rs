//! The syntax of names: objects, labels, environment variables.
//!
//! Pure predicates with the server's explanation when they fail, after Kubernetes,
//! `staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go`, v1.36. Where a name stands is the caller's business.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
    character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
    '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
    is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const ENVIRONMENT: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Explains why `name` can not be the name of most kinds of object.
pub fn check_subdomain(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some("must be no more than 253 bytes".to_owned());
    }
    let fine = name.split('.').all(is_dns_label);
    (!fine).then(|| SUBDOMAIN.to_owned())
}

/// Explains why `name` can not be a DNS label, as containers, volumes and namespaces need.
pub fn check_dns_label(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!is_dns_label(name)).then(|| DNS_LABEL.to_owned())
}

/// Explains why `name` can not be the name of a Service.
pub fn check_service_name(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    let fine = is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    (!fine).then(|| DNS_1035.to_owned())
}

/// Explains why `value` can not be the value of a label.
pub fn check_label_value(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!value.is_empty() && !is_label(value)).then(|| LABEL_VALUE.to_owned())
}

/// Explains why `key` can not be the key of a label or annotation.
pub fn check_label_key(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if prefix.is_empty() {
                return Some("prefix part must be non-empty".to_owned());
            }
            if let Some(why) = check_subdomain(prefix) {
                return Some(format!("prefix part {why}"));
            }
            name
        }
    };
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        name if name.len() > 63 => Some("name part must be no more than 63 bytes".to_owned()),
        name => (!is_label(name)).then(|| QUALIFIED.to_owned()),
    }
}

/// Explains why `name` can not name an environment variable.
pub fn check_environment_name(name: &str) -> Option<String> {
    let fine = !name.is_empty()
        && name
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    (!fine).then(|| ENVIRONMENT.to_owned())
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(inner) && end(text.bytes().next()) && end(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_server_does() {
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
