//! A server that takes tokens of its cluster, and its users: service accounts, or in the sandbox the lines of a file.

use std::{cell::RefCell, fs, path::PathBuf, thread};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::{TempDir, World, is_real_cluster, rights::read, world::with_client};

/// All rights of a member of a team.
pub const MEMBER: &[&str] = &[
    "create tasks",
    "get tasks",
    "list tasks",
    "delete tasks",
    "get tasks/log",
    "create volumes",
    "get volumes",
    "list volumes",
    "delete volumes",
    "list nodes",
];

/// A server with its users.
pub struct Team {
    pub world: World,
    /// The users of the sandbox.
    people: RefCell<Vec<Value>>,
    file: PathBuf,
    _dir: TempDir,
}

impl Team {
    /// A server with `--auth kubernetes` and these options.
    pub fn with(options: &[&str]) -> Self {
        let dir = TempDir::new();
        let file = dir.path().join("users");
        fs::write(&file, "").unwrap();
        let mut all = vec!["--auth", "kubernetes"];
        if !is_real_cluster() {
            all.extend(["--sandbox-users", file.to_str().unwrap()]);
        }
        let world = World::with(&[&all, options].concat());
        if is_real_cluster() {
            let binding: ClusterRoleBinding = read(json!({
                "metadata": {"name": world.namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
                "subjects": [{"kind": "ServiceAccount", "name": "k8s-cli", "namespace": world.namespace}],
            }));
            world.create_for_cluster(&binding);
        }
        Self {
            world,
            people: RefCell::default(),
            file,
            _dir: dir,
        }
    }

    /// The full name of a user.
    pub fn name(&self, user: &str) -> String {
        format!("system:serviceaccount:{}:{user}", self.world.namespace)
    }

    /// Adds a user with these rights; returns their token.
    pub fn add(&self, user: &str, rights: &[&str]) -> String {
        if is_real_cluster() {
            let account: ServiceAccount = read(json!({"metadata": {"name": user}}));
            self.world.create(&account);
            let rule = |right: &&str| {
                let (verb, resource) = right.split_once(' ').unwrap();
                json!({"apiGroups": ["k8s-cli"], "resources": [resource], "verbs": [verb]})
            };
            let rules: Vec<_> = rights.iter().map(rule).collect();
            let role: Role = read(json!({"metadata": {"name": user}, "rules": rules}));
            self.world.create(&role);
            let binding: RoleBinding = read(json!({
                "metadata": {"name": user},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
                "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": self.world.namespace}],
            }));
            self.world.create(&binding);
        } else {
            let person = json!({"name": self.name(user), "rights": rights});
            self.people.borrow_mut().push(person);
        }
        self.token(user, "k8s-cli")
    }

    /// A token of a user for an audience; an empty one is that of the API server.
    pub fn token(&self, user: &str, audience: &str) -> String {
        let audiences: Vec<_> = Some(audience)
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect();
        if is_real_cluster() {
            let request: TokenRequest = read(json!({"spec": {"audiences": audiences}}));
            return with_client(&self.world.kubeconfig, async |client| {
                let accounts = Api::<ServiceAccount>::namespaced(client, &self.world.namespace);
                let params = PostParams::default();
                let answer = accounts.create_token_request(user, &params, &request).await;
                answer.unwrap().status.unwrap().token.unwrap()
            });
        }
        let token = format!("secret-{:032x}", rand::random::<u128>());
        let name = self.name(user);
        let mut people = self.people.borrow_mut();
        let known = people.iter().find(|person| person["name"] == *name);
        let mut person = known.unwrap().clone();
        person["token"] = json!(token);
        person["audiences"] = json!(audiences);
        people.push(person);
        self.write(&people);
        token
    }

    /// Deletes a user.
    pub fn remove(&self, user: &str) {
        if is_real_cluster() {
            return with_client(&self.world.kubeconfig, async |client| {
                let accounts = Api::<ServiceAccount>::namespaced(client, &self.world.namespace);
                accounts
                    .delete(user, &DeleteParams::default())
                    .await
                    .unwrap();
            });
        }
        let name = self.name(user);
        let mut people = self.people.borrow_mut();
        people.retain(|person| person["name"] != *name);
        self.write(&people);
    }

    /// Makes the tokens of a user worthless; returns a new one.
    pub fn renew(&self, user: &str) -> String {
        if is_real_cluster() {
            self.remove(user);
            let account: ServiceAccount = read(json!({"metadata": {"name": user}}));
            self.world.create(&account);
        } else {
            let name = self.name(user);
            let of_user = |person: &Value| person["name"] == *name && person.get("token").is_some();
            self.people.borrow_mut().retain(|person| !of_user(person));
        }
        self.token(user, "k8s-cli")
    }

    fn write(&self, people: &[Value]) {
        let lines: String = people.iter().map(|person| format!("{person}\n")).collect();
        // The server reads the old file or the new one.
        let next = self.file.with_extension("next");
        fs::write(&next, lines).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if is_real_cluster() {
            with_client(&self.world.kubeconfig, async |client| {
                let bindings = Api::<ClusterRoleBinding>::all(client);
                let params = DeleteParams::default();
                let deleted = bindings.delete(&self.world.namespace, &params).await;
                assert!(deleted.is_ok() || thread::panicking(), "{deleted:?}");
            });
        }
    }
}
