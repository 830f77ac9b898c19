//! Hides passwords and tokens in texts that are printed: logins in URLs, and parameters and variables whose names tell it.

use std::borrow::Cow;

use serde_json::Value;

/// What stands for a hidden value.
const HIDDEN: &str = "<hidden>";
/// The ends of names of values that are secrets, without `-` and `_`.
const SECRET_ENDS: [&str; 10] = [
    "token",
    "secret",
    "password",
    "passwd",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
];
/// Further names of parameters in URLs whose values are secrets.
const SECRET_PARAMETERS: [&str; 6] = ["sig", "sas", "key", "auth", "code", "pwd"];

/// A text without the logins, signatures and tokens in its URLs. A shell variable is no secret: its name stays.
pub fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, url) = rest.split_at(start + 3);
        let end = url.find(ends_url).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        out.push_str(before);
        push_url(&mut out, url, before.ends_with("ssh://"));
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

/// Masks all texts in a document, and the values of variables and keys whose names say that they are secrets.
pub fn mask(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(masked) = masked(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(entries) => {
            // `{name: HF_TOKEN, value: ...}`, as in a container.
            let name = entries.get("name").and_then(Value::as_str);
            let names_secret = name.is_some_and(is_secret);
            for (key, value) in entries {
                let is_hidden = is_secret(key) || names_secret && key == "value";
                match value {
                    Value::String(text) if is_hidden && !text.is_empty() => {
                        HIDDEN.clone_into(text);
                    }
                    value => mask(value),
                }
            }
        }
        _ => (),
    }
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '|' | ';')
}

/// Appends a URL, from behind its scheme on.
fn push_url(out: &mut String, url: &str, is_ssh: bool) {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    let host = match url[..authority].rfind('@') {
        Some(at) if is_login(&url[..at], is_ssh) => {
            out.push_str("***");
            at
        }
        _ => 0,
    };
    let query = url[host..]
        .find(['?', '#'])
        .map_or(url.len(), |at| host + at);
    out.push_str(&url[host..query]);
    let mut parameters = &url[query..];
    while !parameters.is_empty() {
        let next = parameters[1..].find(['&', '#']);
        let (parameter, more) = parameters.split_at(next.map_or(parameters.len(), |at| at + 1));
        match parameter.split_once('=') {
            Some((name, value)) if is_secret_parameter(&name[1..]) && !is_variable(value) => {
                out.push_str(name);
                out.push_str("=***");
            }
            _ => out.push_str(parameter),
        }
        parameters = more;
    }
}

/// Whether the part before the `@` of a URL holds a password or a token. The user `git` is everybody.
fn is_login(login: &str, is_ssh: bool) -> bool {
    match login.split_once(':') {
        Some((_, password)) => !is_variable(password),
        None => !is_ssh && login != "git" && !is_variable(login),
    }
}

fn is_variable(text: &str) -> bool {
    text.is_empty() || text.starts_with('$')
}

fn is_secret(name: &str) -> bool {
    let name = plain(name);
    SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

fn is_secret_parameter(name: &str) -> bool {
    is_secret(name) || SECRET_PARAMETERS.contains(&plain(name).as_str())
}

/// A name in lower case, without the marks between its words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logins_and_tokens_in_urls_are_masked() {
        for (text, expected) in [
            ("https://user:tok@host/x", "https://***@host/x"),
            (
                "got \"https://a:p@ss@host/\", b@c",
                "got \"https://***@host/\", b@c",
            ),
            (
                "https://ghp_1@github.com/a https://u:p@b",
                "https://***@github.com/a https://***@b",
            ),
            (
                "https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=s3c&X-Amz-Security-Token=t#a",
                "https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=***&X-Amz-Security-Token=***#a",
            ),
            (
                "https://a.blob/c?sv=1&sig=s3c'",
                "https://a.blob/c?sv=1&sig=***'",
            ),
            ("https://a/#access_token=s3c", "https://a/#access_token=***"),
            ("s3://key:s3c@bucket", "s3://***@bucket"),
            ("ssh://git:pw@host", "ssh://***@host"),
            // No secrets.
            ("ssh://ada@host/x", "ssh://ada@host/x"),
            ("https://git@github.com/a", "https://git@github.com/a"),
            ("https://$USER:$TOKEN@host", "https://$USER:$TOKEN@host"),
            ("https://${T}@host?token=$T", "https://${T}@host?token=$T"),
            ("https://host/a@b?c=d", "https://host/a@b?c=d"),
            ("mail ada@host", "mail ada@host"),
            ("a://", "a://"),
            ("a://?", "a://?"),
            ("a://b?é=1&é", "a://b?é=1&é"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn variables_with_the_name_of_a_secret_are_masked() {
        let mut document = json!({
            "envs": {"SKYPILOT_DOCKER_PASSWORD": "pw", "HF_TOKEN": "hf_1", "WANDB_API_KEY": "k", "MODEL": "m"},
            "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "s"}, {"name": "LR", "value": "1e-3"}],
            "file_mounts": {"/a": {"source": "https://u:p@h/"}, "/b": "/c"},
            "serviceAccountToken": {"path": "token"},
        });
        mask(&mut document);
        assert_eq!(
            document,
            json!({
                "envs": {
                    "SKYPILOT_DOCKER_PASSWORD": HIDDEN, "HF_TOKEN": HIDDEN, "WANDB_API_KEY": HIDDEN, "MODEL": "m",
                },
                "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": HIDDEN}, {"name": "LR", "value": "1e-3"}],
                "file_mounts": {"/a": {"source": "https://***@h/"}, "/b": "/c"},
                "serviceAccountToken": {"path": "token"},
            })
        );
    }
}
