//! What a request shows of its user: a name, a token of the cluster, and headers for a proxy.
//!
//! A command that prints a token or headers runs when a request needs them, and once more after a refusal. What it prints stays in
//! memory.

use std::{
    fmt,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::{
    Error,
    config::{self, Env, LoginFile, variable},
};
use crate::{
    api::{TOKEN_HEADER, USER_HEADER, User},
    cli::ServerOptions,
};

const TOKEN: &str = "K8S_CLI_TOKEN";
const TOKEN_COMMAND: &str = "K8S_CLI_TOKEN_COMMAND";
const HEADERS: &str = "K8S_CLI_HEADERS";
const HEADER_COMMAND: &str = "K8S_CLI_HEADER_COMMAND";

/// The credentials of a user. Clones share what the commands have printed.
#[derive(Clone, Default)]
pub struct Credentials {
    /// None if the server knows the user in another way.
    user: Option<User>,
    token: Option<Source<String>>,
    headers: Vec<Source<HeaderMap>>,
}

/// A secret, or the command that prints it.
#[derive(Clone)]
struct Source<T> {
    /// The option or the variable.
    origin: &'static str,
    command: Option<String>,
    read: fn(&str) -> Option<T>,
    kept: Arc<Mutex<Option<T>>>,
}

/// Without secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.user)
    }
}

impl<T: Clone> Source<T> {
    fn given(origin: &'static str, text: &str, read: fn(&str) -> Option<T>) -> Result<Self, Error> {
        let value = read(text).ok_or_else(|| Error::Usage(unreadable(origin)))?;
        Ok(Self {
            origin,
            command: None,
            read,
            kept: Arc::new(Mutex::new(Some(value))),
        })
    }

    fn command(origin: &'static str, command: String, read: fn(&str) -> Option<T>) -> Self {
        Self {
            origin,
            command: Some(command),
            read,
            kept: Arc::default(),
        }
    }

    fn get(&self) -> Result<T, Error> {
        let mut kept = self.lock();
        if let Some(value) = &*kept {
            return Ok(value.clone());
        }
        let failed = |problem: String| Error::Credentials(format!("{}: {problem}", self.origin));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", self.command.as_deref().unwrap_or_default()]);
        let output = shell
            .stderr(Stdio::inherit())
            .stdin(Stdio::inherit())
            .output();
        let output = output.map_err(|error| failed(format!("cannot run the command: {error}")))?;
        if !output.status.success() {
            return Err(failed(format!("the command failed, {}", output.status)));
        }
        let text = String::from_utf8(output.stdout).ok();
        let value = text.and_then(|text| (self.read)(&text));
        let value = value.ok_or_else(|| Error::Credentials(unreadable(self.origin)))?;
        *kept = Some(value.clone());
        Ok(value)
    }

