//! Finds the task or the volume that a user names: by its id, by its name, or by the beginning of its id.
//!
//! A text of the form of an id is used as one first, without a further request. Only if there is no such object, and for all other
//! texts, the own objects are listed.

use std::{cell::OnceCell, fmt, str::FromStr};

use crate::{
    api::{GroupId, ListQuery, TaskId, TaskStatus, VolumeId},
    cli::Reference,
    client::{Context, Error, http::ApiClient},
};

/// The fewest characters of the beginning of an id.
const LEAST: usize = 3;
/// The most candidates that a message names.
const SHOWN: usize = 10;

/// An object of the user.
#[derive(Clone, Debug)]
struct Candidate<I> {
    id: I,
    name: String,
    /// Its state, for a person who chooses.
    state: String,
    is_finished: bool,
    /// The id of its group.
    group: Option<String>,
}

/// The objects of one kind, newest first, which are listed when they are needed.
pub struct Finder<'a, I> {
    kind: &'static str,
    list: Box<dyn Fn() -> Result<Vec<Candidate<I>>, Error> + 'a>,
    listed: OnceCell<Vec<Candidate<I>>>,
    takes_beginnings: bool,
}

/// The tasks of the group of this id, by rank; none if the user has no such group.
///
/// # Errors
/// The server does not list the tasks.
pub fn group(
    client: &ApiClient,
    typed: &Reference,
) -> Result<Option<(GroupId, Vec<TaskStatus>)>, Error> {
    let Ok(id) = typed.as_str().parse() else {
        return Ok(None);
    };
    let query = ListQuery {
        group: Some(id),
        ..ListQuery::default()
    };
    let mut tasks = client.list_tasks(false, &query)?.value.tasks;
    tasks.sort_by_key(|task| task.metadata.group.as_ref().map(|group| group.rank));
    Ok((!tasks.is_empty()).then_some((id, tasks)))
}

impl<'a> Finder<'a, TaskId> {
    pub fn tasks(client: &'a ApiClient) -> Self {
        Self::new("task", move || {
            let tasks = client.list_tasks(false, &ListQuery::default())?.value.tasks;
            let tasks = tasks.into_iter().map(|task| Candidate {
                id: task.task_id,
                name: task.name,
                state: task.status.to_string(),
                is_finished: task.status.is_terminal(),
                group: (task.metadata.group).map(|group| group.group_id.to_string()),
            });
            Ok(tasks.collect())
        })
    }
}

impl<'a> Finder<'a, VolumeId> {
    pub fn volumes(client: &'a ApiClient) -> Self {
        Self::new("volume", move || {
            let volumes = client.list_volumes(false)?.value.volumes;
            let volumes = volumes.into_iter().map(|volume| Candidate {
                id: volume.volume_id,
                name: volume.name,
                state: volume.status.to_string(),
                is_finished: true,
                group: None,
            });
            Ok(volumes.collect())
        })
    }
}

impl<'a, I: Copy + PartialEq + FromStr + fmt::Display> Finder<'a, I> {
    fn new(kind: &'static str, list: impl Fn() -> Result<Vec<Candidate<I>>, Error> + 'a) -> Self {
        Self {
            kind,
            list: Box::new(list),
            listed: OnceCell::new(),
            takes_beginnings: true,
        }
    }

    /// For a command that takes something away: it takes the beginning of an id only from a person.
    #[must_use]
    pub fn with_care(mut self, context: &Context<'_>) -> Self {
        self.takes_beginnings = context.terminal.input;
        self
    }

    /// Does something with the object that is meant.
    ///
    /// # Errors
    /// Those of the work; no object is meant, or several.
    pub fn with<T>(
        &self,
        typed: &Reference,
        mut work: impl FnMut(&I) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Ok(id) = typed.as_str().parse() else {
            return work(&self.find(typed)?);
        };
        match work(&id) {
            Err(error) if error.is_about_missing() => match self.find(typed) {
                Ok(other) if other != id => work(&other),
                Err(clear @ (Error::Several { .. } | Error::Group { .. })) => Err(clear),
                _ => Err(error),
            },
            done => done,
        }
    }

    /// The ids of the objects that are meant, as far as they are known without a list.
    ///
    /// # Errors
    /// As [`Finder::find`].
    pub fn ids(&self, typed: &[Reference]) -> Result<Vec<I>, Error> {
        let id = |typed: &Reference| typed.as_str().parse().or_else(|_| self.find(typed));
        typed.iter().map(id).collect()
    }

