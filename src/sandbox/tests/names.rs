//! Tests of the names by which pods find each other.

use serde_json::{Value, json};

use super::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Listens on the address of its own name, in two spellings, and prints the message of the first peer.
const LISTEN: &str = "
import os, socket
own = socket.gethostbyname(socket.gethostname())
assert own == os.environ['POD_IP'] == socket.gethostbyname(socket.gethostname() + '.party'), own
server = socket.create_server((own, 7777))
peer, _ = server.accept()
print(peer.recv(100).decode())
";

/// Connects by all names, once they resolve.
const CONNECT: &str = "
import socket, time
names = ['node-0.party' + zone for zone in ['', '.default', '.default.svc', '.default.svc.cluster.local']]
while True:
    try:
        addresses = {socket.gethostbyname(name) for name in names}
        peer = socket.create_connection((names[0], 7777))
        break
    except OSError:
        time.sleep(0.01)
own = socket.gethostbyname(socket.gethostname())
assert len(addresses) == 1 and own not in addresses, addresses
assert {info[4][0] for info in socket.getaddrinfo('party', 7777)} == {own, *addresses}
peer.sendall(b'hello from ' + socket.gethostname().encode())
";

fn service() -> Value {
    json!({
        "metadata": { "name": "party" },
        "spec": { "clusterIP": "None", "publishNotReadyAddresses": true, "selector": { "party": "yes" } },
    })
}

fn pod(hostname: &str, command: &[&str]) -> Value {
    json!({
        "metadata": { "name": hostname, "labels": { "party": "yes" } },
        "spec": {
            "hostname": hostname, "subdomain": "party", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "task", "image": "python:3.13-slim", "command": command,
                "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
            }],
        },
    })
}

#[test]
fn pods_of_a_headless_service_reach_each_other_by_name() {
    let cluster = Cluster::start();
    cluster.make(SERVICES, &service());
    // The pod that connects starts first and waits for the name of the other.
    let connect = pod("node-1", &["python3", "-c", CONNECT]);
    cluster.make(PODS, &connect);
    cluster.wait(&format!("{PODS}/node-1"), |pod| {
        pod["status"]["phase"] == "Running"
    });
    let listen = pod("node-0", &["python3", "-c", LISTEN]);
    cluster.make(PODS, &listen);
    let ended = |pod: &Value| {
        ["Succeeded", "Failed"]
            .iter()
            .any(|phase| pod["status"]["phase"] == *phase)
    };
    for name in ["node-0", "node-1"] {
        let pod = cluster.wait(&format!("{PODS}/{name}"), ended);
        let log = cluster.send(
            "GET",
            &format!("{PODS}/{name}/log"),
            "",
            Some(&cluster.token),
        );
        assert_eq!(pod["status"]["phase"], "Succeeded", "{}", log.body);
        assert_eq!(
            pod["status"]["podIPs"],
            json!([{ "ip": pod["status"]["podIP"] }])
        );
    }
    cluster.wait_log(&format!("{PODS}/node-0/log"), "hello from node-1\n");
}

#[test]
fn a_name_comes_with_its_service_and_goes_with_its_pod() {
    let cluster = Cluster::start();
    // Prints a `+` for each name that resolves, whenever that changes.
    let script = "while true; do now=; for name in node-0.party node-1.party; do
        getent hosts $name >/dev/null && now=$now+; done; [ \"$now\" = \"$was\" ] || echo \"$now\"; was=$now; sleep 0.01; done";
    let (watcher, other) = (
        pod("node-0", &["bash", "-c", script]),
        pod("node-1", &["sleep", "1000"]),
    );
    cluster.make(PODS, &other);
    cluster.make(PODS, &watcher);
    for name in ["node-0", "node-1"] {
        cluster.wait(&format!("{PODS}/{name}"), |pod| {
            pod["status"]["phase"] == "Running"
        });
    }
    let log = format!("{PODS}/node-0/log");
    cluster.make(SERVICES, &service());
    cluster.wait_log(&format!("{log}?tailLines=1"), "++\n");
    cluster.send(
        "DELETE",
        &format!("{PODS}/node-1"),
        "",
        Some(&cluster.token),
    );
    cluster.wait_log(&format!("{log}?tailLines=1"), "+\n");
    cluster.send(
        "DELETE",
        &format!("{SERVICES}/party"),
        "",
        Some(&cluster.token),
    );
    cluster.wait_log(&format!("{log}?tailLines=1"), "\n");
}
