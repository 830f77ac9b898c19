//! The first hour with kubectl on the sandbox.
//!
//! The tests need kubectl of about the sandbox's version: the program that `K8S_CLI_KUBECTL` names, or that
//! `../shared/cluster/kubectl-new` names. Without one they are left out.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{Outcome, Running, TempDir, World, wait_until};

/// The longest time in which an answer is an answer at once.
const AT_ONCE: Duration = Duration::from_secs(15);

const OBJECTS: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: sleeps}
spec:
  backoffLimit: 0
  podFailurePolicy: {rules: [{action: FailJob, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}]}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: task, image: bash, command: [sleep, '1000'], resources: {requests: {cpu: '1'}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: colours}
data: {sky: blue}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: names}
spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}
";

const WHY_FAILED: &str = "get job sleeps -o jsonpath={.status.conditions[*].message}";

/// kubectl on a sandbox.
struct Kubectl {
    program: PathBuf,
    world: World,
    home: TempDir,
}

impl Kubectl {
    fn new() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("no kubectl of today: K8S_CLI_KUBECTL names none");
            return None;
        };
        let (world, home) = (World::sandbox(&[]), TempDir::new());
        Some(Self {
            program,
            world,
            home,
        })
    }

    fn run(&self, line: &str) -> Outcome {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, input: &str) -> Outcome {
        let mut command = Command::new(&self.program);
        command
            .args(line.split(' '))
            .env("KUBECONFIG", &self.world.kubeconfig)
            .env("HOME", self.home.path())
            .env("EDITOR", "sed -i s/blue/grey/");
        Running::start(command, input).finish()
    }

    fn token(&self) -> String {
        let config = fs::read_to_string(&self.world.kubeconfig).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["users"][0]["user"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Waits until a command prints a text.
    fn wait(&self, line: &str, part: &str) {
        wait_until(&format!("{line} prints {part}"), || {
            self.run(line).stdout.contains(part)
        });
    }

    /// The name of the only pod, when it runs.
    fn pod(&self) -> String {
        self.wait("get pods", "Running");
        self.run("get pods -o name")
            .success()
            .stdout
            .trim()
            .to_owned()
    }
}

fn program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("K8S_CLI_KUBECTL") {
        return Some(program.into());
    }
    let finder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cluster/kubectl-new");
    let found = Command::new(finder)
        .output()
        .ok()
        .filter(|found| found.status.success())?;
    Some(String::from_utf8(found.stdout).ok()?.trim().into())
}

#[test]
fn objects_are_applied_twice_created_and_edited() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    let applied = kubectl.run_with("apply -f -", OBJECTS).success();
    assert_eq!(
        applied.stdout.matches(" created").count(),
        4,
        "{}",
        applied.stdout
    );
    let again = kubectl.run_with("apply -f -", OBJECTS).success();
    assert_eq!(
        again.stdout.matches(" unchanged").count(),
        4,
        "{}",
        again.stdout
    );
    let unknown = OBJECTS.replace("backoffLimit", "backofLimit");
    let refused = kubectl.run_with("apply -f -", &unknown).code(1);
    assert!(
        refused
            .stderr
            .contains("unknown field \"spec.backofLimit\""),
        "{}",
        refused.stderr
    );
    let other = "{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}";
    kubectl
        .run_with("create -f -", other)
        .success()
        .stdout("configmap/other created\n");
    let refused = kubectl.run("create configmap third").code(1);
    assert!(
        refused.stderr.contains("use kubectl create -f"),
        "{}",
        refused.stderr
    );
    kubectl
        .run("edit configmap colours")
        .success()
        .stdout("configmap/colours edited\n");
    kubectl
        .run("get configmap colours -o jsonpath={.data.sky}")
        .success()
        .stdout("grey");
    kubectl
        .run("explain job.spec.podFailurePolicy.rules")
        .success()
        .has_output("onExitCodes");
    kubectl
        .run("explain pod.spec.containers --recursive")
        .success()
        .has_output("terminationMessagePolicy");
}

