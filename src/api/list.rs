//! `GET /tasks`: the query of a list, and the records of a watched one.

use std::{cmp::Reverse, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    GroupId, InvalidId, Kind, Parameter, Problem, Since, TaskId, TaskState, TaskStatus, Timestamp,
    encode_query, logs::read_bool, matches_glob, username_label,
};
use crate::k8s::names::is_label_value;

/// The order of a list. Tasks that are equal in it are listed newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Newest first.
    #[default]
    Created,
    /// The last changed first.
    Updated,
    Name,
    /// Along the life of a task: pending first.
    Status,
    User,
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "created" => Ok(Self::Created),
            "updated" => Ok(Self::Updated),
            "name" => Ok(Self::Name),
            "status" => Ok(Self::Status),
            "user" => Ok(Self::User),
            _ => Err(format!(
                "{text:?} is not created, updated, name, status or user"
            )),
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Name => "name",
            Self::Status => "status",
            Self::User => "user",
        })
    }
}

impl Sort {
    /// The place of a task in a list of this order.
    pub fn place(self, task: &TaskStatus) -> ListPlace {
        let key = match self {
            Self::Created => String::new(),
            // Nanoseconds until a time that never comes, so that the last change is the smallest.
            Self::Updated => {
                format!(
                    "{:020}",
                    task.updated_at.unix_nanoseconds().abs_diff(i64::MAX)
                )
            }
            Self::Name => task.name.clone(),
            Self::Status => (task.status as u8).to_string(),
            Self::User => task.username.clone(),
        };
        ListPlace {
            sort: self,
            key,
            created: Reverse(task.created_at.unix_nanoseconds()),
            id: task.task_id,
        }
    }
}

/// A place in a list: that of the last task of an answer. The next answer begins behind it, also if the task is gone by then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    /// The order of the list.
    sort: Sort,
    key: String,
    created: Reverse<i64>,
    id: TaskId,
}

/// `<order>.<nanoseconds>.<id>.<key, each byte as two hexadecimal digits>`.
impl fmt::Display for ListPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sort,
            key,
            created,
            id,
        } = self;
        write!(f, "{sort}.{}.{id}.", created.0)?;
        key.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ListPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (sort, rest) = text.split_once('.')?;
            let (created, rest) = rest.split_once('.')?;
            let (id, key) = rest.split_once('.')?;
            let digits = key.as_bytes().chunks(2);
            let bytes: Option<Vec<u8>> = digits
                .map(|pair| match pair {
                    [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
                    _ => None,
                })
                .collect();
            Some(Self {
                sort: sort.parse().ok()?,
                key: String::from_utf8(bytes?).ok()?,
                created: Reverse(created.parse().ok()?),
                id: id.parse().ok()?,
            })
        };
        read().ok_or_else(|| "is not the `continue` of an answer".to_owned())
    }
}

/// The query of `GET /tasks`, without `all_users`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListQuery {
    /// Only tasks in one of these states; all if it is empty.
    pub statuses: Vec<TaskState>,
    /// Only tasks whose name matches this pattern.
    pub name: Option<String>,
    /// Only tasks of this user, by the exact name or by the one that lists show.
    pub user: Option<String>,
    /// Only tasks of this group.
    pub group: Option<GroupId>,
    /// Only tasks that were created since.
    pub since: Option<Since>,
    pub sort: Sort,
    /// The most tasks of the answer.
    pub limit: Option<usize>,
    /// Only the tasks behind this place.
    pub after: Option<ListPlace>,
    /// Whether the answer goes on with each change, as records.
    pub watch: bool,
}

impl ListQuery {
    /// The parameters that [`ListQuery::from_pairs`] reads.
    pub const PARAMETERS: &[Parameter] = &[
        Parameter::new(
            "status",
            Kind::Words(TaskState::WORDS),
            "only tasks in this state",
        )
        .repeated(),
        Parameter::new(
            "name",
            Kind::Text,
            "only tasks whose name matches this pattern with `*` and `?`",
        ),
        Parameter::new(
            "user",
            Kind::Text,
            "only tasks of this user, by the exact name or the one that lists show",
        ),
        Parameter::new("group", Kind::GroupId, "only tasks of this group"),
        Parameter::new("since", Kind::Since, "only tasks that were created since"),
        Parameter::new(
            "sort",
            Kind::Word(&["created", "updated", "name", "status", "user"]),
            "the order",
        )
        .or("created"),
        Parameter::new(
            "limit",
            Kind::Number(1, u64::MAX),
            "the most tasks of the answer",
        ),
        Parameter::new(
            "continue",
            Kind::Place,
            "only the tasks behind the answer with this `continue`",
        ),
        Parameter::new(
            "watch",
            Kind::Flag,
            "the answer goes on with each change, as records",
        )
        .or("false"),
    ];

