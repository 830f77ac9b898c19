//! Tests of dry runs, of the refusal of unknown fields, and of reads.

use serde_json::{Value, json};

use super::{Cluster, job, life::keys};

#[test]
fn a_dry_run_answers_as_a_creation_does_and_stores_nothing() {
    let cluster = Cluster::start();
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let named = |fields: Value| {
        let mut object = json!({ "metadata": { "name": "try" } });
        object
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        object
    };
    let job = job("try", "true");
    let pod = named(json!({ "spec": job["spec"]["template"]["spec"] }));
    let service = named(json!({ "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80 }] } }));
    let storage = json!({ "requests": { "storage": "1Gi" } });
    let claim =
        named(json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": storage } }));
    for (path, object) in [
        ("/apis/batch/v1/namespaces/default/jobs".to_owned(), job),
        (core("pods"), pod),
        (core("services"), service),
        (
            core("secrets"),
            named(json!({ "stringData": { "a": "b" } })),
        ),
        (core("persistentvolumeclaims"), claim),
    ] {
        let dry = cluster.create(
            &format!("{path}?dryRun=All&fieldValidation=Strict"),
            &object,
        );
        assert_eq!(dry.code, 201, "{}", dry.body);
        assert_eq!(cluster.get(&format!("{path}/try"))["reason"], "NotFound");
        let mut bad = object.clone();
        bad["metadata"]["name"] = json!("Bad_Name");
        assert_eq!(
            cluster.create(&format!("{path}?dryRun=All"), &bad).code,
            422
        );
        let mut created = cluster.create(&path, &object).json();
        created["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion");
        assert_eq!(keys(&dry.json()), keys(&created), "{path}");
        assert_eq!(
            cluster.create(&format!("{path}?dryRun=All"), &object).code,
            409
        );
    }
}

#[test]
fn unknown_fields_are_refused_if_that_is_wanted() {
    let cluster = Cluster::start();
    let path = "/api/v1/namespaces/default/configmaps";
    let map = json!({ "metadata": { "name": "m" }, "dada": {} });
    let refused = cluster.create(&format!("{path}?fieldValidation=Strict"), &map);
    assert_eq!(
        (refused.code, &refused.json()["reason"]),
        (400, &json!("BadRequest"))
    );
    assert_eq!(
        refused.json()["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dada\""
    );
    cluster.make(path, &map);
}

#[test]
fn there_is_one_node() {
    let nodes = Cluster::start().get("/api/v1/nodes");
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1, "{nodes}");
    assert_eq!(
        nodes["items"][0]["status"]["conditions"][0]["type"],
        "Ready"
    );
}
