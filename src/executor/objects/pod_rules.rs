//! The rules of the operator for the pods of all tasks, and the labels that users may set. Pure.
//!
//! All users share one namespace, and other programs of the cluster act on labels and annotations: they inject containers and
//! credentials, add networks, and change queues. So a user may set only keys that no such program reads.

use super::{defaults::Defaults, labels, pod_config};
use crate::api::{Problem, TaskDefinition, VolumeMount, limit_problems};

/// The rules of the operator.
#[derive(Clone, Debug, Default)]
pub struct PodRules {
    /// `pod_config` and labels may affect more than the task's pods.
    pub any_pod_config: bool,
    /// Pods must follow the Pod Security Standard `restricted`.
    pub is_restricted: bool,
    /// The runtime classes that tasks may name, besides that of NVIDIA.
    pub runtime_classes: Vec<String>,
    /// The prefix of all labels that users set.
    pub label_prefix: Option<String>,
    pub defaults: Defaults,
}

/// The domains of programs that act on labels and annotations of their keys, with all domains below them.
const CONTROLLERS: &[&str] = &[
    "k8s.io",
    "kubernetes.io",
    "x-k8s.io",
    "istio.io",
    "linkerd.io",
    "hashicorp.com",
    "amazonaws.com",
    "gke.io",
    "azure.com",
    "azure.workload.identity",
    "openshift.io",
    "cncf.io",
    "cilium.io",
    "projectcalico.org",
    "dapr.io",
    "datadoghq.com",
    "ovn.org",
    "volcano.sh",
    "karpenter.sh",
    "antrea.io",
    "tigera.io",
    "keda.sh",
    "knative.dev",
    "kruise.io",
    "koordinator.sh",
    "kyverno.io",
    "run.ai",
    "cast.ai",
    "spotinst.io",
    "alibabacloud.com",
    "newrelic.com",
    "dynatrace.com",
    "external-secrets.io",
    "kubevirt.io",
    "multus-cni.io",
    "nri.io",
    "cri-o.io",
    "containerd.io",
    "katacontainers.io",
    "banzaicloud.com",
    "banzaicloud.io",
    "bank-vaults.dev",
    "akeyless.io",
    "stakater.com",
    "1password.io",
    "infisical.com",
    "doppler.com",
    "velero.io",
    "kuma.io",
    "opentelemetry.io",
    "gke-gcsfuse",
    "yunikorn.apache.org",
    "runai",
    "ray.io",
    "argoproj.io",
    "fluxcd.io",
    "cert-manager.io",
    "kubeflow.org",
    "tekton.dev",
    "loft.sh",
    "kubeovn.io",
    "spidernet.io",
    "aquasec.com",
    "cyberark.com",
    "instana.io",
    "aliyun.com",
    "google.com",
    "k8s.aws",
];

/// The beginnings of keys without a domain that runtimes and controllers read.
const READ_BY_RUNTIMES: [&str; 6] = [
    "io.kubernetes.",
    "io.katacontainers.",
    "io.containerd.",
    "run.oci.",
    "org.systemd.",
    "com.docker.",
];

/// Keys of these domains that concern the pod alone, with the only harmless value if not all are.
const HARMLESS: [(&str, Option<&str>); 8] = [
    ("app.kubernetes.io/", None),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", None),
    ("kubectl.kubernetes.io/default-container", None),
    ("kubectl.kubernetes.io/default-logs-container", None),
    ("kueue.x-k8s.io/queue-name", None),
    ("sidecar.istio.io/inject", Some("false")),
    ("linkerd.io/inject", Some("disabled")),
    ("admission.datadoghq.com/enabled", Some("false")),
];

impl PodRules {
    /// The parts of a task that this server does not allow.
    pub fn refusals(&self, task: &TaskDefinition) -> Vec<Problem> {
        let config = task.pod_config.as_ref();
        let mut problems = config
            .map(|config| pod_config::refusals(config, self))
            .unwrap_or_default();
        let mut of_labels = Vec::new();
        for (key, value) in &task.resources.labels {
            if labels::is_ours(key) {
                let field = format!("resources.labels.{key}");
                of_labels.push(Problem::new(field, "is set by the program itself"));
            } else {
                of_labels.extend(self.refuse_label("resources.labels", key, value));
            }
        }
        for (path, mount) in &task.volumes {
            if let VolumeMount::Ephemeral { labels, .. } = mount {
                let field = format!("volumes.{path}.labels");
                for (key, value) in labels {
                    of_labels.extend(self.refuse_label(&field, key, value));
                }
            }
        }
        problems.extend(limit_problems(of_labels));
        problems
    }

    fn refuse_label(&self, field: &str, key: &str, value: &str) -> Option<Problem> {
        let message = self.label_refusal(key, value)?;
        Some(Problem::new(format!("{field}.{key}"), message))
    }

