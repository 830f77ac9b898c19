use serde_json::json;

use super::*;
use crate::{api::describe, executor::objects::PodRules};

fn template() -> PodTemplateSpec {
    serde_json::from_value(json!({
        "metadata": { "labels": { "task-id": "ab12cd34" } },
        "spec": {
            "containers": [{
                "name": "task",
                "image": "python",
                "args": ["run"],
                "env": [{ "name": "A", "value": "1" }],
                "resources": { "requests": { "cpu": "1" } },
            }],
            "tolerations": [{ "key": "gpu" }],
            "restartPolicy": "Never",
        },
    }))
    .unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[track_caller]
fn merged(config: Value) -> Value {
    serde_json::to_value(apply(&template(), &object(config)).unwrap()).unwrap()
}

#[test]
fn an_unnamed_container_or_skypilots_is_the_tasks_container() {
    for name in [
        json!({}),
        json!({ "name": "ray-node" }),
        json!({ "name": "task" }),
    ] {
        let mut container = name.clone();
        container["resources"] = json!({ "requests": { "memory": 1024 } });
        let pod = merged(json!({ "spec": { "containers": [container] } }));
        let containers = pod["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{name}");
        assert_eq!(containers[0]["name"], "task");
        assert_eq!(
            containers[0]["resources"]["requests"],
            json!({ "cpu": "1", "memory": "1024" })
        );
    }
    let pod = merged(json!({ "spec": { "containers": [{ "name": "side", "image": "x" }] } }));
    assert_eq!(pod["spec"]["containers"][1]["name"], "side");
}

#[test]
fn lists_are_merged_by_key_or_appended_or_replaced() {
    let pod = merged(json!({ "spec": {
        "containers": [{
            "args": ["other"],
            "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }],
        }],
        "tolerations": [{ "key": "spot" }],
        "nodeSelector": { "zone": "a" },
    } }));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["other"]));
    assert_eq!(
        container["env"],
        json!([{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }])
    );
    assert_eq!(
        pod["spec"]["tolerations"],
        json!([{ "key": "gpu" }, { "key": "spot" }])
    );
    assert_eq!(pod["spec"]["nodeSelector"], json!({ "zone": "a" }));
}

#[test]
fn null_clears_a_field() {
    let pod = merged(json!({ "spec": { "tolerations": null } }));
    assert_eq!(pod["spec"]["tolerations"], Value::Null);
}

#[test]
fn a_field_that_a_pod_does_not_have_is_named() {
    for (config, field) in [
        (
            json!({ "spec": { "nodeSelctor": { "a": "b" } } }),
            "pod_config.spec.nodeSelctor",
        ),
        (
            json!({ "spec": { "containers": [{ "resource": {} , "env": [{ "name": "X", "valu": "1" }] }] } }),
            "pod_config.spec.containers[0].env[1].valu",
        ),
        (
            json!({ "spec": { "containers": "x" } }),
            "pod_config.spec.containers",
        ),
        (
            json!({ "spec": { "nodeSelector": "x" } }),
            "pod_config.spec.nodeSelector",
        ),
        (
            json!({ "spec": { "containers": [{ "securityContext": { "runAsUser": "1000" } }] } }),
            "pod_config.spec.containers[0].securityContext.runAsUser",
        ),
    ] {
        let problem = apply(&template(), &object(config.clone())).unwrap_err();
        assert!(problem.field.ends_with(field), "{config}: {problem:?}");
    }
}

#[track_caller]
fn rules(is_trusted: bool) -> PodRules {
    PodRules {
        any_pod_config: is_trusted,
        ..PodRules::default()
    }
}

fn refused(config: Value, is_trusted: bool) -> Vec<String> {
    let problems = refusals(&object(config), &rules(is_trusted)).into_iter();
    problems
        .map(|problem| problem.field.replace("config.kubernetes.pod_config.", ""))
        .collect()
}