    /// Reads the pairs of a query, and ignores unknown keys, as other HTTP servers do.
    ///
    /// # Errors
    /// One problem for each invalid value.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut query = Self::default();
        let mut problems = Vec::new();
        for (key, value) in pairs {
            let read = match key.as_str() {
                "status" => read_statuses(value).map(|statuses| query.statuses.extend(statuses)),
                "name" => {
                    query.name = Some(value.clone());
                    Ok(())
                }
                "user" => {
                    query.user = Some(value.clone());
                    Ok(())
                }
                "group" => value
                    .parse()
                    .map(|id| query.group = Some(id))
                    .map_err(|invalid: InvalidId| invalid.to_string()),
                "since" => value.parse().map(|since| query.since = Some(since)),
                "sort" => value.parse().map(|sort| query.sort = sort),
                "limit" => read_limit(value).map(|limit| query.limit = Some(limit)),
                "continue" => value.parse().map(|place| query.after = Some(place)),
                "watch" => read_bool(value).map(|watch| query.watch = watch),
                _ => Ok(()),
            };
            problems.extend(read.err().map(|message| Problem::new(key, message)));
        }
        if query.watch && (query.limit.is_some() || query.after.is_some()) {
            let message = "does not go together with `limit` and `continue`";
            problems.push(Problem::new("watch", message));
        }
        let place = query.after.as_ref();
        if let Some(place) = place.filter(|place| place.sort != query.sort) {
            let message = format!("is of a list with sort={}: give the same", place.sort);
            problems.push(Problem::new("continue", message));
        }
        match problems.is_empty() {
            true => Ok(query),
            false => Err(problems),
        }
    }

    /// The query of a URL that [`ListQuery::from_pairs`] reads as `self`. Empty if all has its default.
    pub fn to_query(&self) -> String {
        let statuses: Vec<_> = self.statuses.iter().map(ToString::to_string).collect();
        let text = |value: &Option<String>| value.clone();
        let pairs = [
            ("status", (!statuses.is_empty()).then(|| statuses.join(","))),
            ("name", text(&self.name)),
            ("user", text(&self.user)),
            ("group", self.group.map(|group| group.to_string())),
            ("since", self.since.map(|since| since.to_string())),
            (
                "sort",
                (self.sort != Sort::default()).then(|| self.sort.to_string()),
            ),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("continue", self.after.as_ref().map(ToString::to_string)),
            ("watch", self.watch.then(|| "true".to_owned())),
        ];
        let given = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        encode_query(given)
    }

    /// Whether a list contains a task, as far as its status, its name and its time decide. `now` is the time of the request.
    pub fn matches(&self, task: &TaskStatus, now: Timestamp) -> bool {
        let has_status = self.statuses.is_empty() || self.statuses.contains(&task.status);
        let has_name = (self.name.as_ref()).is_none_or(|pattern| matches_glob(pattern, &task.name));
        let is_member = self.group.is_none_or(|wanted| {
            let group = task.metadata.group.as_ref();
            group.is_some_and(|group| group.group_id == wanted)
        });
        let is_young = self.since.is_none_or(|since| match since {
            Since::Ago(most) => {
                let age = task.created_at.seconds_until(now);
                u64::try_from(age).is_ok_and(|age| age <= most.as_secs()) || age < 0
            }
            Since::At(moment) => task.created_at >= moment,
        });
        has_status && has_name && is_member && is_young && self.has_user(&task.username)
    }

    /// Whether a task with this label may be one of the user that is asked for. Only the server knows the labels of some names.
    fn has_user(&self, label: &str) -> bool {
        self.user.as_ref().is_none_or(|user| {
            let plain = username_label(user);
            label == plain || !is_label_value(&plain)
        })
    }
}

