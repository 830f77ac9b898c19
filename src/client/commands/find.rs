//! Finds the task, the group of tasks or the volume that a user names: by its id, by its name, or by the beginning of its id.
//!
//! A text of the form of an id is used as one first, without a further request. Only if there is no such object, and for all other
//! texts, the own objects are listed.

use std::{cell::OnceCell, cmp::Ordering, collections::HashMap, fmt, str::FromStr};

use crate::{
    api::{GroupId, ListQuery, TaskId, TaskStatus, VolumeId},
    cli::Reference,
    client::{Context, Error, http::ApiClient},
};

/// The fewest characters of the beginning of an id.
const LEAST: usize = 3;
/// The most candidates that a message names.
const SHOWN: usize = 10;

const GROUP: &str = "group";

/// An object of the user.
#[derive(Clone, Debug)]
struct Candidate<I> {
    id: I,
    name: String,
    /// Its state, for a person who chooses.
    state: String,
    is_finished: bool,
    /// Its group.
    group: Option<Membership>,
}

/// The place of a task in a group.
#[derive(Clone, Debug)]
struct Membership {
    id: GroupId,
    /// The name that all of its tasks have in common.
    name: String,
    rank: u32,
}

/// The objects of one kind, newest first, which are listed when they are needed.
pub struct Finder<'a, I> {
    kind: &'static str,
    list: Box<dyn Fn() -> Result<Vec<Candidate<I>>, Error> + 'a>,
    listed: OnceCell<Vec<Candidate<I>>>,
    takes_beginnings: bool,
}

/// The tasks of the group that is meant, by rank; none if none of the user's is meant.
///
/// # Errors
/// Several are meant, or the server does not list the tasks.
pub fn group(
    client: &ApiClient,
    typed: &Reference,
) -> Result<Option<(GroupId, Vec<TaskStatus>)>, Error> {
    let with_tasks = |id| Ok::<_, Error>((id, members(client, id, false, None)?));
    if let Ok(id) = typed.as_str().parse() {
        let found = with_tasks(id)?;
        if !found.1.is_empty() {
            return Ok(Some(found));
        }
    }
    let id = Finder::tasks(client).group(typed)?;
    id.map(with_tasks).transpose()
}

/// The id of the group that is meant, perhaps of another user. An id is one even if there is no such group.
///
/// # Errors
/// None is meant, or several are, or the server does not list the tasks.
pub fn group_id(client: &ApiClient, all_users: bool, typed: &Reference) -> Result<GroupId, Error> {
    let id: Option<GroupId> = typed.as_str().parse().ok();
    if let Some(id) = id
        && !members(client, id, all_users, Some(1))?.is_empty()
    {
        return Ok(id);
    }
    let found = Finder::tasks_of(client, all_users).group(typed)?;
    found.or(id).ok_or_else(|| no_group(typed))
}

/// The error for a group that does not exist.
pub fn no_group(typed: &Reference) -> Error {
    Error::NoSuch {
        detail: format!("you have no group with the id or the name `{typed}`"),
    }
}

/// The tasks of a group by rank, at most `limit` of them.
///
/// # Errors
/// The server does not list the tasks.
pub fn members(
    client: &ApiClient,
    id: GroupId,
    all_users: bool,
    limit: Option<usize>,
) -> Result<Vec<TaskStatus>, Error> {
    let query = ListQuery {
        group: Some(id),
        limit,
        ..ListQuery::default()
    };
    let mut tasks = client.list_tasks(all_users, &query)?.value.tasks;
    tasks.sort_by_key(|task| task.metadata.group.as_ref().map(|group| group.rank));
    Ok(tasks)
}

impl<'a> Finder<'a, TaskId> {
    pub fn tasks(client: &'a ApiClient) -> Self {
        Self::tasks_of(client, false)
    }

