//! Tests of the environment, the volumes and the messages of containers.

use serde_json::{Value, json};

use super::{Cluster, job};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod with one container that runs a script.
fn pod(name: &str, script: &str) -> Value {
    let spec = job(name, script)["spec"]["template"]["spec"].clone();
    json!({ "metadata": { "name": name }, "spec": spec })
}

/// Waits until the only container of a pod is in the named state, and returns the state.
#[track_caller]
fn wait_state(cluster: &Cluster, name: &str, state: &str) -> Value {
    let of = |pod: &Value| pod["status"]["containerStatuses"][0]["state"][state].clone();
    of(&cluster.wait(&format!("{PODS}/{name}"), |pod| !of(pod).is_null()))
}

#[test]
fn variables_wait_for_the_objects_they_come_from() {
    let cluster = Cluster::start();
    let mut pod = pod("reader", "echo $TOKEN $P_USER $LEVEL $COLOR $NONE.");
    let container = &mut pod["spec"]["containers"][0];
    container["envFrom"] = json!([
        { "secretRef": { "name": "login" }, "prefix": "P_" }, { "configMapRef": { "name": "paint" } },
        { "secretRef": { "name": "nowhere", "optional": true } },
    ]);
    container["env"] = json!([
        { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "login", "key": "token" } } },
        { "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "paint", "key": "level" } } },
        { "name": "NONE", "valueFrom": { "secretKeyRef": { "name": "login", "key": "no", "optional": true } } },
    ]);
    cluster.make(PODS, &pod);
    let missing = |what: &str| json!({ "reason": "CreateContainerConfigError", "message": what });
    let waits = |what: &str| {
        cluster.wait(&format!("{PODS}/reader"), |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"] == missing(what)
        })
    };
    waits("secret \"login\" not found");
    let secret =
        json!({ "metadata": { "name": "login" }, "stringData": { "USER": "ada", "token": "t0p" } });
    cluster.make("/api/v1/namespaces/default/secrets", &secret);
    waits("configmap \"paint\" not found");
    let map = json!({ "metadata": { "name": "paint" }, "data": { "COLOR": "red", "level": "3" } });
    cluster.make("/api/v1/namespaces/default/configmaps", &map);
    cluster.wait_log(&format!("{PODS}/reader/log"), "t0p ada 3 red .\n");
}

