//! The rights that the server needs, and what fails without them.

use std::fmt;

use super::{Cluster, reviews::Permission};
use crate::executor::error::Result;

/// The oldest minor version of Kubernetes 1 with which the program works.
const OLDEST: u32 = 20;

/// Some verbs on a resource.
#[derive(Debug, PartialEq)]
pub struct Need {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    pub kind: Kind,
    /// What fails without the right.
    pub without: &'static str,
}

/// How much the server needs a right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In its namespace, always.
    Always,
    /// In the whole cluster, to check the tokens of users.
    ForTokens,
    /// In the whole cluster, if somebody grants it.
    Optional,
}

impl Need {
    /// Whether a server without this right cannot do its work.
    pub fn is_required(&self) -> bool {
        self.kind != Kind::Optional
    }
}

/// `create jobs.batch`, as in `kubectl auth can-i`.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, format!("/{subresource}")),
            None => (self.resource, String::new()),
        };
        let dot = if self.group.is_empty() { "" } else { "." };
        let Self { group, verb, .. } = self;
        write!(f, "{verb} {resource}{dot}{group}{subresource}")?;
        // Nodes and reviews are in no namespace.
        match self.kind == Kind::Optional && self.resource == "pods" {
            true => f.write_str(" --all-namespaces"),
            false => Ok(()),
        }
    }
}

const fn need(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    kind: Kind,
    without: &'static str,
) -> Need {
    Need {
        group,
        resource,
        verb,
        kind,
        without,
    }
}

const NOTHING: &str = "the server can show nothing";
const NO_CHANGES: &str = "the server does not see changes in time";
const HALF_DONE: &str = "tasks are not created whole, and their ends are not kept";
const NO_REASONS: &str = "nobody is told why a task waits";
const NO_SECRETS: &str = "tasks with secrets, or with files, fail";
const NO_USERS: &str = "no user is known";

#[rustfmt::skip]
const NEEDS: &[Need] = &[
    need("batch", "jobs", "create", Kind::Always, "no task can start"),
    need("batch", "jobs", "get", Kind::Always, "tasks cannot be shown"),
    need("batch", "jobs", "list", Kind::Always, NOTHING),
    need("batch", "jobs", "watch", Kind::Always, NO_CHANGES),
    need("batch", "jobs", "patch", Kind::Always, HALF_DONE),
    need("batch", "jobs", "delete", Kind::Always, "no task can be stopped"),
    need("", "pods", "list", Kind::Always, NOTHING),
    need("", "pods", "watch", Kind::Always, NO_CHANGES),
    need("", "pods", "patch", Kind::Always, "nodes that wait for each other do not begin"),
    need("", "pods", "delete", Kind::Always, "pods without a Job cannot be stopped"),
    need("", "events", "list", Kind::Always, NO_REASONS),
    need("", "events", "watch", Kind::Always, NO_REASONS),
    need("", "pods/log", "get", Kind::Always, "no log can be read"),
    need("", "persistentvolumeclaims", "create", Kind::Always, "no volume can be created"),
    need("", "persistentvolumeclaims", "get", Kind::Always, "volumes cannot be shown"),
    need("", "persistentvolumeclaims", "list", Kind::Always, NOTHING),
    need("", "persistentvolumeclaims", "watch", Kind::Always, NO_CHANGES),
    need("", "persistentvolumeclaims", "delete", Kind::Always, "no volume can be deleted"),
    need("", "services", "create", Kind::Always, "tasks of several nodes fail"),
    need("", "secrets", "create", Kind::Always, NO_SECRETS),
    need("", "secrets", "delete", Kind::Always, "the files of tasks are kept until their tasks are deleted"),
    need("authentication.k8s.io", "tokenreviews", "create", Kind::ForTokens, NO_USERS),
    need("authorization.k8s.io", "subjectaccessreviews", "create", Kind::ForTokens, NO_USERS),
    need("", "nodes", "list", Kind::Optional, "tasks do not get the type of GPU that they ask for, and `k8s-cli nodes` fails"),
    need("", "pods", "list", Kind::Optional, "`k8s-cli nodes` does not say what is free"),
];

impl Cluster {
    /// The rights that the server needs, and whether it has them.
    pub async fn own_rights(&self, with_tokens: bool) -> Result<Vec<(&'static Need, bool)>> {
        let mut rights = Vec::new();
        // One after the other: a server that starts has more urgent requests.
        for need in NEEDS {
            if need.kind == Kind::ForTokens && !with_tokens {
                continue;
            }
            let permission = Permission {
                group: need.group,
                resource: need.resource,
                verb: need.verb,
            };
            let everywhere = need.kind != Kind::Always;
            rights.push((need, self.allows_self(permission, everywhere).await?));
        }
        Ok(rights)
    }

    /// The version of Kubernetes, and whether the program works with it.
    pub async fn supported_version(&self) -> Result<(String, bool)> {
        let version = self.version().await?;
        let is_supported = is_supported(&version.major, &version.minor);
        Ok((version.git_version, is_supported))
    }
}

/// Whether a version is new enough. Some clusters write a minor version as `21+`.
fn is_supported(major: &str, minor: &str) -> bool {
    let minor = minor.trim_end_matches(|c: char| !c.is_ascii_digit());
    match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(1), Ok(minor)) => minor >= OLDEST,
        (major, _) => major.is_ok_and(|major| major > 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_needs_are_the_role_in_the_manual() {
        let manual = include_str!("../../cli/topics/clusters.md");
        let (_, rest) = manual.split_once("\nrules:\n").unwrap();
        let (rules, _) = rest.split_once("```").unwrap();
        let list = |line: &str| -> Vec<String> {
            let (_, list) = line.split_once('[').unwrap();
            let items = list.trim_end_matches(']').split(", ");
            items
                .map(|item| item.trim_matches('"').to_owned())
                .collect()
        };
        let lines: Vec<_> = rules.lines().map(list).collect();
        let mut documented = BTreeSet::new();
        for rule in lines.chunks(3) {
            for verb in &rule[2] {
                documented.insert((rule[0][0].clone(), rule[1][0].clone(), verb.clone()));
            }
        }
        let of_table = NEEDS.iter().filter(|need| need.kind == Kind::Always);
        let of_table = of_table.map(|need| {
            [need.group, need.resource, need.verb]
                .map(str::to_owned)
                .into()
        });
        assert_eq!(of_table.collect::<BTreeSet<_>>(), documented);
    }

    #[test]
    fn needs_are_named_as_kubectl_does() {
        let names: Vec<_> = NEEDS.iter().map(ToString::to_string).collect();
        for name in [
            "create jobs.batch",
            "get pods/log",
            "list nodes",
            "list pods",
            "list pods --all-namespaces",
        ] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
    }

    #[test]
    fn kubernetes_from_1_20_on_is_supported() {
        for (minor, expected) in [("20", true), ("36+", true), ("19", false), ("", false)] {
            assert_eq!(is_supported("1", minor), expected, "{minor}");
        }
        assert!(is_supported("2", "0") && !is_supported("", ""));
    }
}