#[test]
fn the_cluster_says_who_it_is_and_not_its_token() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    let token = kubectl.token();
    for line in [
        "cluster-info",
        "get nodes -o wide",
        "api-resources",
        "auth can-i --list",
        "version",
    ] {
        let outcome = kubectl.run(line);
        assert!(
            !outcome.stdout.contains(&token) && !outcome.stderr.contains(&token),
            "{line}"
        );
    }
    kubectl
        .run("auth whoami")
        .success()
        .has_output("sandbox-admin");
    kubectl.run("auth can-i --list").success().has_output("*.*");
    kubectl.run("get --raw /readyz").success().stdout("ok");
    kubectl
        .run("get --raw /")
        .success()
        .has_output("/openapi/v3");
    kubectl
        .run("get nodes -o wide")
        .success()
        .has_output("INTERNAL-IP");
}

#[test]
fn a_pod_answers_at_once_that_it_has_no_streams() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    kubectl.run_with("apply -f -", OBJECTS).success();
    let pod = kubectl.pod();
    for line in [
        format!("exec {pod} -- true"),
        format!("attach {pod}"),
        format!("port-forward {pod} :80"),
    ] {
        let start = Instant::now();
        let refused = kubectl.run(&line).code(1);
        assert!(start.elapsed() < AT_ONCE, "{line}");
        let why = "the sandbox has no exec, attach and port-forward";
        assert!(refused.stderr.contains(why), "{line}: {}", refused.stderr);
    }
}

#[test]
fn a_node_is_cordoned_and_tainted() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    kubectl.run("cordon sandbox").success();
    kubectl
        .run("get nodes")
        .success()
        .has_output("Ready,SchedulingDisabled");
    kubectl.run_with("apply -f -", OBJECTS).success();
    let scheduling = "get events --field-selector reason=FailedScheduling";
    kubectl.wait(scheduling, "1 node(s) were unschedulable");
    kubectl.run("taint nodes sandbox a=b:NoExecute").success();
    kubectl.run("uncordon sandbox").success();
    kubectl.wait(scheduling, "1 node(s) had untolerated taint(s)");
    kubectl.run("taint nodes sandbox a-").success();
    kubectl.pod();
    kubectl.run("taint nodes sandbox a=b:NoExecute").success();
    // The pod goes, and the Job keeps what disturbed it.
    kubectl.wait(
        WHY_FAILED,
        "has condition DisruptionTarget matching FailJob rule",
    );
    kubectl.wait("get job sleeps", "Failed");
}

#[test]
fn a_pod_is_evicted() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    kubectl.run_with("apply -f -", OBJECTS).success();
    let pod = kubectl.pod();
    let name = pod.trim_start_matches("pod/");
    let eviction = format!(
        "{{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{{\"name\":\"{name}\"}}}}"
    );
    let path = format!("create --raw /api/v1/namespaces/default/pods/{name}/eviction -f -");
    kubectl
        .run_with(&path, &eviction)
        .success()
        .has_output("Success");
    kubectl.wait(
        WHY_FAILED,
        "has condition DisruptionTarget matching FailJob rule",
    );
}

#[test]
fn namespaces_are_made_and_deleted_with_all_that_is_in_them() {
    let Some(kubectl) = Kubectl::new() else {
        return;
    };
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: other}}";
    kubectl.run_with("create -f -", namespace).success();
    kubectl.run_with("-n other apply -f -", OBJECTS).success();
    kubectl.wait("-n other get pods", "Running");
    kubectl
        .run("get pv -o wide")
        .success()
        .has_output("other/data");
    kubectl.run("delete namespace other").success();
    let gone = kubectl.run("get namespace other").code(1);
    assert!(gone.stderr.contains("not found"), "{}", gone.stderr);
    kubectl
        .run("get pods,jobs,pvc,pv -A -o name")
        .success()
        .stdout("");
    let refused = kubectl.run("delete namespace default").code(1);
    assert!(
        refused.stderr.contains("this namespace may not be deleted"),
        "{}",
        refused.stderr
    );
}
