//! A task that is about to be created, with all decisions about it. Each decision is made once, here or before.

use std::collections::BTreeMap;

use super::{
    barrier,
    files::Files,
    gpus::Placement,
    labels,
    names::{self, Stem},
    script::{MAX_ARGUMENT, Script},
};
use crate::api::{
    Recovery, RegistryLogin, SubmitFlags, TaskDefinition, TaskGroup, TaskId, Timestamp, User,
    VolumeMount,
};

/// The variable that holds the addresses of all nodes.
pub const NODE_IPS: &str = "SKYPILOT_NODE_IPS";

/// The id of a task that is about to be created.
#[derive(Clone, Debug)]
pub struct Origin {
    pub id: TaskId,
    /// What tells the task from others of the same id, if a key has decided it.
    pub keyed: Option<Keyed>,
    /// Its place in a group.
    pub group: Option<TaskGroup>,
}

/// What tells a task from others whose id the same key has decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyed {
    /// A part of the names of its objects: see [`Stem`].
    pub nonce: String,
    /// The digest of the request.
    pub request: String,
}

/// Whether a text can be a nonce. An annotation may have been written by others.
pub fn is_nonce(text: &str) -> bool {
    text.len() <= 8 && (text.bytes()).all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A task that is about to be created.
pub struct Submission {
    pub id: TaskId,
    pub keyed: Option<Keyed>,
    /// Its place in a group, whose tasks wait for each other before they start.
    pub group: Option<TaskGroup>,
    /// What the names of its objects begin with.
    pub stem: Stem,
    pub user: User,
    pub task: TaskDefinition,
    pub created_at: Timestamp,
    /// Whether the failure of a node stops the other nodes.
    pub fail_fast: bool,
    /// When it is started again.
    pub recovery: Option<Recovery>,
    /// Whether its nodes begin `run` together.
    pub has_barrier: bool,
    /// The name of the claim behind each mount path of the task.
    pub claims: BTreeMap<String, String>,
    /// The GPUs that its pods ask for.
    pub placement: Placement,
    /// Whether its pods must follow the Pod Security Standard `restricted`.
    pub is_restricted: bool,
    /// Whether its shells may install programs that its image lacks.
    pub may_install: bool,
    /// The files that travel with it.
    pub files: Option<Files>,
    /// The login with which its image is pulled.
    pub registry_login: Option<RegistryLogin>,
    /// The commands of its containers, and the object that holds them.
    pub script: Script,
    /// The names of its nodes in its Service, one a line, by rank; none for a single node, or if they are too long for a variable.
    pub node_names: Option<String>,
    /// Parts of the definition that may not work as its author expects.
    pub warnings: Vec<String>,
}

/// What a task needs of the cluster and of its user's machine.
#[derive(Default)]
pub struct Found {
    pub claims: BTreeMap<String, String>,
    pub placement: Placement,
    pub files: Option<Files>,
    pub registry_login: Option<RegistryLogin>,
}

impl Submission {
    pub fn new(
        origin: Origin,
        user: User,
        task: TaskDefinition,
        created_at: Timestamp,
        flags: SubmitFlags,
        found: Found,
    ) -> Self {
        let Found {
            claims,
            placement,
            files,
            registry_login,
        } = found;
        let Origin { id, keyed, group } = origin;
        let stem = Stem::new(id, keyed.as_ref().map(|keyed| keyed.nonce.as_str()));
        let domain = stem.service();
        let node_names = node_names(&domain, task.num_nodes);
        let num_nodes = task.num_nodes;
        let has_barrier = flags.barrier && barrier::is_possible(&task);
        let is_missing = num_nodes > 1 && node_names.is_none();
        let warning = is_missing.then(|| {
            format!("num_nodes: {num_nodes} names are too long for a variable, so {NODE_IPS} is not set; nodes find each other as node-<rank>.{domain}")
        });
        Self {
            script: Script::new(
                &task,
                has_barrier.then_some(domain.as_str()),
                files.as_ref(),
            ),
            recovery: task.recovery(flags.recover),
            has_barrier,
            node_names,
            warnings: warning.into_iter().collect(),
            id,
            keyed,
            group,
            stem,
            user,
            task,
            created_at,
            fail_fast: flags.fail_fast,
            claims,
            placement,
            files,
            registry_login,
            is_restricted: false,
            may_install: false,
        }
    }

    pub fn is_multi_node(&self) -> bool {
        self.task.num_nodes > 1
    }

    /// Whether Kubernetes makes no pod for its Jobs at first.
    pub fn is_held(&self) -> bool {
        self.group.is_some() || self.has_other_objects()
    }

    /// Whether the first Job owns objects that a pod needs.
    pub fn has_other_objects(&self) -> bool {
        let mut mounts = self.task.volumes.values();
        self.is_multi_node()
            || self.script.files().is_some()
            || self.files.is_some()
            || self.registry_login.is_some()
            || !self.task.secrets.is_empty()
            || mounts.any(|mount| matches!(mount, VolumeMount::Ephemeral { .. }))
    }

    /// The labels of all its objects.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let group = self.group.as_ref();
        let group = group.map(|group| (labels::GROUP.to_owned(), group.group_id.to_string()));
        let labels = [
            (labels::TASK.to_owned(), "true".to_owned()),
            (labels::TASK_ID.to_owned(), self.id.to_string()),
            (labels::TASK_NAME.to_owned(), names::task_name(&self.name())),
            (labels::USERNAME.to_owned(), names::username(&self.user)),
        ];
        labels.into_iter().chain(group).collect()
    }

    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::from([
            (labels::CREATED_AT.to_owned(), self.created_at.to_string()),
            (
                labels::NUM_NODES.to_owned(),
                self.task.num_nodes.to_string(),
            ),
            (labels::EXACT_USER.to_owned(), self.user.to_string()),
            (labels::EXACT_TASK_NAME.to_owned(), self.name()),
        ]);
        if let Some(Keyed { nonce, request }) = &self.keyed {
            annotations.insert(labels::NONCE.to_owned(), nonce.clone());
            annotations.insert(labels::REQUEST.to_owned(), request.clone());
        }
        if let Some(group) = &self.group {
            let parameters = serde_json::to_string(&group.parameters).unwrap_or_default();
            let max_running = group.max_running.map(|most| most.to_string());
            annotations.extend([
                (labels::JOB_RANK.to_owned(), group.rank.to_string()),
                (labels::NUM_JOBS.to_owned(), group.num_tasks.to_string()),
                (labels::PARAMETERS.to_owned(), parameters),
            ]);
            annotations.extend(max_running.map(|most| (labels::MAX_RUNNING.to_owned(), most)));
        }
        if !self.fail_fast {
            annotations.insert(labels::FAIL_FAST.to_owned(), "false".to_owned());
        }
        annotations
    }

    fn name(&self) -> String {
        let name = self.task.name.clone();
        name.unwrap_or_else(|| names::default_task_name(self.id))
    }
}

fn node_names(domain: &str, num_nodes: u32) -> Option<String> {
    if num_nodes == 1 {
        return None;
    }
    let names: Vec<_> = (0..num_nodes)
        .map(|rank| format!("{}.{domain}", names::hostname(rank)))
        .collect();
    let names = names.join("\n");
    (NODE_IPS.len() + names.len() < MAX_ARGUMENT).then_some(names)
}