#[test]
fn fields_that_affect_more_than_the_pod_are_for_trusted_users() {
    for (spec, field) in [
        (json!({ "hostNetwork": true }), "spec.hostNetwork"),
        (json!({ "hostPID": true }), "spec.hostPID"),
        (
            json!({ "serviceAccountName": "admin" }),
            "spec.serviceAccountName",
        ),
        (
            json!({ "automountServiceAccountToken": true }),
            "spec.automountServiceAccountToken",
        ),
        (json!({ "nodeName": "a" }), "spec.nodeName"),
        (
            json!({ "priorityClassName": "system-node-critical" }),
            "spec.priorityClassName",
        ),
        (
            json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] }),
            "spec.volumes[0].hostPath.path",
        ),
        (
            json!({ "volumes": [{ "name": "v", "secret": { "secretName": "s" } }] }),
            "spec.volumes[0].secret.secretName",
        ),
        (
            json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] }),
            "spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        // A new claim can copy the data of another user's claim.
        (
            json!({ "volumes": [{ "name": "v", "ephemeral": { "volumeClaimTemplate": { "spec": { "dataSource": { "name": "theirs" } } } } }] }),
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSource.name",
        ),
        (
            json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "s" } }] } }] }),
            "spec.volumes[0].projected.sources[0].secret.name",
        ),
        (
            json!({ "containers": [{ "securityContext": { "privileged": true } }] }),
            "spec.containers[0].securityContext.privileged",
        ),
        (
            json!({ "initContainers": [{ "securityContext": { "capabilities": { "add": ["SYS_ADMIN"] } } }] }),
            "spec.initContainers[0].securityContext.capabilities.add[0]",
        ),
        (
            json!({ "containers": [{ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }] }] }),
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
        ),
        (
            json!({ "containers": [{ "envFrom": [{ "secretRef": { "name": "s" } }] }] }),
            "spec.containers[0].envFrom[0].secretRef.name",
        ),
        (
            json!({ "containers": [{ "ports": [{ "containerPort": 1, "hostPort": 1 }] }] }),
            "spec.containers[0].ports[0].hostPort",
        ),
        // A cleared field gets the default of Kubernetes: a token in the pod, an empty path.
        (
            json!({ "automountServiceAccountToken": null }),
            "spec.automountServiceAccountToken",
        ),
        (
            json!({ "volumes": [{ "name": "v", "hostPath": { "path": null } }] }),
            "spec.volumes[0].hostPath.path",
        ),
        (
            json!({ "resourceClaims": [{ "name": "r", "resourceClaimName": "theirs" }] }),
            "spec.resourceClaims[0].resourceClaimName",
        ),
    ] {
        let found = refused(json!({ "spec": spec }), false);
        assert_eq!(found.first().map(String::as_str), Some(field), "{found:?}");
        assert_eq!(refused(json!({ "spec": spec }), true), Vec::<String>::new());
    }
}

#[test]
fn fields_that_skypilot_users_set_are_allowed() {
    let config = json!({
        "metadata": { "labels": { "team": "x" }, "annotations": { "cluster-autoscaler.kubernetes.io/safe-to-evict": "g" } },
        "spec": {
            "priorityClassName": "high",
            "nodeSelector": { "a/b": "c" },
            "tolerations": [{ "key": "k", "operator": "Exists", "effect": "NoSchedule" }],
            "imagePullSecrets": [{ "name": "registry" }],
            "hostNetwork": false,
            "volumes": [{ "name": "cache", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } }],
            "initContainers": [{ "name": "init", "image": "x", "command": ["true"] }],
            "containers": [{
                "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                "volumeMounts": [{ "name": "cache", "mountPath": "/cache", "readOnly": true }],
                "resources": { "limits": { "rdma/ib": 1 } },
                "securityContext": { "capabilities": { "drop": ["ALL"] }, "runAsUser": 0 },
            }],
        },
    });
    assert_eq!(refused(config, false), Vec::<String>::new());
}

