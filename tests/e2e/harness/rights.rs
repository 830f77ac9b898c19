//! Gives the server on a real cluster exactly the rights in the help topic `clusters`.

use std::{fs, path::Path};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use serde_json::{Value, json};

const NAME: &str = "k8s-cli";

/// The rules of the Role in the topic.
fn rules() -> Vec<Value> {
    let topic = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/topics/clusters.md");
    let topic = fs::read_to_string(topic).unwrap();
    let (_, rest) = topic.split_once("\nkind: Role\n").unwrap();
    let (role, _) = rest.split_once("```").unwrap();
    let lists: Vec<(&str, Vec<&str>)> = role
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).split_once(": ["))
        .map(|(key, list)| {
            let items = list.trim_end_matches(']').split(", ");
            (key, items.map(|item| item.trim_matches('"')).collect())
        })
        .collect();
    let rules: Vec<Value> = lists
        .chunks(3)
        .map(|rule| rule.iter().cloned().collect::<Value>())
        .collect();
    let is_rule = |rule: &Value| rule["apiGroups"].is_array() && rule["verbs"].is_array();
    assert!(rules.len() > 1 && rules.iter().all(is_rule), "{rules:?}");
    rules
}

/// Gives these rights in a namespace to a new service account, and writes its kubeconfig to `path`.
pub async fn grant(client: Client, admin: &Path, namespace: &str, path: &Path) {
    let params = PostParams::default();
    let metadata = json!({"name": NAME});
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let account = read(json!({"metadata": metadata}));
    accounts.create(&params, &account).await.unwrap();
    let role: Role = read(json!({"metadata": metadata, "rules": rules()}));
    let roles = Api::namespaced(client.clone(), namespace);
    roles.create(&params, &role).await.unwrap();
    let binding: RoleBinding = read(json!({
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }));
    let bindings = Api::namespaced(client, namespace);
    bindings.create(&params, &binding).await.unwrap();

    let request: TokenRequest = read(json!({"spec": {"audiences": []}}));
    let answer = accounts.create_token_request(NAME, &params, &request);
    let token = answer.await.unwrap().status.unwrap().token;
    let mut kubeconfig = serde_json::to_value(Kubeconfig::read_from(admin).unwrap()).unwrap();
    for user in kubeconfig["users"].as_array_mut().unwrap() {
        user["user"] = json!({"token": token});
    }
    fs::write(path, kubeconfig.to_string()).unwrap();
}

pub fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}
