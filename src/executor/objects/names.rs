//! The names of the objects of a task, and the label values of user and task names. Pure.

use crate::{
    api::{TaskDefinition, TaskId, User, short_username, username_label},
    k8s::names::{MAX_LABEL, is_label_value},
};

/// The longest part of a task's name in the names of its Jobs. The longest pod name, with `-{id}-node-9999-{5 more}`, is then a DNS
/// label of 63 characters.
const MAX_NAME: usize = MAX_LABEL - "-ab12cd34-node-9999-abcde".len();

/// The value of the `username` label.
pub fn username(user: &User) -> String {
    let replaced = username_label(user.as_str());
    if is_value(&replaced) {
        replaced
    } else {
        let user = user.as_str();
        hashed(short_username(user), user, MAX_LABEL)
    }
}

/// The value of the `task-name` label.
pub fn task_name(name: &str) -> String {
    if is_value(name) {
        name.to_owned()
    } else {
        hashed(name, name, MAX_LABEL)
    }
}

/// The default name of a task.
pub fn default_task_name(id: TaskId) -> String {
    format!("task-{id}")
}

/// The common prefix of the names of all Jobs of a task: lower case, shortened, with `-` for each character that a DNS label does
/// not allow.
pub fn job_name(task: &TaskDefinition, id: TaskId) -> String {
    let name = task.name.clone().unwrap_or_else(|| default_task_name(id));
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let short: String = name.chars().take(MAX_NAME).collect();
    format!("{}-{id}", short.trim_end_matches('-'))
}

/// The name of the Job of one node.
pub fn node_job_name(job_name: &str, rank: u32, num_nodes: u32) -> String {
    match num_nodes {
        1 => job_name.to_owned(),
        _ => format!("{job_name}-node-{rank}"),
    }
}

/// The name of the Job of a node in an attempt but the first, from that in another attempt. The beginning of a name that would be too
/// long is cut off: its end tells the Jobs apart.
pub fn attempt_job_name(name: &str, attempt: u32) -> String {
    let name = format!("{}{TRY}{attempt}", first_job_name(name));
    let cut = &name[name.len().saturating_sub(MAX_LABEL)..];
    cut.trim_start_matches('-').to_owned()
}

/// The name of the Job of a node in the first attempt, from that in any.
pub fn first_job_name(name: &str) -> &str {
    // The id of a task is longer.
    let is_number = |text: &str| (1..5).contains(&text.len()) && text.parse::<u32>().is_ok();
    match name.rsplit_once(TRY) {
        Some((first, attempt)) if is_number(attempt) => first,
        _ => name,
    }
}

/// What stands before the number of an attempt in the names of its Jobs.
const TRY: &str = "-try";

/// What the names of the objects of a task begin with, except those of its Jobs.
///
/// A key decides the id of a task, so an earlier task may have had the same one, and Kubernetes may not have collected its objects yet.
/// Its nonce then keeps the names apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Stem(String);

impl Stem {
    pub fn new(id: TaskId, nonce: Option<&str>) -> Self {
        // The name of a Service has to begin with a letter; the id of a task need not.
        Self(match nonce {
            Some(nonce) => format!("task-{id}-{nonce}"),
            None => format!("task-{id}"),
        })
    }

    /// The name of the headless Service, the domain in which the nodes find each other.
    pub fn service(&self) -> String {
        self.0.clone()
    }

    /// The name of the Secret with the values of `secrets`.
    pub fn secret(&self) -> String {
        self.0.clone()
    }

    /// The name of the Secret that holds the script.
    pub fn script_secret(&self) -> String {
        format!("{}-shared", self.0)
    }

    /// The name of the Secret that holds a part of the files.
    pub fn files_secret(&self, part: u32) -> String {
        format!("{}-files-{part}", self.0)
    }

    /// The name of the Secret with the login to a registry of images.
    pub fn registry_secret(&self) -> String {
        format!("{}-registry", self.0)
    }

    /// The name of the claim behind an ephemeral volume.
    pub fn ephemeral_claim(&self, index: usize) -> String {
        format!("{}-volume-{index}", self.0)
    }
}