#[test]
fn a_server_without_root_lets_no_task_be_root() {
    let config = |user: i64, non_root: bool| {
        json!({
            "spec": {
                "securityContext": { "runAsNonRoot": non_root },
                "containers": [{ "securityContext": { "runAsUser": user } }],
            },
        })
    };
    let refused = |config: Value, is_trusted| {
        let rules = PodRules {
            is_restricted: true,
            ..rules(is_trusted)
        };
        refusals(&object(config), &rules).len()
    };
    assert_eq!(refused(config(1000, true), false), 0);
    assert_eq!(refused(config(0, false), false), 2);
    assert_eq!(refused(config(0, false), true), 0);
}

#[test]
fn fields_of_the_program_are_refused_for_all_users() {
    for (config, field) in [
        (
            json!({ "metadata": { "labels": { "task-id": "x" } } }),
            "metadata.labels.task-id",
        ),
        (
            json!({ "metadata": { "annotations": { "k8s-cli/user": "eve" } } }),
            "metadata.annotations.k8s-cli/user",
        ),
        (json!({ "metadata": { "name": "x" } }), "metadata.name"),
        (
            json!({ "spec": { "restartPolicy": "Always" } }),
            "spec.restartPolicy",
        ),
        (json!({ "kind": "Pod" }), "kind"),
        (
            json!({ "spec": { "containers": [{ "env": [{ "name": "NODE_RANK", "value": "0" }] }] } }),
            "spec.containers[0].env[0].name",
        ),
        (json!({ "metadata": null }), "metadata"),
        (json!({ "metadata": { "labels": null } }), "metadata.labels"),
        (json!({ "spec": null }), "spec"),
        (json!({ "spec": { "containers": null } }), "spec.containers"),
        (
            json!({ "spec": { "containers": [{ "env": null }] } }),
            "spec.containers[0].env",
        ),
        (
            json!({ "spec": { "containers": [{ "envFrom": null }] } }),
            "spec.containers[0].envFrom",
        ),
    ] {
        assert_eq!(refused(config, true), [field]);
    }
}