    /// Forgets what the command has printed; returns whether there is a command.
    fn forget(&self) -> bool {
        self.command.is_some() && self.lock().take().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers that say where a request goes, how it is framed and who sends it, which others do not set.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    USER_HEADER,
];

/// The message about a text that may be a secret, and so is not shown.
fn unreadable(origin: &str) -> String {
    let expected = match origin.to_ascii_lowercase().contains("token") {
        true => "a token",
        false => {
            "headers, one a line, as in `Name: value`, but none of HTTP itself, such as Content-Length, and not X-User, which --as sets"
        }
    };
    format!("{origin}: expected {expected}")
}

/// The token in the output of a command: the text, perhaps behind `Bearer`, or that of an `ExecCredential`, which plugins of kubectl
/// print. None if there is not one word, or other JSON.
pub fn read_token(text: &str) -> Option<String> {
    let object: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
    let text = match &object {
        Some(object) => object["status"]["token"].as_str()?,
        None => text,
    };
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim_start();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then(|| token.to_owned())
}

fn read_headers(text: &str) -> Option<HeaderMap> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.trim().parse().ok()?;
            if OWN_HEADERS.iter().any(|own| name == *own) {
                return None;
            }
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

impl Credentials {
    /// The credentials for the server at `url`: those of the options, else of the environment, else of the login.
    ///
    /// # Errors
    /// There are none, or one cannot be sent, or a secret would travel without encryption.
    pub fn find(options: ServerOptions, url: &str, env: Env<'_>) -> Result<Self, Error> {
        let given = config::given_user(options.as_user, env)?;
        if config::knows_user(url) {
            return Ok(Self {
                user: given,
                ..Self::default()
            });
        }
        let text = |name| variable(env, name).map(|value| value.to_string_lossy().into_owned());
        let token = match (options.token_command, text(TOKEN), text(TOKEN_COMMAND)) {
            (Some(command), ..) => Some(Source::command("--token-command", command, read_token)),
            (None, Some(token), _) => Some(Source::given(TOKEN, &token, read_token)?),
            (None, None, Some(command)) => {
                Some(Source::command(TOKEN_COMMAND, command, read_token))
            }
            (None, None, None) => {
                let token = LoginFile::locate(env).and_then(|login| login.token());
                let token = token.unwrap_or_default();
                let stored = |token: String| Source::given("the stored token", &token, read_token);
                token.map(stored).transpose()?
            }
        };
        let mut headers = Vec::new();
        if let Some(text) = text(HEADERS) {
            headers.push(Source::given(HEADERS, &text, read_headers)?);
        }
        for header in options.header {
            headers.push(Source::given("--header", &header, read_headers)?);
        }
        match (options.header_command, text(HEADER_COMMAND)) {
            (Some(command), _) => {
                headers.push(Source::command("--header-command", command, read_headers));
            }
            (None, Some(command)) => {
                headers.push(Source::command(HEADER_COMMAND, command, read_headers));
            }
            (None, None) => (),
        }
        let user = match (given, &token) {
            (Some(user), _) => Some(user),
            (None, Some(_)) => None,
            (None, None) => match LoginFile::locate(env).and_then(|login| login.user()) {
                Err(Error::NotLoggedIn | Error::NoHome) if !headers.is_empty() => None,
                user => Some(user?),
            },
        };
        let credentials = Self {
            user,
            token,
            headers,
        };
        if !options.insecure_http && is_readable_on_the_way(url) && credentials.has_secrets() {
            let what = match credentials.token {
                Some(_) => "token",
                None => "secret header",
            };
            return Err(Error::Usage(format!(
                "the {what} would travel to {url} without encryption: use https://, or --insecure-http"
            )));
        }
        Ok(credentials)
    }

    /// Whether there is a token, or a header that usually holds a secret.
    fn has_secrets(&self) -> bool {
        self.token.is_some()
            || self.headers.iter().any(|source| match &*source.lock() {
                Some(headers) => headers.keys().any(holds_secret),
                None => true,
            })
    }

    /// The user that the credentials name.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The headers of a request.
    ///
    /// # Errors
    /// A command fails, or the user name cannot be sent.
    pub fn headers(&self) -> Result<HeaderMap, Error> {
        let mut all = HeaderMap::new();
        for source in &self.headers {
            all.extend(source.get()?);
        }
        if let Some(user) = &self.user {
            let name = HeaderValue::from_bytes(user.as_str().as_bytes());
            let name =
                name.map_err(|_| Error::Usage(format!("the user name {user:?} cannot be sent")))?;
            all.insert(USER_HEADER, name);
        }
        if let Some(source) = &self.token {
            let token = source.get()?;
            // A proxy in between may need `Authorization` for itself.
            let (name, text) = match all.contains_key(AUTHORIZATION) {
                true => (TOKEN_HEADER, token),
                false => (AUTHORIZATION.as_str(), format!("Bearer {token}")),
            };
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Error::Credentials(unreadable(source.origin)))?;
            value.set_sensitive(true);
            all.insert(name, value);
        }
        Ok(all)
    }

    /// Whether another attempt may succeed after an error, since a command prints new credentials for it.
    pub fn renew(&self, error: &Error) -> bool {
        let is_refusal = matches!(
            error,
            Error::Api { status: 401, .. } | Error::NotOurServer { .. } | Error::Moved { .. }
        );
        if !is_refusal {
            return false;
        }
        let sources = self.headers.iter().map(Source::forget);
        let token = self.token.as_ref().is_some_and(Source::forget);
        sources.fold(token, |any, forgotten| any | forgotten)
    }
}

/// Whether a header usually holds a secret, as `X-K8s-Cli-Token` and the headers of proxies do.
fn holds_secret(name: &HeaderName) -> bool {
    let parts = [
        "authorization",
        "cookie",
        "token",
        "secret",
        "key",
        "jwt",
        "assertion",
    ];
    parts.iter().any(|part| name.as_str().contains(part))
}

/// Whether others could read what is sent to a URL.
fn is_readable_on_the_way(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return true;
    };
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback());
    uri.scheme_str() != Some("https") && !is_loopback
}