    /// The id of the object that is meant, which is in the list.
    ///
    /// # Errors
    /// None is meant, or several are, or the server does not list them.
    pub fn find(&self, typed: &Reference) -> Result<I, Error> {
        let listed = match self.listed.get() {
            Some(listed) => listed,
            None => {
                let listed = (self.list)()?;
                self.listed.get_or_init(|| listed)
            }
        };
        let meant = meant(typed.as_str(), listed);
        match (meant.as_slice(), self.kind) {
            ([one], _) if !self.takes_beginnings && is_beginning(typed.as_str(), one) => {
                Err(Error::Usage(format!(
                    "`{typed}` is only the beginning of an id: without a terminal this command needs a whole id or a name"
                )))
            }
            ([one], _) => Ok(one.id),
            ([], _) if is_group(typed.as_str(), listed) => Err(Error::Group {
                id: typed.to_string(),
            }),
            ([], kind) => Err(Error::NoSuch {
                detail: match typed.as_str() {
                    Reference::LATEST => format!("you have no unfinished {kind}"),
                    typed => format!("you have no {kind} with the id or the name `{typed}`"),
                },
            }),
            (several, kind) => Err(Error::Several {
                typed: typed.to_string(),
                kind,
                candidates: several.iter().take(SHOWN).map(|it| it.describe()).collect(),
                more: several.len().saturating_sub(SHOWN),
            }),
        }
    }
}

impl<I: fmt::Display> Candidate<I> {
    fn describe(&self) -> String {
        format!("{}  {}  {}", self.id, self.name, self.state)
    }
}

/// The objects that a text means: an id wins, then an exact name, then the beginning of an id.
fn meant<'a, I: fmt::Display>(typed: &str, all: &'a [Candidate<I>]) -> Vec<&'a Candidate<I>> {
    if typed == Reference::LATEST {
        return all.iter().find(|it| !it.is_finished).into_iter().collect();
    }
    let by = |is_meant: &dyn Fn(&Candidate<I>) -> bool| -> Vec<_> {
        all.iter().filter(|it| is_meant(it)).collect()
    };
    let ids = by(&|it| it.id.to_string() == typed);
    let names = || by(&|it| it.name == typed);
    let beginnings = || by(&|it| is_beginning(typed, it));
    [ids]
        .into_iter()
        .find(|found| !found.is_empty())
        .or_else(|| Some(names()).filter(|found| !found.is_empty()))
        .unwrap_or_else(beginnings)
}

/// Whether a text is the id of the group of one of the objects.
fn is_group<I>(typed: &str, all: &[Candidate<I>]) -> bool {
    all.iter().any(|it| it.group.as_deref() == Some(typed))
}

/// Whether a text is only the beginning of the id of an object.
fn is_beginning<I: fmt::Display>(typed: &str, it: &Candidate<I>) -> bool {
    let id = it.id.to_string();
    typed.len() >= LEAST && id != typed && it.name != typed && id.starts_with(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(takes_beginnings: bool) -> Finder<'static, TaskId> {
        let list = || {
            let rows = [
                ("new00001", "train", true),
                ("run00002", "train", false),
                ("run00003", "eval", false),
                ("old00004", "resnet50", true),
                ("resnet50", "other", true),
                ("abc00006", "run", true),
            ];
            let rows = rows.map(|(id, name, is_finished)| Candidate {
                id: id.parse().unwrap(),
                name: name.to_owned(),
                state: "pending".to_owned(),
                is_finished,
                group: Some("gr00up00".to_owned()),
            });
            Ok(rows.to_vec())
        };
        Finder {
            takes_beginnings,
            ..Finder::new("task", list)
        }
    }

    #[test]
    fn an_id_wins_then_a_name_then_the_beginning_of_an_id() {
        for (typed, expected) in [
            ("run00002", Ok("run00002")),
            ("resnet50", Ok("resnet50")),
            ("eval", Ok("run00003")),
            ("run", Ok("abc00006")),
            ("old", Ok("old00004")),
            ("@latest", Ok("run00002")),
            ("gr00up00", Err("`gr00up00` is a group of tasks, not one")),
            ("ol", Err("you have no task with the id or the name `ol`")),
            (
                "evaluation",
                Err("you have no task with the id or the name `evaluation`"),
            ),
            (
                "train",
                Err(
                    "`train` means several tasks:\n  new00001  train  pending\n  run00002  train  pending",
                ),
            ),
            (
                "run0",
                Err(
                    "`run0` means several tasks:\n  run00002  train  pending\n  run00003  eval  pending",
                ),
            ),
        ] {
            let found = finder(true).find(&typed.parse().unwrap());
            let found = found.map(String::from).map_err(|error| error.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{typed}");
        }
    }

    #[test]
    fn a_command_that_takes_away_needs_a_whole_id_without_a_terminal() {
        for (typed, is_taken) in [("old", false), ("old00004", true), ("eval", true)] {
            let found = finder(false).find(&typed.parse().unwrap());
            assert_eq!(found.is_ok(), is_taken, "{typed}");
        }
    }

    #[test]
    fn a_text_like_an_id_is_a_name_if_there_is_no_such_id() {
        let missing = || Error::Api {
            status: 404,
            detail: "not found".to_owned(),
            reason: None,
        };
        let mut tried = Vec::new();
        let done = finder(true).with(&"old00004".parse().unwrap(), |id| {
            tried.push(id.to_string());
            Ok(())
        });
        assert!(done.is_ok());
        let error = finder(true).with(&"zzzzzzzz".parse().unwrap(), |id| {
            tried.push(id.to_string());
            Err::<(), _>(missing())
        });
        assert_eq!(error.unwrap_err().to_string(), "not found");
        assert_eq!(tried, ["old00004", "zzzzzzzz"]);
    }
}