    /// The reason why a user may not set a label; none if they may.
    pub fn label_refusal(&self, key: &str, value: &str) -> Option<String> {
        // Kubernetes sets these two itself.
        if ["controller-uid", labels::JOB_NAME].contains(&key) {
            return Some("is set by Kubernetes".to_owned());
        }
        match &self.label_prefix {
            Some(prefix) if !key.starts_with(prefix.as_str()) => Some(format!(
                "labels must begin with `{prefix}` on this server (`serve --label-prefix`)"
            )),
            _ => self.key_refusal(key, value),
        }
    }

    /// The reason why a user may not set a label or an annotation; none if they may.
    pub fn key_refusal(&self, key: &str, value: &str) -> Option<String> {
        if self.any_pod_config || !is_of_controller(key, value) {
            return None;
        }
        Some(
            "is a key by which another program of the cluster may act: the operator can allow it with `serve --allow-pod-config`"
                .to_owned(),
        )
    }

    /// Whether a task may name a runtime class.
    pub fn allows_runtime_class(&self, class: &str) -> bool {
        class == "nvidia" || self.runtime_classes.iter().any(|allowed| allowed == class)
    }
}

/// Whether another program of the cluster acts on a label or an annotation.
fn is_of_controller(key: &str, value: &str) -> bool {
    // Some keys are a domain, and have no name in it.
    let (domain, name) = key.split_once('/').unwrap_or((key, ""));
    if name.is_empty() {
        let is_read = |start: &&str| key.starts_with(start);
        let is_one = matches!(key, "aadpodidbinding" | "applicationId");
        if is_one || READ_BY_RUNTIMES.iter().any(is_read) {
            return true;
        }
    }
    let is_below = |controller: &&str| {
        let parent = domain.strip_suffix(*controller);
        parent.is_some_and(|parent| parent.is_empty() || parent.ends_with('.'))
    };
    let is_harmless = |(harmless, only): &(&str, Option<&str>)| {
        let is_it = key == *harmless || (harmless.ends_with('/') && key.starts_with(harmless));
        is_it && only.is_none_or(|only| only == value)
    };
    CONTROLLERS.iter().any(is_below) && !HARMLESS.iter().any(is_harmless)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(rules: &PodRules, labels: &serde_json::Value) -> Vec<String> {
        let task = json!({ "run": "true", "resources": { "labels": labels } });
        let task = TaskDefinition::from_json(&task).unwrap();
        let problems = rules.refusals(&task).into_iter();
        problems.map(|problem| problem.field).collect()
    }

    #[test]
    fn keys_of_other_programs_are_refused() {
        let rules = PodRules::default();
        let labels = json!({
            "app": "web", "team/x": "y", "app.kubernetes.io/name": "n", "kueue.x-k8s.io/queue-name": "q",
            "sidecar.istio.io/inject": "false", "notk8s.io/x": "y",
        });
        assert_eq!(refused(&rules, &labels), Vec::<String>::new());
        for (key, value) in [
            ("batch.kubernetes.io/job-name", "x"),
            ("k8s.v1.cni.cncf.io/networks", "x"),
            ("sidecar.istio.io/inject", "true"),
            ("kueue.x-k8s.io/priority-class", "x"),
            ("iam.amazonaws.com/role", "x"),
            ("vault.hashicorp.com/agent-inject", "true"),
            ("azure.workload.identity/use", "true"),
            ("aadpodidbinding", "x"),
            ("karpenter.sh/do-not-disrupt", "true"),
            ("v1.multus-cni.io/default-network", "x"),
            ("devices.nri.io/container.task", "x"),
            ("io.kubernetes.cri-o.Devices", "x"),
            ("pod-group.scheduling.sigs.k8s.io", "x"),
            ("applicationId", "x"),
            ("job-name", "x"),
            ("task-id", "ab12cd34"),
        ] {
            let labels = json!({ key: value });
            assert_eq!(
                refused(&rules, &labels),
                [format!("resources.labels.{key}")]
            );
            let trusted = PodRules {
                any_pod_config: true,
                ..PodRules::default()
            };
            // The program and Kubernetes set labels themselves.
            let is_set = ["job-name", "task-id"].contains(&key);
            assert_eq!(refused(&trusted, &labels).len(), usize::from(is_set));
        }
    }

    #[test]
    fn labels_may_need_a_prefix() {
        let rules = PodRules {
            label_prefix: Some("jobs.example.com/".to_owned()),
            ..PodRules::default()
        };
        let labels = json!({ "app": "web", "jobs.example.com/app": "web" });
        assert_eq!(refused(&rules, &labels), ["resources.labels.app"]);
    }
}