/// The hostname of a node, under which the other nodes find it in the domain of the Service.
pub fn hostname(rank: u32) -> String {
    format!("node-{rank}")
}

/// Whether a text can be a label value that selects objects. The empty value is valid but selects nothing.
fn is_value(text: &str) -> bool {
    !text.is_empty() && is_label_value(text)
}

/// A valid label value for any text: its readable characters, and a hash of the whole text.
fn hashed(text: &str, exact: &str, max: usize) -> String {
    let hash = format!("{:016x}", fnv1a(exact.as_bytes()));
    let is_value_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let slug: String = text
        .chars()
        .map(|c| if is_value_char(c) { c } else { '-' })
        .take(max - hash.len() - 1)
        .collect();
    match slug.trim_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => hash,
        slug => format!("{slug}-{hash}"),
    }
}

/// FNV-1a, 64 bits (RFC 9923). Collisions are harmless: see the docs of `labels`.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::MAX_NUM_NODES;

    fn user(name: &str) -> User {
        name.parse().unwrap()
    }

    fn task(name: &str) -> TaskDefinition {
        TaskDefinition::from_json(&json!({"name": name, "run": "true"})).unwrap()
    }

    #[test]
    fn usernames_become_label_values() {
        for (name, expected) in [
            ("ada", "ada"),
            ("user@example.com", "user-example.com"),
            ("Ada_Lovelace", "Ada_Lovelace"),
            ("a b", "a-b-e63f991904833892"),
            ("a+b", "a-b-e62e9b190474c8c5"),
            ("@ada", "ada-84095696fe761a81"),
            ("阿達", "4e003670516498ad"),
            ("system:serviceaccount:team:ci", "team-ci-7077b1ab31d51147"),
            ("a,username=b", "a-username-b-5f8f86ed4a2d6a77"),
        ] {
            let label = username(&user(name));
            assert!(is_value(&label), "{label}");
            assert_eq!(label, expected, "{name}");
        }
        let long = username(&user(&"x".repeat(200)));
        assert!(is_value(&long) && long.len() == MAX_LABEL, "{long}");
    }

    #[test]
    fn jobs_get_valid_names() {
        let id: TaskId = "ab12cd34".parse().unwrap();
        for (name, expected) in [
            ("train", "train-ab12cd34"),
            ("My_Task.v2", "my-task-v2-ab12cd34"),
            (&"x".repeat(200), &format!("{}-ab12cd34", "x".repeat(38))),
            (
                &format!("{}--y", "x".repeat(37)),
                &format!("{}-ab12cd34", "x".repeat(37)),
            ),
        ] {
            assert_eq!(job_name(&task(name), id), expected);
            assert!(is_value(&task_name(name)));
        }
        assert_eq!(attempt_job_name("t-ab12cd34", 2), "t-ab12cd34-try2");
        assert_eq!(attempt_job_name("t-ab12cd34-try2", 13), "t-ab12cd34-try13");
        assert_eq!(
            attempt_job_name("retry2-ab12cd34", 2),
            "retry2-ab12cd34-try2"
        );
        let unnamed = TaskDefinition::from_json(&json!({"run": "true"})).unwrap();
        assert_eq!(job_name(&unnamed, id), "task-ab12cd34-ab12cd34");
        assert_eq!(node_job_name("train-ab12cd34", 0, 1), "train-ab12cd34");
        assert_eq!(
            node_job_name("train-ab12cd34", 3, 4),
            "train-ab12cd34-node-3"
        );
        let longest = node_job_name(
            &job_name(&task(&"x".repeat(200)), id),
            MAX_NUM_NODES - 1,
            MAX_NUM_NODES,
        );
        let pod = format!("{longest}-abcde");
        assert_eq!(pod.len(), 63, "{pod}");
        let again = attempt_job_name(&longest, 1000);
        assert_eq!(again.len(), 63);
        assert!(again.ends_with("x-ab12cd34-node-9999-try1000"), "{again}");
    }
}