#[test]
fn harmless_fields_can_be_cleared() {
    for spec in [
        json!({ "tolerations": null, "nodeSelector": null, "priorityClassName": null }),
        json!({ "nodeSelector": { "env": null } }),
        json!({ "enableServiceLinks": null, "affinity": { "nodeAffinity": null } }),
        json!({ "containers": [{ "args": null, "resources": { "limits": null } }] }),
    ] {
        let found = refused(json!({ "spec": spec }), false);
        assert_eq!(found, Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn the_length_of_a_refusal_is_limited() {
    let config = json!({ "k".repeat(500_000): vec![1; 8000] });
    let problems = refusals(&object(config), &rules(false));
    assert_eq!(problems.len(), 1);
    assert!(describe(&problems).len() < 1000);

    let volume = json!({ "name": "v", "hostPath": { "path": "k".repeat(500) } });
    let config = json!({ "spec": { "volumes": vec![volume; 8000] } });
    let problems = refusals(&object(config), &rules(false));
    assert_eq!(problems.len(), 51);
    assert_eq!(problems[50].to_string(), "and 7950 problems more");
    assert!(describe(&problems).len() < 20_000);

    let config = json!({ "spec": { "containers": "k".repeat(500_000) } });
    let problem = apply(&template(), &object(config)).unwrap_err();
    assert!(problem.to_string().len() < 500, "{problem}");
}

#[test]
fn an_unknown_field_is_reported_once_and_as_that() {
    let config = object(json!({ "spec": {
        "tolerationz": [{ "key": "a", "value": "b" }],
        "containers": [{ "imagePullPolicee": "Always", "resources": { "limits": { "cpu": 1 } } }],
        "hostNetwork": true,
        "securityContext": { "seccompProfile": { "type": "Unconfined" } },
    } }));
    let problems = refusals(&config, &rules(false));
    let field = |field: &str| format!("config.kubernetes.pod_config.spec.{field}");
    let found: Vec<_> = problems.iter().map(|it| it.field.clone()).collect();
    let expected = [
        "containers[0].imagePullPolicee",
        "hostNetwork",
        "securityContext.seccompProfile.type",
        "tolerationz",
    ];
    assert_eq!(found, expected.map(field), "{}", describe(&problems));
    let unknown = problems
        .iter()
        .map(|it| it.message.contains("unknown field"));
    assert_eq!(unknown.collect::<Vec<_>>(), [true, false, false, true]);
    // A trusted user may set any field that exists.
    assert_eq!(refusals(&config, &rules(true)).len(), 2);
    for (misspelt, is_unknown) in [
        (json!({ "sepc": { "hostNetwork": true } }), true),
        (json!({ "metadata": { "lables": { "a": "b" } } }), true),
        (json!({ "metadata": { "name": "a" } }), false),
        (json!({ "kind": "Pod" }), false),
    ] {
        let problems = refusals(&object(misspelt), &rules(true));
        let described = describe(&problems);
        assert_eq!(problems.len(), 1, "{described}");
        assert_eq!(
            described.contains("unknown field"),
            is_unknown,
            "{described}"
        );
    }
}

#[test]
fn terms_that_reach_pods_of_others_are_refused() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let anti = |term: Value| json!({ "spec": { "affinity": { "podAntiAffinity": { required: [term] } } } });
    let topology = "kubernetes.io/hostname";
    let all = anti(json!({ "labelSelector": {}, "topologyKey": topology }));
    let term = format!("spec.affinity.podAntiAffinity.{required}[0]");
    assert_eq!(refused(all.clone(), false), [term]);
    assert_eq!(refused(all, true), Vec::<String>::new());
    let own = anti(json!({ "matchLabelKeys": ["task-id"], "topologyKey": topology }));
    assert_eq!(refused(own.clone(), false), Vec::<String>::new());
    let mut template = apply(&template(), &object(own)).unwrap();
    let spec = template.spec.as_mut().unwrap();
    limit_to_task(spec, "ab12cd34".parse().unwrap());
    let affinity = serde_json::to_value(&spec.affinity).unwrap();
    assert_eq!(
        affinity["podAntiAffinity"][required],
        json!([{ "labelSelector": { "matchLabels": { "task-id": "ab12cd34" } }, "topologyKey": topology }])
    );
    let elsewhere = json!({ "spec": { "affinity": { "podAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 1, "podAffinityTerm": { "namespaces": ["other"], "topologyKey": topology } },
    ] } } } });
    assert_eq!(refused(elsewhere, false).len(), 1);
}

#[test]
fn a_toleration_needs_a_key() {
    let tolerating = |toleration: Value| json!({ "spec": { "tolerations": [toleration] } });
    let all = json!({ "operator": "Exists" });
    assert_eq!(refused(tolerating(all), false), ["spec.tolerations[0]"]);
    for key in [
        "gpu",
        "nvidia.com/gpu",
        "cloud.google.com/gke-spot",
        "karpenter.sh/capacity-type",
    ] {
        let one = json!({ "key": key, "operator": "Exists" });
        assert_eq!(
            refused(tolerating(one), false),
            Vec::<String>::new(),
            "{key}"
        );
    }
    let lost = json!({ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 });
    assert_eq!(refused(tolerating(lost), false), Vec::<String>::new());
    for key in [
        "node.kubernetes.io/unschedulable",
        "node-role.kubernetes.io/control-plane",
        "CriticalAddonsOnly",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.cilium.io/agent-not-ready",
        "ebs.csi.aws.com/agent-not-ready",
    ] {
        let free = json!({ "key": key, "operator": "Exists" });
        assert_eq!(
            refused(tolerating(free), false),
            ["spec.tolerations[0]"],
            "{key}"
        );
    }
}

#[test]
fn a_runtime_class_must_be_allowed() {
    let config = |class: &str| object(json!({ "spec": { "runtimeClassName": class } }));
    let rules = PodRules {
        runtime_classes: vec!["gvisor".to_owned()],
        ..PodRules::default()
    };
    for (class, count) in [("nvidia", 0), ("gvisor", 0), ("privileged", 1)] {
        assert_eq!(refusals(&config(class), &rules).len(), count, "{class}");
    }
}