    fn tasks_of(client: &'a ApiClient, all_users: bool) -> Self {
        Self::new("task", move || {
            let query = ListQuery::default();
            let tasks = client.list_tasks(all_users, &query)?.value.tasks;
            let tasks = tasks.into_iter().map(|task| Candidate {
                id: task.task_id,
                state: task.status.to_string(),
                is_finished: task.status.is_terminal(),
                group: (task.metadata.group).map(|group| Membership {
                    id: group.group_id,
                    name: group.common_name(&task.name).to_owned(),
                    rank: group.rank,
                }),
                name: task.name,
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

    /// The ids of the objects that are meant, as far as they are known without a list. For a group they are those of its tasks.
    ///
    /// # Errors
    /// As [`Finder::find`].
    pub fn ids(&self, typed: &[Reference]) -> Result<Vec<I>, Error> {
        let mut ids = Vec::new();
        for typed in typed {
            if let Ok(id) = typed.as_str().parse() {
                ids.push(id);
                continue;
            }
            match self.find(typed) {
                Err(Error::Group { id, .. }) => ids.extend(self.members(id)?),
                found => ids.push(found?),
            }
        }
        Ok(ids)
    }

    /// The objects of a group, by rank.
    fn members(&self, id: GroupId) -> Result<Vec<I>, Error> {
        let member = |it: &Candidate<I>| {
            let group = it.group.as_ref().filter(|group| group.id == id)?;
            Some((group.rank, it.id))
        };
        let mut members: Vec<_> = self.listed()?.iter().filter_map(member).collect();
        members.sort_by_key(|(rank, _)| *rank);
        Ok(members.into_iter().map(|(_, id)| id).collect())
    }

    /// The id of the object that is meant, which is in the list.
    ///
    /// # Errors
    /// None is meant, or several are, or a group is, or the server does not list them.
    pub fn find(&self, typed: &Reference) -> Result<I, Error> {
        let listed = self.listed()?;
        let groups = groups(listed);
        let typed = typed.as_str();
        let (by, mut objects) = meant(typed, listed);
        let (by_group, mut of_groups) = meant(typed, &groups);
        // A name, or the beginning of an id, of both kinds means both.
        if !objects.is_empty() && !of_groups.is_empty() {
            match by.cmp(&by_group) {
                Ordering::Less => of_groups.clear(),
                Ordering::Greater => objects.clear(),
                Ordering::Equal => (),
            }
        }
        if typed == Reference::LATEST {
            of_groups.clear();
        }
        match (objects.as_slice(), of_groups.as_slice()) {
            ([one], []) => self.cared_for(typed, by).map(|()| one.id),
            ([], [one]) => {
                self.cared_for(typed, by_group)?;
                Err(Error::Group {
                    id: one.id,
                    wants_log: false,
                })
            }
            ([], []) => {
                let kind = self.kind;
                Err(Error::NoSuch {
                    detail: match typed {
                        Reference::LATEST => format!("you have no unfinished {kind}"),
                        typed => format!("you have no {kind} with the id or the name `{typed}`"),
                    },
                })
            }
            (objects, of_groups) => {
                let kind = if objects.is_empty() { GROUP } else { self.kind };
                let candidates = objects.iter().map(|it| it.describe());
                let all = candidates.chain(of_groups.iter().map(|it| it.describe()));
                Err(several(typed, kind, all.collect()))
            }
        }
    }

    /// The group that is meant, if one is.
    ///
    /// # Errors
    /// Several are, or the server does not list the objects.
    fn group(&self, typed: &Reference) -> Result<Option<GroupId>, Error> {
        let groups = groups(self.listed()?);
        let (_, found) = meant(typed.as_str(), &groups);
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.id)),
            more => {
                let candidates = more.iter().map(|it| it.describe());
                Err(several(typed.as_str(), GROUP, candidates.collect()))
            }
        }
    }

    fn listed(&self) -> Result<&[Candidate<I>], Error> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let listed = (self.list)()?;
        Ok(self.listed.get_or_init(|| listed))
    }

    /// Checks that the command takes what was found in this way.
    fn cared_for(&self, typed: &str, by: By) -> Result<(), Error> {
        if self.takes_beginnings || by != By::Beginning {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "`{typed}` is only the beginning of an id: without a terminal this command needs a whole id or a name"
        )))
    }
}

impl<I: fmt::Display> Candidate<I> {
    fn describe(&self) -> String {
        format!("{}  {}  {}", self.id, self.name, self.state)
    }
}

fn several(typed: &str, kind: &'static str, mut candidates: Vec<String>) -> Error {
    let more = candidates.len().saturating_sub(SHOWN);
    candidates.truncate(SHOWN);
    Error::Several {
        typed: typed.to_owned(),
        kind,
        candidates,
        more,
    }
}

/// How a text names an object; the first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Id,
    Name,
    Beginning,
}

