//! The settings that the Pod Security Standard `restricted` requires (Kubernetes 1.36, `pod-security-admission/policy`). Pure.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

/// The user and group of a container where neither the task nor its image may choose root.
const USER: i64 = 1000;

/// Fills in what `restricted` requires, where the user's `pod_config` says nothing.
pub fn restrict(pod: &mut PodSpec) {
    let context = pod.security_context.get_or_insert_default();
    let PodSecurityContext {
        run_as_non_root,
        run_as_user,
        fs_group,
        seccomp_profile,
        ..
    } = context;
    run_as_non_root.get_or_insert(true);
    // Most images name no user, and then Kubernetes would refuse to run them as root.
    let user = *run_as_user.get_or_insert(USER);
    // The user must be able to write to volumes.
    fs_group.get_or_insert(user);
    seccomp_profile.get_or_insert_with(|| SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    });
    let init = pod.init_containers.iter_mut().flatten();
    pod.containers
        .iter_mut()
        .chain(init)
        .for_each(restrict_container);
}

fn restrict_container(container: &mut Container) {
    let SecurityContext {
        allow_privilege_escalation,
        capabilities,
        ..
    } = container.security_context.get_or_insert_default();
    allow_privilege_escalation.get_or_insert(false);
    let Capabilities { drop, .. } = capabilities.get_or_insert_default();
    let drop = drop.get_or_insert_default();
    if !drop.iter().any(|capability| capability == "ALL") {
        drop.push("ALL".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    /// The violations of the standard in a pod, by field.
    fn violations(pod: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |field: &str, is_right: bool| {
            if !is_right {
                found.push(field.to_owned());
            }
        };
        let security = &pod["securityContext"];
        check("runAsNonRoot", security["runAsNonRoot"] == true);
        check("runAsUser", security["runAsUser"] != 0);
        let profile = &security["seccompProfile"]["type"];
        check(
            "seccompProfile",
            profile == "RuntimeDefault" || profile == "Localhost",
        );
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            check(field, pod[field] != true);
        }
        let lists = ["containers", "initContainers"].map(|list| pod[list].as_array());
        for container in lists.into_iter().flatten().flatten() {
            let security = &container["securityContext"];
            let capabilities = &security["capabilities"];
            let drops = capabilities["drop"].as_array().cloned().unwrap_or_default();
            check(
                "allowPrivilegeEscalation",
                security["allowPrivilegeEscalation"] == false,
            );
            check("capabilities.drop", drops.contains(&"ALL".into()));
            let added = capabilities["add"].as_array().cloned().unwrap_or_default();
            let is_harmless = |capability: &Value| capability == "NET_BIND_SERVICE";
            check("capabilities.add", added.iter().all(is_harmless));
            check("privileged", security["privileged"] != true);
            check("container runAsUser", security["runAsUser"] != 0);
            let ports = container["ports"].as_array().cloned().unwrap_or_default();
            check(
                "hostPort",
                ports.iter().all(|port| port.get("hostPort").is_none()),
            );
        }
        let kinds = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let mut sources = volume.as_object().unwrap().keys();
            check(
                "volumes",
                sources.all(|key| key == "name" || kinds.contains(&key.as_str())),
            );
        }
        found
    }

    fn restricted(pod: &Value) -> Value {
        let mut pod: PodSpec = from_value(pod.clone()).unwrap();
        restrict(&mut pod);
        to_value(&pod).unwrap()
    }

    #[test]
    fn a_restricted_pod_follows_the_standard() {
        let pod = json!({
            "containers": [{ "name": "task" }, { "name": "side" }], "initContainers": [{ "name": "prepare" }],
            "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }],
        });
        assert!(violations(&pod).len() > 5, "{:?}", violations(&pod));
        let pod = restricted(&pod);
        assert_eq!(violations(&pod), Vec::<String>::new(), "{pod}");
        assert_eq!(pod["securityContext"]["runAsUser"], USER);
    }

    #[test]
    fn a_choice_of_the_user_stays() {
        let pod = restricted(&json!({
            "securityContext": { "runAsUser": 1234 },
            "containers": [{ "name": "task", "securityContext": { "capabilities": { "drop": ["NET_RAW"] } } }],
        }));
        assert_eq!(pod["securityContext"]["runAsUser"], 1234);
        assert_eq!(pod["securityContext"]["fsGroup"], 1234);
        let drop = &pod["containers"][0]["securityContext"]["capabilities"]["drop"];
        assert_eq!(*drop, json!(["NET_RAW", "ALL"]));
    }
}
