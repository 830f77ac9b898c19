//! The right that each route needs: one table for all ways to know a user.
//!
//! Rights are about resources of this program, not about Jobs and pods: so nobody needs rights on those.

use std::fmt;

use actix_web::http::Method;

use crate::api::path;

const ALL_USERS: &str = "all-users";
const WHOAMI: &str = "whoami";

/// A verb on a resource of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Right {
    pub resource: &'static str,
    pub verb: &'static str,
}

/// `list tasks`, as messages and the record name it.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Right {
    const fn new(resource: &'static str, verb: &'static str) -> Self {
        Self { resource, verb }
    }

    /// The further right that a request about all users needs.
    pub fn for_all_users(self) -> Self {
        Self::new(ALL_USERS, if self.is_change() { "delete" } else { "get" })
    }

    pub fn is_about_all_users(self) -> bool {
        self.resource == ALL_USERS
    }

    /// Whether everybody has it whom the server knows.
    pub fn is_of_everybody(self) -> bool {
        self.resource == WHOAMI
    }

    /// Whether a request with this right changes something.
    pub fn is_change(self) -> bool {
        matches!(self.verb, "create" | "delete")
    }
}

/// The right that each method of each path needs. Paths that are missing need no user.
pub const RIGHTS: &[(&str, &[&str], Right)] = &[
    (path::WHOAMI, &["GET", "HEAD"], Right::new(WHOAMI, "get")),
    (path::TASKS_SUBMIT, &["POST"], Right::new("tasks", "create")),
    (path::TASKS_STOP, &["POST"], Right::new("tasks", "delete")),
    (path::TASKS, &["GET", "HEAD"], Right::new("tasks", "list")),
    (
        path::TASKS_WAIT,
        &["GET", "HEAD"],
        Right::new("tasks", "get"),
    ),
    (path::TASK, &["GET", "HEAD"], Right::new("tasks", "get")),
    (path::TASK, &["DELETE"], Right::new("tasks", "delete")),
    (
        path::TASK_DEFINITION,
        &["GET", "HEAD"],
        Right::new("tasks", "get"),
    ),
    (path::TASK_STOP, &["POST"], Right::new("tasks", "delete")),
    (
        path::TASK_LOGS,
        &["GET", "HEAD", "POST"],
        Right::new("tasks/log", "get"),
    ),
    (path::NODES, &["GET", "HEAD"], Right::new("nodes", "list")),
    (
        path::VOLUMES_CREATE,
        &["POST"],
        Right::new("volumes", "create"),
    ),
    (
        path::VOLUMES,
        &["GET", "HEAD"],
        Right::new("volumes", "list"),
    ),
    (path::VOLUME, &["GET", "HEAD"], Right::new("volumes", "get")),
    (path::VOLUME, &["DELETE"], Right::new("volumes", "delete")),
];

/// The right that a request needs; none if it needs no user.
pub fn needed(pattern: &str, method: &Method) -> Option<Right> {
    let mut rows = RIGHTS.iter();
    rows.find(|(path, methods, _)| *path == pattern && methods.contains(&method.as_str()))
        .map(|(.., right)| *right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;

    #[test]
    fn each_route_with_a_user_needs_a_right() {
        for route in routes() {
            for method in route.methods() {
                let right = needed(route.path, &method.parse().unwrap());
                assert_eq!(right.is_some(), route.needs_user, "{method} {}", route.path);
            }
        }
        for (path, methods, _) in RIGHTS {
            let known = routes().filter(|route| route.path == *path);
            let known: Vec<_> = known.flat_map(|route| route.methods()).collect();
            let is_known = methods.iter().all(|method| known.contains(&method));
            assert!(is_known, "{path} {methods:?}");
        }
    }

    #[test]
    fn only_routes_with_a_user_have_a_right() {
        let stop = needed(path::TASKS_STOP, &Method::POST).unwrap();
        assert_eq!(stop, Right::new("tasks", "delete"));
        assert!(stop.is_change());
        assert!(!needed(path::TASK_LOGS, &Method::POST).unwrap().is_change());
        assert_eq!(stop.for_all_users(), Right::new(ALL_USERS, "delete"));
        let list = needed(path::VOLUMES, &Method::HEAD).unwrap();
        assert_eq!(list.for_all_users(), Right::new(ALL_USERS, "get"));
        assert_eq!(needed(path::HEALTHZ, &Method::GET), None);
        assert_eq!(needed(path::TASKS, &Method::DELETE), None);
    }
}
