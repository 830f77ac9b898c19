//! Credential plugins: commands of a kubeconfig that print a token or a certificate (`exec`).
//!
//! The protocol is that of `client.authentication.k8s.io`. Messages name the command without its arguments and its variables,
//! which may hold secrets.

use std::{
    io::{self, IsTerminal},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::config::{ExecConfig, ExecInteractiveMode};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::process::Command;

use super::tls;

/// The most time for a plugin that asks nobody. Plugins of clouds make a few requests.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long an answer is used at least, whatever its end is: a plugin whose clock is wrong is not run for each request. A token that
/// Kubernetes refuses is asked for again at once.
const SHORTEST: Duration = Duration::from_secs(10);
/// The longest line of a plugin in a message.
const MAX_LINE: usize = 200;

/// A plugin of a kubeconfig.
#[derive(Clone, Debug)]
pub struct Plugin {
    command: String,
    config: ExecConfig,
    /// Whether the plugin may ask the person at the terminal.
    is_interactive: bool,
}

/// The answer of a plugin.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub token: Option<String>,
    pub identity: Option<Arc<CertifiedKey>>,
    pub expires: Option<Instant>,
}

#[derive(Deserialize)]
struct Credential {
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

impl Plugin {
    /// # Errors
    /// The plugin names no command, or needs a terminal that is not there.
    pub fn new(config: ExecConfig) -> Result<Self, String> {
        let command = config.command.clone().filter(|name| !name.is_empty());
        let command = command.ok_or("the plugin (`exec`) names no command")?;
        let mode = config.interactive_mode.as_ref();
        let is_terminal = io::stdin().is_terminal();
        if mode == Some(&ExecInteractiveMode::Always) && !is_terminal {
            return Err(format!(
                "the plugin `{command}` needs a terminal (interactiveMode: Always), and standard input is none"
            ));
        }
        Ok(Self {
            command,
            is_interactive: is_terminal && mode != Some(&ExecInteractiveMode::Never),
            config,
        })
    }

    /// Runs the command.
    ///
    /// # Errors
    /// It fails, or does not print a credential.
    pub async fn ask(&self) -> Result<Answer, String> {
        let name = &self.command;
        let running = self.command().output();
        let output = if self.is_interactive {
            running.await
        } else {
            (tokio::time::timeout(DEADLINE, running).await).map_err(|_| {
                format!(
                    "the plugin `{name}` did not end within {} s",
                    DEADLINE.as_secs()
                )
            })?
        };
        let output = output.map_err(|error| {
            let hint = self.config.install_hint.as_deref().unwrap_or_default();
            let hint = hint.split_whitespace().collect::<Vec<_>>().join(" ");
            let hint = if hint.is_empty() {
                hint
            } else {
                format!(": {hint}")
            };
            format!(
                "cannot run the plugin `{name}`: {}{hint}",
                without_number(&error)
            )
        })?;
        if !output.status.success() {
            let line = first_line(&output.stderr);
            let line = if line.is_empty() {
                line
            } else {
                format!(": {line}")
            };
            return Err(format!(
                "the plugin `{name}` failed with {}{line}",
                describe(output.status)
            ));
        }
        answer(&output.stdout, OffsetDateTime::now_utc())
            .map_err(|problem| format!("the plugin `{name}` {problem}"))
    }

    fn command(&self) -> Command {
        let config = &self.config;
        let mut command = Command::new(&self.command);
        command.args(config.args.iter().flatten());
        for variable in config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        let info = json!({
            "apiVersion": config.api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": self.is_interactive, "cluster": config.cluster},
        });
        command.env("KUBERNETES_EXEC_INFO", info.to_string());
        let (input, error) = if self.is_interactive {
            (Stdio::inherit(), Stdio::inherit())
        } else {
            (Stdio::null(), Stdio::piped())
        };
        command.stdin(input).stdout(Stdio::piped()).stderr(error);
        command.kill_on_drop(true);
        command
    }
}

/// Reads what a plugin printed.
fn answer(output: &[u8], now: OffsetDateTime) -> Result<Answer, String> {
    let credential: Option<Credential> = serde_json::from_slice(output).ok();
    let Some(status) = credential.and_then(|credential| credential.status) else {
        return Err("printed no ExecCredential with a status".to_owned());
    };
    let set = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let expires = set(status.expiration_timestamp).map(|time| {
        let time = OffsetDateTime::parse(&time, &Rfc3339)
            .map_err(|_| "printed an expirationTimestamp that is not a time")?;
        let left = Duration::try_from(time - now).unwrap_or_default();
        let left = left.max(SHORTEST);
        // A time too far away for the clock counts as none.
        Ok::<_, String>(Instant::now().checked_add(left))
    });
    let identity = match (
        set(status.client_certificate_data),
        set(status.client_key_data),
    ) {
        (Some(certificate), Some(key)) => {
            let identity = tls::identity(certificate.as_bytes(), key.as_bytes());
            Some(identity.map_err(|problem| format!("printed a bad certificate: {problem}"))?)
        }
        (None, None) => None,
        _ => return Err("printed a client certificate without its key, or the reverse".to_owned()),
    };
    let token = set(status.token).map(|token| token.trim().to_owned());
    if token.is_none() && identity.is_none() {
        return Err("printed neither a token nor a client certificate".to_owned());
    }
    Ok(Answer {
        token,
        identity,
        expires: expires.transpose()?.flatten(),
    })
}

/// The first line of the messages of a command that is not blank, shortened.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().chars().take(MAX_LINE).collect()
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

/// The text of an error without the operating system's number.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Result<Answer, String> {
        answer(output.as_bytes(), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_plugin_prints_a_token_and_its_end() {
        let output = r#"{"kind":"ExecCredential","status":{"token":" abc\n","expirationTimestamp":"1970-01-01T01:00:00Z"}}"#;
        let answer = read(output).unwrap();
        assert_eq!(answer.token.as_deref(), Some("abc"));
        assert!(answer.expires.unwrap() > Instant::now());
        let answer = read(r#"{"status":{"token":"abc"}}"#).unwrap();
        assert!(answer.expires.is_none());
    }

    #[test]
    fn another_output_is_refused_without_being_repeated() {
        for (output, expected) in [
            ("s3cret", "printed no ExecCredential with a status"),
            ("{}", "printed no ExecCredential with a status"),
            (
                r#"{"status":{}}"#,
                "printed neither a token nor a client certificate",
            ),
            (
                r#"{"status":{"clientKeyData":"s3cret"}}"#,
                "printed a client certificate without its key, or the reverse",
            ),
            (
                r#"{"status":{"clientKeyData":"s3cret","clientCertificateData":"x"}}"#,
                "printed a bad certificate: the client certificate is not a certificate in PEM",
            ),
            (
                r#"{"status":{"token":"s3cret","expirationTimestamp":"soon"}}"#,
                "printed an expirationTimestamp that is not a time",
            ),
        ] {
            assert_eq!(read(output).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_message_shows_the_first_line() {
        assert_eq!(first_line(b"\n  no session \nTraceback"), "no session");
        assert_eq!(first_line(b""), "");
    }
}
