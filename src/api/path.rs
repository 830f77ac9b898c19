//! The URL paths of the API, and the paths of its socket: the pattern for the server's router, and the function with which the client builds the path.

use super::{ListQuery, SubmitFlags, TaskId, VolumeId};

/// The socket of a server that was started with `--socket auto`, if its directory can be made.
pub const SOCKET: &str = "/run/k8s-cli/k8s-cli.sock";
/// The name of that socket in the directory that `XDG_RUNTIME_DIR` names, which only its owner can enter.
pub const OWN_SOCKET: &str = "k8s-cli.sock";

/// `GET`: whether the server is alive. Needs no user.
pub const ROOT: &str = "/";
/// `GET`: the same, for probes.
pub const HEALTHZ: &str = "/healthz";
/// `GET`: whether the server can reach Kubernetes.
pub const READYZ: &str = "/readyz";

/// `GET`: numbers about the server, for Prometheus. Needs no user.
pub const METRICS: &str = "/metrics";

/// `GET`: the description of this API, for programs. Needs no user.
pub const OPENAPI: &str = "/openapi.json";

/// `GET`: the user of the request, and how the server knows them.
pub const WHOAMI: &str = "/whoami";

/// `POST`: start a task.
pub const TASKS_SUBMIT: &str = "/tasks/submit";
/// `GET`: the tasks, newest first.
pub const TASKS: &str = "/tasks";
/// `POST`: stop every unfinished task.
pub const TASKS_STOP: &str = "/tasks/stop";
/// `GET`: one task. `DELETE`: delete it, once it has finished.
pub const TASK: &str = "/tasks/{task_id}";
/// `GET`: the file of one task, as it was submitted.
pub const TASK_DEFINITION: &str = "/tasks/{task_id}/definition";
/// `POST`: stop one task.
pub const TASK_STOP: &str = "/tasks/{task_id}/stop";
/// `GET`: the log of a task, streamed.
pub const TASK_LOGS: &str = "/tasks/{task_id}/logs";

/// `POST`: create a volume.
pub const VOLUMES_CREATE: &str = "/volumes/create";
/// `GET`: the volumes, newest first.
pub const VOLUMES: &str = "/volumes";
/// `GET`: one volume. `DELETE`: delete it.
pub const VOLUME: &str = "/volumes/{volume_id}";

/// `GET`: the machines of the cluster.
pub const NODES: &str = "/nodes";

/// `GET`: wait until tasks have reached a state.
pub const TASKS_WAIT: &str = "/tasks/wait";

/// The path that submits a task, with those flags that differ from the default.
pub fn tasks_submit(flags: SubmitFlags) -> String {
    let SubmitFlags {
        fail_fast,
        barrier,
        recover,
    } = flags;
    let parts = [
        (!fail_fast, "fail_fast=false"),
        (!barrier, "barrier=false"),
        (recover, "recover=true"),
    ];
    let parts = parts.into_iter().filter(|(is_given, _)| *is_given);
    let parts: Vec<_> = parts.map(|(_, part)| part).collect();
    match parts.is_empty() {
        true => TASKS_SUBMIT.to_owned(),
        false => format!("{TASKS_SUBMIT}?{}", parts.join("&")),
    }
}

/// The path that lists tasks, of all users or only the own ones.
pub fn tasks(all_users: bool, query: &ListQuery) -> String {
    let all_users = all_users.then(|| "all_users=true".to_owned());
    let query = Some(query.to_query()).filter(|query| !query.is_empty());
    let parts: Vec<_> = all_users.into_iter().chain(query).collect();
    match parts.is_empty() {
        true => TASKS.to_owned(),
        false => format!("{TASKS}?{}", parts.join("&")),
    }
}

pub fn task(id: &TaskId) -> String {
    format!("/tasks/{id}")
}

pub fn task_stop(id: &TaskId) -> String {
    format!("/tasks/{id}/stop")
}

pub fn task_definition(id: &TaskId) -> String {
    format!("/tasks/{id}/definition")
}

pub fn task_logs(id: &TaskId) -> String {
    format!("/tasks/{id}/logs")
}

pub fn volume(id: &VolumeId) -> String {
    format!("/volumes/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_fill_the_patterns() {
        let task_id: TaskId = "ab12cd34".parse().unwrap();
        let volume_id: VolumeId = "ef56gh78".parse().unwrap();
        for (pattern, built) in [
            (TASK, task(&task_id)),
            (TASK_STOP, task_stop(&task_id)),
            (TASK_LOGS, task_logs(&task_id)),
            (TASK_DEFINITION, task_definition(&task_id)),
            (VOLUME, volume(&volume_id)),
        ] {
            let filled = pattern
                .replace("{task_id}", task_id.as_str())
                .replace("{volume_id}", volume_id.as_str());
            assert_eq!(filled, built);
        }
        for (fail_fast, barrier, recover, query) in [
            (true, true, false, ""),
            (false, true, false, "?fail_fast=false"),
            (true, false, true, "?barrier=false&recover=true"),
            (false, false, false, "?fail_fast=false&barrier=false"),
        ] {
            let flags = SubmitFlags {
                fail_fast,
                barrier,
                recover,
            };
            assert_eq!(tasks_submit(flags), format!("{TASKS_SUBMIT}{query}"));
        }
    }
}