/// Reads `pending,running`.
pub fn read_statuses(text: &str) -> Result<Vec<TaskState>, String> {
    text.split(',')
        .map(|status| status.trim().parse())
        .collect()
}

fn read_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| format!("{text:?} is not a number of tasks"))
}

/// One line of a watched list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ListRecord {
    /// A task of the list: at first each of them, and then each that has changed.
    Task { task: TaskStatus },
    /// A task is not in the list any more.
    Gone {
        task_id: TaskId,
        /// The task, if it exists and only does not match any more.
        #[schema(required)]
        task: Option<TaskStatus>,
    },
    /// All tasks of the list were sent once.
    Synced {},
    /// The connection is alive.
    Heartbeat {},
    /// A record of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn task(name: &str, status: TaskState, created_at: &str) -> TaskStatus {
        TaskStatus {
            task_id: "ab12cd34".parse().unwrap(),
            name: name.to_owned(),
            status,
            created_at: created_at.parse().unwrap(),
            updated_at: created_at.parse().unwrap(),
            username: "ada".to_owned(),
            reason: None,
            metadata: Default::default(),
            events: Vec::new(),
        }
    }

    #[test]
    fn a_query_is_read_as_it_was_written() {
        assert_eq!(ListQuery::default().to_query(), "");
        let text = "status=pending,running&name=a&user=b&group=gr00up00&since=60s&sort=name&limit=7&continue=name.-5.ab12cd34.6120";
        let query = ListQuery::from_pairs(&pairs(text)).unwrap();
        assert_eq!(query.to_query(), text.replace(',', "%2C"));
        assert_eq!(query.after.unwrap().key, "a ");
        let two = ListQuery::from_pairs(&pairs("status=failed&status=completed")).unwrap();
        assert_eq!(two.statuses.len(), 2);
        for wrong in [
            "status=done",
            "status=",
            "group=G",
            "since=x",
            "sort=age",
            "limit=0",
            "limit=-1",
            "continue=x",
            "continue=created.1.ab12cd34.6",
            "continue=created.1.ab12cd34.éé",
            "continue=1.ab12cd34.61",
            "continue=age.1.ab12cd34.61",
            // Of a list in another order.
            "continue=name.1.ab12cd34.61",
            "sort=name&continue=created.1.ab12cd34.",
            "watch=maybe",
            "watch=true&limit=3",
        ] {
            assert!(ListQuery::from_pairs(&pairs(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_takes_what_all_its_parts_take() {
        let now: Timestamp = "2026-01-01T12:00:00".parse().unwrap();
        let task = task("train-3", TaskState::Running, "2026-01-01T11:30:00");
        for (query, expected) in [
            ("watch=false", true),
            ("status=running,failed&name=train*&since=1h", true),
            ("status=failed", false),
            ("name=train", false),
            ("since=29m", false),
            ("since=2026-01-01T11:30:00Z", true),
            ("since=2026-01-01T11:30:01Z", false),
        ] {
            let query = ListQuery::from_pairs(&pairs(query)).unwrap();
            assert_eq!(query.matches(&task, now), expected, "{query:?}");
        }
        // The clock of another machine may be behind.
        let before: Timestamp = "2026-01-01T11:00:00".parse().unwrap();
        let query = ListQuery::from_pairs(&pairs("since=1m")).unwrap();
        assert!(query.matches(&task, before));
    }

    #[test]
    fn places_are_in_the_order_of_the_list() {
        let old = task("b", TaskState::Failed, "2026-01-01T00:00:00");
        let new = task("a", TaskState::Pending, "2026-01-02T00:00:00");
        for sort in [Sort::Created, Sort::Updated, Sort::Name, Sort::Status] {
            assert!(sort.place(&new) < sort.place(&old), "{sort}");
        }
        let place = Sort::Name.place(&old);
        assert_eq!(place.to_string().parse(), Ok(place));
    }

    #[test]
    fn records_of_newer_servers_are_known_as_such() {
        let record: ListRecord = serde_json::from_str(r#"{"type":"weather","sun":true}"#).unwrap();
        assert_eq!(record, ListRecord::Unknown);
        let synced = serde_json::to_string(&ListRecord::Synced {}).unwrap();
        assert_eq!(synced, r#"{"type":"synced"}"#);
    }
}
