//! Reads a task file, from disk or standard input, into a [`TaskDefinition`](crate::api::TaskDefinition).
//!
//! ```text
//! file, flags ──► here ──► settings   the changes by flags
//!                  └─────► document   text and settings to a task, with lines
//! ```
//!
//! # A task file, from the command line to the Job
//!
//! 1. `cli::jobs` parses `jobs submit train.yaml --env A=1` into `SubmitArgs`.
//! 2. [`settings()`] folds `--env`, `--env-file` and `--secret` into one [`Settings`].
//! 3. [`read`] reads the file; `yaml` parses it as `SkyPilot`'s parser does, with the line of each value.
//! 4. `document` applies the settings and decodes a `TaskDefinition`; each problem names its line.
//! 5. `client::files` finds and packs the files that travel with it; `client::http` sends both: `POST /tasks/submit` with the user in
//!    `X-User`.
//! 6. `server::submission` receives the archive into `executor::files`; `server::tasks::submit` decodes the definition again and calls
//!    `Executor::submit`.
//! 7. `executor::tasks::prepare` looks up volumes and GPUs, and decides everything in a `Submission`.
//! 8. `executor::objects` turns the submission into a Job for each node, a Service and Secrets.
//! 9. `executor::tasks::submit` creates them, the first Job first, and deletes all of them if one is refused.
//! 10. The id travels back, and the client prints it before it follows the log.

#[cfg(test)]
mod corpus;
mod document;
mod dotenv;
mod settings;
mod source;

use std::{
    fs::File,
    io::{self, Read},
};

use serde_json::Value;

pub use document::{Finding, TaskFile};
pub use settings::Settings;

use self::document::Refused;
use super::{Error, config::Env};
use crate::{api::check_env_name, cli::Changes};

/// The limit for a task file, which is written by hand.
const MAX_LENGTH: u64 = 1024 * 1024;

/// The name of a file in messages; `-` is standard input.
pub fn name(path: &str) -> &str {
    match path {
        "-" => "standard input",
        path => path,
    }
}

/// Reads and checks a task file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, is not YAML, or is not a task. All problems of a task are returned.
pub fn read(path: &str, input: &mut dyn Read, settings: &Settings) -> Result<TaskFile, Error> {
    let text = read_text(path, input)?;
    parse(name(path), &text, settings)
}

/// Checks the text of a task file. `name` is that of the file in messages.
///
/// # Errors
/// Those of [`read`], but for reading.
pub fn parse(name: &str, text: &[u8], settings: &Settings) -> Result<TaskFile, Error> {
    let refused = |problem: &str| Error::Yaml {
        place: name.to_owned(),
        problem: problem.to_owned(),
    };
    if text.len() as u64 > MAX_LENGTH {
        return Err(refused("is longer than 1 MiB, the limit for a task file"));
    }
    let text = std::str::from_utf8(text).map_err(|_| refused("is not UTF-8 text"))?;
    document::parse(text, settings).map_err(|refused| match refused {
        Refused::Yaml { place, problem } => Error::Yaml {
            place: match place {
                Some((line, column)) => format!("{name}:{line}:{column}"),
                None => name.to_owned(),
            },
            problem,
        },
        Refused::Task(findings) => Error::TaskFile {
            name: name.to_owned(),
            findings,
        },
    })
}

/// The settings from flags. Flags win over files, and later ones over earlier ones.
///
/// # Errors
/// A variable is not set, or a file of variables cannot be read.
pub fn settings(changes: Changes, env: Env<'_>) -> Result<Settings, Error> {
    let Changes {
        env: envs,
        env_file,
        secret: secrets,
        secret_file,
        name,
        num_nodes,
        cpus,
        memory,
        gpus,
        image_id,
        workdir,
        time_limit,
    } = changes;
    let text = |flag, path, value: Option<String>| Some((flag, path, Value::String(value?)));
    let fields = [
        text("--name", "name", name),
        num_nodes.map(|num_nodes| ("--num-nodes", "num_nodes", num_nodes.into())),
        text("--cpus", "resources.cpus", cpus),
        text("--memory", "resources.memory", memory),
        text("--gpus", "resources.accelerators", gpus),
        text("--image-id", "resources.image_id", image_id),
        text("--workdir", "workdir", workdir),
        text("--time-limit", "max_duration", time_limit),
    ];
    Ok(Settings {
        envs: variables("--env", envs, env_file, env)?,
        secrets: variables("--secret", secrets, secret_file, env)?,
        fields: fields.into_iter().flatten().collect(),
        swept: Vec::new(),
    })
}

/// The variables of files, followed by those of flags: `NAME=VALUE`, or `NAME` for the value in the caller's environment.
fn variables(
    flag: &str,
    given: Vec<String>,
    files: Vec<String>,
    env: Env<'_>,
) -> Result<Vec<(String, String)>, Error> {
    let outer = |name: &str| env(name).and_then(|value| value.into_string().ok());
    let mut variables = Vec::new();
    for path in files {
        let text = read_text(&path, &mut io::empty())?;
        let text = String::from_utf8(text).map_err(|_| Error::Yaml {
            place: path.clone(),
            problem: "is not UTF-8 text".to_owned(),
        })?;
        let read = dotenv::parse(&text, &outer).map_err(|(line, problem)| Error::Yaml {
            place: format!("{path}:{line}"),
            problem: problem.to_owned(),
        })?;
        variables.extend(read);
    }
    for variable in given {
        let usage = |problem: String| Error::Usage(format!("{flag}: {problem}"));
        variables.push(match variable.split_once('=') {
            Some(("", _)) => return Err(usage("expected NAME=VALUE or NAME".to_owned())),
            Some((name, value)) => {
                check_env_name(name).map_err(|problem| {
                    usage(match flag {
                        // It may be a value with `=` at its end.
                        "--secret" => format!("the text before its `=` {problem}"),
                        _ => format!("`{name}` {problem}"),
                    })
                })?;
                (name.to_owned(), value.to_owned())
            }
            None if variable.is_empty() => {
                return Err(usage("expected NAME=VALUE or NAME".to_owned()));
            }
            None => {
                let value = outer(&variable).ok_or_else(|| {
                    usage(match flag {
                        // It may be a value whose name was forgotten.
                        "--secret" => {
                            "expected NAME=VALUE, or the NAME of a variable of your environment"
                                .to_owned()
                        }
                        _ => format!("{variable} is not set in your environment"),
                    })
                })?;
                (variable, value)
            }
        });
    }
    Ok(variables)
}

fn read_text(path: &str, input: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    if path == "-" {
        input.take(MAX_LENGTH + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_LENGTH + 1).read_to_end(&mut text))
    }
    .map_err(|error| Error::file("read", name(path), error))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