/// The objects that a text means: an id wins, then an exact name, then the beginning of an id.
fn meant<'a, I: fmt::Display>(typed: &str, all: &'a [Candidate<I>]) -> (By, Vec<&'a Candidate<I>>) {
    if typed == Reference::LATEST {
        let latest = all.iter().find(|it| !it.is_finished);
        return (By::Name, latest.into_iter().collect());
    }
    let found = |by: By| -> Vec<_> {
        let is_meant = |it: &&Candidate<I>| match by {
            By::Id => it.id.to_string() == typed,
            By::Name => it.name == typed,
            By::Beginning => typed.len() >= LEAST && it.id.to_string().starts_with(typed),
        };
        all.iter().filter(is_meant).collect()
    };
    let ways = [By::Id, By::Name].map(|by| (by, found(by)));
    let first = ways.into_iter().find(|(_, found)| !found.is_empty());
    first.unwrap_or_else(|| (By::Beginning, found(By::Beginning)))
}

/// The groups of these objects, in the order of their first ones.
fn groups<I>(all: &[Candidate<I>]) -> Vec<Candidate<GroupId>> {
    let mut groups: Vec<(Candidate<GroupId>, usize)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for it in all {
        let Some(group) = &it.group else { continue };
        let place = *places.entry(group.id.as_str()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((known, count)) => {
                known.is_finished &= it.is_finished;
                *count += 1;
            }
            None => groups.push((
                Candidate {
                    id: group.id,
                    name: group.name.clone(),
                    state: String::new(),
                    is_finished: it.is_finished,
                    group: None,
                },
                1,
            )),
        }
    }
    let with_count = |(group, count)| Candidate {
        state: format!("group of {count}"),
        ..group
    };
    groups.into_iter().map(with_count).collect()
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
                group: Some(Membership {
                    id: match name {
                        "run" => "abd00007",
                        "eval" => "gr00up11",
                        _ => "gr00up00",
                    }
                    .parse()
                    .unwrap(),
                    name: match name {
                        "run" => "train".to_owned(),
                        _ => "swf".to_owned(),
                    },
                    rank: u32::from(is_finished),
                }),
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
            ("gr00up0", Err("`gr00up00` is a group of tasks, not one")),
            (
                "swf",
                Err(
                    "`swf` means several groups:\n  gr00up00  swf  group of 4\n  gr00up11  swf  group of 1",
                ),
            ),
            (
                "gr00up",
                Err(
                    "`gr00up` means several groups:\n  gr00up00  swf  group of 4\n  gr00up11  swf  group of 1",
                ),
            ),
            ("ab", Err("you have no task with the id or the name `ab`")),
            ("ol", Err("you have no task with the id or the name `ol`")),
            (
                "evaluation",
                Err("you have no task with the id or the name `evaluation`"),
            ),
            (
                "train",
                Err(
                    "`train` means several tasks:\n  new00001  train  pending\n  run00002  train  pending\n  abd00007  train  group of 1",
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
    fn a_beginning_of_both_kinds_means_both() {
        let list = || {
            let one = Candidate {
                id: "abc00001".parse().unwrap(),
                name: "x-0".to_owned(),
                state: "failed".to_owned(),
                is_finished: true,
                group: Some(Membership {
                    id: "abc00002".parse().unwrap(),
                    name: "x".to_owned(),
                    rank: 0,
                }),
            };
            Ok(vec![one])
        };
        let finder: Finder<'static, TaskId> = Finder::new("task", list);
        let error = finder.find(&"abc".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`abc` means several tasks:\n  abc00001  x-0  failed\n  abc00002  x  group of 1"
        );
        let group = finder.group(&"abc".parse().unwrap()).unwrap();
        assert_eq!(group.unwrap().as_str(), "abc00002");
        let typed = ["x", "x-0", "abc00002"].map(|text| text.parse().unwrap());
        let ids = finder.ids(&typed).unwrap();
        let ids: Vec<_> = ids.iter().map(TaskId::as_str).collect();
        assert_eq!(ids, ["abc00001", "abc00001", "abc00002"]);
    }

    #[test]
    fn a_command_that_takes_away_needs_a_whole_id_without_a_terminal() {
        for (typed, is_taken) in [
            ("old", false),
            ("old00004", true),
            ("eval", true),
            ("gr00up0", false),
            ("gr00up00", true),
        ] {
            let found = finder(false).find(&typed.parse().unwrap());
            let is_refused = matches!(found, Err(Error::Usage(_)));
            assert_eq!(!is_refused, is_taken, "{typed}");
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