#[test]
fn a_container_leaves_a_message() {
    let cluster = Cluster::start();
    let log = "/dev/termination-log";
    let of_machine = || std::fs::metadata(log).and_then(|file| file.modified()).ok();
    let before = of_machine();
    let with = |name: &str, script: &str, fields: Value| {
        let mut pod = pod(name, script);
        pod["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
        for (field, value) in fields.as_object().unwrap() {
            pod["spec"]["containers"][0][field] = value.clone();
        }
        pod
    };
    let fallback = json!({ "terminationMessagePolicy": "FallbackToLogsOnError" });
    let many = "for i in {1..2000}; do echo 1234567; done";
    let cases = [
        (
            "said",
            format!("echo -n done > {log}; echo x > /dev/null"),
            json!({}),
            Some("done".to_owned()),
        ),
        ("silent", "echo a line; exit 3".to_owned(), json!({}), None),
        (
            "long",
            format!("{many} > {log}"),
            json!({}),
            Some("1234567\n".repeat(512)),
        ),
        ("fine", "echo a line".to_owned(), fallback.clone(), None),
        (
            "broken",
            "echo a line; exit 3".to_owned(),
            fallback.clone(),
            Some("a line\n".to_owned()),
        ),
        (
            "noisy",
            format!("{many}; exit 1"),
            fallback.clone(),
            Some("1234567\n".repeat(80)),
        ),
        (
            "both",
            format!("echo a line; echo -n why > {log}; exit 3"),
            fallback,
            Some("why".to_owned()),
        ),
        (
            // A container with a volume has a root of its own, with the same files.
            "mounted",
            format!(
                "getent hosts mounted | grep -q 127; echo -n $? > {log}; touch /no/such/volume/x"
            ),
            json!({ "volumeMounts": [{ "name": "data", "mountPath": "/no/such/volume" }] }),
            Some("0".to_owned()),
        ),
        (
            "elsewhere",
            "echo -n here > /no/such/message".to_owned(),
            json!({ "terminationMessagePath": "/no/such/message" }),
            Some("here".to_owned()),
        ),
    ];
    for (name, script, fields, _) in &cases {
        cluster.make(PODS, &with(name, script, fields.clone()));
    }
    for (name, _, _, message) in cases {
        let state = wait_state(&cluster, name, "terminated");
        assert_eq!(
            state.get("message"),
            message.map(Value::from).as_ref(),
            "{name}: {state}"
        );
    }
    assert_eq!(of_machine(), before, "the machine has it, too");
}

#[test]
fn a_missing_program_is_told_as_recorded() {
    let cluster = Cluster::start();
    let text = std::fs::read_to_string("fixtures/recorded/pods.json").unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let is_nobash = |pod: &&Value| pod["metadata"]["labels"]["task-id"] == "nobash00";
    let recorded = recorded["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(is_nobash)
        .unwrap();
    let mut job = job("nobash", "true");
    job["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/bin/nope"]);
    cluster.make(JOBS, &job);
    let list = cluster.wait(PODS, |list| list["items"][0]["status"]["phase"] == "Failed");
    let state = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    let present = state(&list["items"][0]);
    // The recorded image had no bash.
    let wanted = state(recorded)
        .to_string()
        .replace("/bin/bash", "/bin/nope");
    let wanted: Value = serde_json::from_str(&wanted).unwrap();
    for field in ["exitCode", "reason", "message", "startedAt"] {
        assert_eq!(present[field], wanted[field], "{field}");
    }
}

#[test]
fn a_volume_follows_the_objects_it_comes_from() {
    let cluster = Cluster::start();
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({ "metadata": { "name": "login" }, "stringData": { "token": "t0p" } });
    cluster.make(secrets, &secret);
    let script = "cd /no/such; cat meta/notes all/go/notes all/token all/labels; stat -Lc ' %a' all/token; \
                  until grep -q yes all/go/notes && grep -q yes meta/notes; do sleep 0.02; done; cat meta/notes all/go/notes; \
                  until grep -q new all/token; do sleep 0.02; done; cat all/token; ls all";
    let mut pod = pod("reader", script);
    pod["metadata"]["annotations"] = json!({ "go": "no" });
    pod["metadata"]["labels"] = json!({ "app": "x" });
    let items =
        |path: &str| json!([{ "path": path, "fieldRef": { "fieldPath": "metadata.annotations" } }]);
    let labels = json!({ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels['app']" } });
    let token = json!([{ "key": "token", "path": "token", "mode": 0o400 }]);
    pod["spec"]["volumes"] = json!([
        { "name": "meta", "downwardAPI": { "items": items("notes") } },
        { "name": "all", "projected": { "sources": [
            { "secret": { "name": "login", "items": token } },
            { "downwardAPI": { "items": items("go/notes") } }, { "downwardAPI": { "items": [labels] } },
        ] } },
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        { "name": "meta", "mountPath": "/no/such/meta" }, { "name": "all", "mountPath": "/no/such/all" },
    ]);
    cluster.make(PODS, &pod);
    let log = format!("{PODS}/reader/log");
    let first = "go=\"no\"go=\"no\"t0px 400\n";
    cluster.wait_log(&log, first);
    let path = format!("{PODS}/reader");
    cluster.patch(
        &path,
        &json!({ "metadata": { "annotations": { "go": "yes" } } }),
    );
    let second = format!("{first}go=\"yes\"go=\"yes\"");
    cluster.wait_log(&log, &second);
    cluster.patch(
        &format!("{secrets}/login"),
        &json!({ "stringData": { "token": "new" } }),
    );
    cluster.wait_log(&log, &format!("{second}newgo\nlabels\ntoken\n"));
}

#[test]
fn a_container_has_a_home_of_its_own() {
    let cluster = Cluster::start();
    let script = "cd && touch mine && ls -A ~ && [ ! $HOME -ef $(getent passwd $(id -u) | cut -d: -f6) ]; echo $?";
    cluster.make(PODS, &pod("own", script));
    cluster.wait_log(&format!("{PODS}/own/log"), "mine\n0\n");
    let mut pod = pod("given", "echo $HOME");
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "HOME", "value": "/given" }]);
    cluster.make(PODS, &pod);
    cluster.wait_log(&format!("{PODS}/given/log"), "/given\n");
}

#[test]
fn only_the_program_obeys_the_loader_variables_of_a_pod() {
    let cluster = Cluster::start();
    let mut pod = pod("preload", "echo $LD_PRELOAD; env | grep odd");
    pod["spec"]["containers"][0]["env"] = json!([
        { "name": "LD_PRELOAD", "value": "/no/such/library.so" }, { "name": "odd.name", "value": "1" },
    ]);
    cluster.make(PODS, &pod);
    wait_state(&cluster, "preload", "terminated");
    let log = cluster.send(
        "GET",
        &format!("{PODS}/preload/log"),
        "",
        Some(&cluster.token),
    );
    let complaint =
        "ERROR: ld.so: object '/no/such/library.so' from LD_PRELOAD cannot be preloaded";
    // The first program is the shell, and the others are `env` and `grep`.
    let before = log
        .body
        .lines()
        .take_while(|line| *line != "/no/such/library.so");
    let before: Vec<&str> = before.collect();
    assert_eq!(before.len(), 1, "{}", log.body);
    assert!(before[0].starts_with(complaint), "{}", log.body);
    assert!(log.body.contains("\nodd.name=1\n"), "{}", log.body);
}

#[test]
fn a_pod_gets_no_file_that_the_server_inherited() {
    let path = std::env::temp_dir().join(format!("inherited-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let cluster = Cluster::start();
    // In a pipe `ls` would sometimes see that pipe, too, and as the last command it would be the first process itself.
    let script = "readlink /proc/$$/fd/* | grep -c inherited; ls /proc/1/fd; true";
    cluster.make(PODS, &pod("files", script));
    let state = wait_state(&cluster, "files", "terminated");
    std::fs::remove_file(path).unwrap();
    assert_eq!(state["exitCode"], 0);
    cluster.wait_log(&format!("{PODS}/files/log"), "0\n0\n1\n2\n");
}
