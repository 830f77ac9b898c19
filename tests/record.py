#!/usr/bin/env python3
"""Records fixtures/recorded again from the cluster that KUBECONFIG names: record.py FOLDER

The files are answers of a real Kubernetes. Tests compare the sandbox with them, and decode them as the executor does.

    jobs.json, pods.json             fourteen one-node tasks, each in its final state (see TASKS)
    persistentvolumeclaims.json      a bound claim, a pending claim, and a volume of this program
    jobs-quota.json, events-quota.json   a Job in a namespace that allows no pods: no pod, only events
    watch-*-created-run-deleted.jsonl    the events of a Job and of its pod: created, running, deleted in the background
    watch-*-deadline-patched.jsonl   the same when activeDeadlineSeconds of a running pod is lowered to 1
    lives/*.jsonl                    not recorded by this script: the events of Jobs and pods from 1.36 that were evicted, preempted,
                                     lost with their node, deleted by hand, and so on, with the fields that the program decodes
    answers.jsonl                    single requests with their answers, mostly refusals; one a line

It needs kubectl, a cluster of one node and the rights of an administrator. It creates two namespaces and deletes them at the end;
in the files they are called `default` and `quota`. managedFields and tokens are left out. The variables IMAGE and BARE_IMAGE name
an image with bash and Python, and one without bash. The cluster must be able to pull them.

To use another version of Kubernetes, or to record another state:

    KUBECONFIG=... tests/record.py /tmp/recorded && diff -r fixtures/recorded /tmp/recorded | less
    KUBECONFIG=... make record     then write the new ends of the pods' names, which it prints, into src/sandbox/tests,
    make golden                    and check both diffs: users of that version will see each change
"""

import base64
import contextlib
import http.client
import json
import os
import queue
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

IMAGE = os.environ.get("IMAGE", "python:3.13-slim")
BARE_IMAGE = os.environ.get("BARE_IMAGE", "registry.k8s.io/pause:3.10")
NAMESPACE = f"k8s-cli-record-{os.getpid()}"
QUOTA_NAMESPACE = f"{NAMESPACE}-quota"
# The limit of every wait. Only a recording that fails waits this long.
LIMIT = 180

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
PODS = f"{CORE}/pods"
CLAIMS = f"{CORE}/persistentvolumeclaims"


def job(task, script="true", image=IMAGE, resources=None, claim=None, **spec):
    """A Job with the labels of the program."""
    task_id = task.ljust(8, "0")[:8]
    labels = {"skypilot-task": "true", "task-id": task_id, "node-idx": "0", "username": "rec"}
    container = {
        "name": "task",
        "image": image,
        "command": ["/bin/bash", "-c"],
        "args": [script],
        "env": [{"name": "NODE_RANK", "value": "0"}, {"name": "NUM_NODES", "value": "1"}],
        "resources": {"limits": resources, "requests": resources} if resources else {},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
    }
    if claim:
        pod["volumes"] = [{"name": "v0", "persistentVolumeClaim": {"claimName": claim}}]
        container["volumeMounts"] = [{"name": "v0", "mountPath": "/data"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{task}-{task_id}",
            "labels": {**labels, "task-name": task},
            "annotations": {"created-at": "2026-11-22T02:00:00.000000", "num-nodes": "1"},
        },
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}, **spec},
    }


def claim(name, metadata=None, modes=("ReadWriteOnce",), size="1Gi", **spec):
    resources = {"requests": {"storage": size}} if size else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"accessModes": list(modes), "resources": resources, **spec},
    }


def condition(which):
    return lambda job, pod: any(
        one["type"] == which and one["status"] == "True" for one in job["status"].get("conditions", [])
    )


def waits_for(reason):
    """Whether the container or the scheduler gives this reason for a waiting pod."""

    def is_so(_, pod):
        status = pod["status"] if pod else {}
        container = (status.get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {})
        unscheduled = [one.get("reason") for one in status.get("conditions", [])]
        return reason in [container.get("reason"), *unscheduled]

    return is_so


def is_over_deadline(job, pod):
    return pod is None and condition("Failed")(job, pod)


def is_suspended(job, pod):
    # Kubernetes before 1.21 ignores `suspend` and runs the Job.
    return condition("Suspended")(job, pod) or "suspend" not in job["spec"]


# Each task, and a condition for its final state.
TASKS = [
    (job("succeeded", "echo out; echo err >&2"), condition("Complete")),
    (job("exit3", "echo bye; exit 3"), condition("Failed")),
    (
        job(
            "oom",
            "python -c 'x=bytearray(200*1024*1024)' || python3 -c 'x=bytearray(200*1024*1024)'",
            resources={"cpu": "100m", "memory": "32Mi"},
        ),
        condition("Failed"),
    ),
    (job("segv", "kill -SEGV $$"), condition("Failed")),
    (job("nobash", image=BARE_IMAGE), condition("Failed")),
    (job("noimage", image="no-such-image:1"), waits_for("ImagePullBackOff")),
    (job("badimage", image="Bad:Image:Name"), waits_for("InvalidImageName")),
    (job("bigcpu", resources={"cpu": "100"}), waits_for("Unschedulable")),
    (job("gpu", resources={"nvidia.com/gpu": "1"}), waits_for("Unschedulable")),
    (job("nopvc", claim="no-such-claim"), waits_for("Unschedulable")),
    (job("pvcpending", claim="pending-claim"), waits_for("Unschedulable")),
    (job("running", "echo started; sleep 3600"), lambda job, pod: pod and pod["status"]["phase"] == "Running"),
    (job("suspended", suspend=True), is_suspended),
    (job("deadline", "echo started; sleep 1000", activeDeadlineSeconds=6), is_over_deadline),
]


class Cluster:
    """The API of Kubernetes: through `kubectl proxy` as the user of KUBECONFIG, and directly as another user."""

    def __init__(self, proxy):
        announced = proxy.stdout.readline()
        self.proxy = announced.rsplit(" ", 1)[-1].strip()
        view = ["kubectl", "config", "view", "--minify", "--raw", "--flatten", "-o", "json"]
        cluster = json.loads(subprocess.check_output(view))["clusters"][0]["cluster"]
        self.server = urllib.parse.urlsplit(cluster["server"])
        authority = cluster.get("certificate-authority-data")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def open(self, method, path, body=None, token=None, is_direct=False, content_type="application/json"):
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if is_direct:
            connection = http.client.HTTPSConnection(self.server.netloc, context=self.tls, timeout=LIMIT)
            path = self.server.path.rstrip("/") + path
        else:
            connection = http.client.HTTPConnection(self.proxy, timeout=LIMIT)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        connection.request(method, path, text, headers)
        return connection.getresponse()

    def send(self, method, path, body=None, **how):
        """Sends a request that must succeed."""
        response = self.open(method, path, body, **how)
        text = response.read().decode()
        if response.status >= 300:
            sys.exit(f"record: {method} {path}: {response.status} {text}")
        return json.loads(text)

    def wait(self, what, path, is_so):
        """Reads a path until `is_so` finds nothing missing in the answer."""
        end = time.monotonic() + LIMIT
        while True:
            answer = self.send("GET", path)
            missing = is_so(answer)
            if not missing:
                return answer
            if time.monotonic() > end:
                sys.exit(f"record: waited {LIMIT} s in vain for {what}: {missing}")
            time.sleep(0.5)

    def watch(self, path):
        """Watches a path; returns a queue of its events once the watch has begun."""
        response = self.open("GET", path)
        events = queue.SimpleQueue()

        def read():
            for line in response:
                events.put(json.loads(line))

        threading.Thread(target=read, daemon=True).start()
        return events


def until(events, is_last):
    seen = []
    while not seen or not is_last(seen[-1]):
        seen.append(events.get(timeout=LIMIT))
    return seen


def pods_by_job(pods):
    return {pod["metadata"]["labels"]["job-name"]: pod for pod in pods["items"]}


def record_objects(cluster):
    """Creates the objects of all states, and returns them by the names of their files."""
    labels = {"skypilot-volume": "true", "username": "rec", "volume-id": "aaaaaaaa", "volume-name": "bound"}
    volume = {
        "labels": {
            "skypilot-volume": "true",
            "username": "bar387629-example.com",
            "volume-id": "5e49cf2f",
            "volume-name": "vol299815",
        },
        "annotations": {"created-at": "2026-11-22T02:01:43.982031"},
    }
    cluster.send("POST", CLAIMS, claim("bound-claim", {"labels": labels}))
    cluster.send("POST", CLAIMS, claim("pending-claim", storageClassName="no-such-class"))
    cluster.send("POST", CLAIMS, claim("vol299815-5e49cf2f", volume))
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    quotas = f"/api/v1/namespaces/{QUOTA_NAMESPACE}/resourcequotas"
    cluster.send("POST", quotas, quota)
    cluster.wait("the quota", f"{quotas}/none", lambda quota: not quota.get("status", {}).get("hard") and "no status")
    quota_jobs = JOBS.replace(NAMESPACE, QUOTA_NAMESPACE)
    cluster.send("POST", quota_jobs, job("quota"))
    for body, _ in TASKS:
        cluster.send("POST", JOBS, body)

    def unsettled(jobs):
        # Kubernetes 1.20 sometimes ignores a deadline until the Job is changed.
        for value in ["1", None]:
            touched = {"metadata": {"annotations": {"touched": value}}}
            path = f"{JOBS}/{job('deadline')['metadata']['name']}"
            cluster.send("PATCH", path, touched, content_type="application/merge-patch+json")
        pods = pods_by_job(cluster.send("GET", PODS))
        jobs = {job["metadata"]["name"]: job for job in jobs["items"]}
        names = [(body["metadata"]["name"], is_settled) for body, is_settled in TASKS]
        return [name for name, is_settled in names if not is_settled(jobs[name], pods.get(name))]

    cluster.wait("every task to settle", JOBS, unsettled)
    events = f"/api/v1/namespaces/{QUOTA_NAMESPACE}/events?fieldSelector=involvedObject.kind%3DJob"
    cluster.wait("two events about the quota", events, lambda list: len(list["items"]) < 2 and "fewer")
    return {
        "jobs.json": cluster.send("GET", JOBS),
        "pods.json": cluster.send("GET", PODS),
        "persistentvolumeclaims.json": cluster.send("GET", CLAIMS),
        "jobs-quota.json": cluster.send("GET", quota_jobs),
        "events-quota.json": cluster.send("GET", events),
    }


def record_answers(cluster, pods):
    """Sends single requests, and returns the answers."""
    accounts = f"{CORE}/serviceaccounts"
    cluster.send("POST", accounts, {"metadata": {"name": "weak"}})
    token = cluster.send("POST", f"{accounts}/weak/token", {"spec": {}})["status"]["token"]
    pod = {name.split("-")[0]: f"{PODS}/{pod['metadata']['name']}/log" for name, pod in pods.items()}
    changed = lambda **fields: {**job("q"), **fields}
    long = "a" * 70
    with_volumes, with_limit, with_quantity, with_label = job("q"), job("q"), job("q"), job("q")
    volume = {"name": "v", "emptyDir": {}}
    with_volumes["spec"]["template"]["spec"]["volumes"] = [volume, volume]
    for body, resources in [
        (with_limit, {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
        (with_quantity, {"limits": {"cpu": "lots"}}),
    ]:
        body["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    with_label["metadata"]["labels"]["username"] = long
    for body in [with_volumes, with_limit, with_label]:
        body["metadata"]["name"] = "q"
    may_create = {"namespace": NAMESPACE, "verb": "create", "group": "batch", "resource": "jobs"}
    weak = f"system:serviceaccount:{NAMESPACE}:weak"
    no_match = "labelSelector=username%3Dnobody"
    expired = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0"
    tokens = "/apis/authentication.k8s.io/v1/tokenreviews"
    access = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    direct, as_weak = {"is_direct": True}, {"is_direct": True, "token": token}
    requests = [
        ("create a job that exists", "POST", JOBS, job("succeeded"), {}),
        ("create with an invalid name", "POST", JOBS, changed(metadata={"name": "Bad_Name"}), {}),
        ("create with a bad quantity", "POST", JOBS, with_quantity, {}),
        ("create with a label value of 70 characters", "POST", JOBS, with_label, {}),
        ("create with a job name of 70 characters", "POST", JOBS, changed(metadata={"name": long}), {}),
        ("create with the same volume mounted twice under one name", "POST", JOBS, with_volumes, {}),
        ("create with limit below request", "POST", JOBS, with_limit, {}),
        ("create that is not JSON", "POST", JOBS, "{", {}),
        ("create in a namespace that does not exist", "POST", JOBS.replace(NAMESPACE, "nope"), job("q"), {}),
        ("dry run", "POST", f"{JOBS}?dryRun=All", changed(metadata={**job("q")["metadata"], "name": "dry"}), {}),
        ("get a job that does not exist", "GET", f"{JOBS}/nope", None, {}),
        ("delete a job that does not exist", "DELETE", f"{JOBS}/nope?propagationPolicy=Background", None, {}),
        ("bad label selector", "GET", f"{JOBS}?labelSelector=a%3D%3Db%2C%2C", None, {}),
        ("list nothing", "GET", f"{JOBS}?{no_match}", None, {}),
        ("list page 1", "GET", f"{JOBS}?labelSelector=username%3Drec&limit=1", None, {}),
        ("list with an expired continue token", "GET", f"{JOBS}?limit=1&continue={expired}", None, {}),
        (
            "watch from a resourceVersion that is gone",
            "GET",
            f"{JOBS}?watch=true&resourceVersion=1&timeoutSeconds=2",
            None,
            {},
        ),
        (
            "watch with timeoutSeconds=1 ends",
            "GET",
            f"{JOBS}?watch=true&timeoutSeconds=1&{no_match}&allowWatchBookmarks=true",
            None,
            {},
        ),
        ("log of a finished pod with timestamps", "GET", f"{pod['succeeded']}?timestamps=true", None, {}),
        ("log tailLines=1", "GET", f"{pod['succeeded']}?tailLines=1", None, {}),
        ("log of an unschedulable pod", "GET", f"{pod['bigcpu']}?follow=true", None, {}),
        ("log of a pod whose image cannot be pulled", "GET", f"{pod['noimage']}?follow=true", None, {}),
        ("log of a pod with an invalid image name", "GET", pod["badimage"], None, {}),
        ("log of a pod whose program is missing", "GET", pod["nobash"], None, {}),
        ("log of an unknown container", "GET", f"{pod['succeeded']}?container=x", None, {}),
        ("log of the previous container when there is none", "GET", f"{pod['succeeded']}?previous=true", None, {}),
        ("log of a pod that does not exist", "GET", f"{PODS}/nope/log", None, {}),
        ("log with a bad sinceTime", "GET", f"{pod['succeeded']}?sinceTime=yesterday", None, {}),
        ("claim with a bad size", "POST", CLAIMS, claim("x", size="big"), {}),
        ("claim with a bad access mode", "POST", CLAIMS, claim("x", modes=["Sometimes"]), {}),
        ("claim without size", "POST", CLAIMS, claim("x", size=None), {}),
        ("token review, good token", "POST", tokens, {"spec": {"token": token}}, {}),
        ("token review, bad token", "POST", tokens, {"spec": {"token": "nonsense"}}, {}),
        (
            "subject access review, denied",
            "POST",
            access,
            {"spec": {"resourceAttributes": may_create, "user": weak}},
            {},
        ),
        (
            "subject access review, allowed",
            "POST",
            access,
            {"spec": {"resourceAttributes": may_create, "user": "admin", "groups": ["system:masters"]}},
            {},
        ),
        ("forbidden", "GET", JOBS, None, as_weak),
        ("unauthorized", "GET", JOBS, None, {**direct, "token": "nonsense"}),
        ("anonymous version", "GET", "/version", None, direct),
    ]
    return [answer(cluster, token, *request) for request in requests]


def answer(cluster, token, name, method, path, body, how):
    response = cluster.open(method, path, body, **how)
    content_type = (response.getheader("Content-Type") or "").split(";")[0]
    text = response.read().decode().replace(token, "<token>")
    # A watch sends one event a line, and these watches have only one.
    body = json.loads(text) if "json" in content_type and text else text
    return {
        "name": name,
        "method": method,
        "path": path,
        "status": response.status,
        "content_type": content_type,
        "body": body,
    }


def watch_task(cluster, task):
    of_task = f"watch=true&labelSelector=task-id%3D{task['metadata']['labels']['task-id']}"
    return cluster.watch(f"{JOBS}?{of_task}"), cluster.watch(f"{PODS}?{of_task}")


def record_deletion(cluster):
    """The events of a Job and its pod until they are deleted."""
    task = job("todelete", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait")
    jobs, pods = watch_task(cluster, task)
    cluster.send("POST", JOBS, task)
    is_ready = lambda one: any(s.get("ready") for s in one["object"]["status"].get("containerStatuses", []))
    events = until(pods, is_ready)
    log = f"{PODS}/{events[-1]['object']['metadata']['name']}/log"
    # The trap is set when the log contains "ready".
    end = time.monotonic() + LIMIT
    while cluster.open("GET", log).read() != b"ready\n":
        if time.monotonic() > end:
            sys.exit("record: the pod to be deleted did not print that it is ready")
        time.sleep(0.2)
    cluster.send("DELETE", f"{JOBS}/{task['metadata']['name']}?propagationPolicy=Background")
    is_deleted = lambda one: one["type"] == "DELETED"
    return until(jobs, is_deleted), events + until(pods, is_deleted)


def record_deadline(cluster, pods):
    """The events of a running Job and its pod when the deadline of the pod is lowered."""
    task = job("running")
    jobs, events = watch_task(cluster, task)
    pod = pods[task["metadata"]["name"]]["metadata"]["name"]
    patch = {"spec": {"activeDeadlineSeconds": 1}}
    first = until(events, lambda one: True)
    cluster.send("PATCH", f"{PODS}/{pod}", patch, content_type="application/merge-patch+json")
    has_failed = lambda one: condition("Failed")(one["object"], None)
    is_released = lambda one: (
        one["object"]["status"]["phase"] == "Failed" and not one["object"]["metadata"].get("finalizers")
    )
    return until(jobs, has_failed), first + until(events, is_released)


def public(value):
    """A value with the namespaces renamed, without managedFields."""
    if isinstance(value, dict):
        return {key: public(one) for key, one in value.items() if key not in ("managedFields", "selfLink")}
    if isinstance(value, list):
        return [public(one) for one in value]
    if isinstance(value, str):
        return value.replace(QUOTA_NAMESPACE, "quota").replace(NAMESPACE, "default")
    return value


@contextlib.contextmanager
def namespaces(cluster):
    names = [NAMESPACE, QUOTA_NAMESPACE]
    try:
        for name in names:
            cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            # Pods need a service account, which is created after the namespace.
            accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
            cluster.wait("a service account", accounts, lambda list: not list["items"] and "none")
        yield
    finally:
        for name in names:
            cluster.open("DELETE", f"/api/v1/namespaces/{name}")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: record.py FOLDER")
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    with subprocess.Popen(["kubectl", "proxy", "--port", "0"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            cluster = Cluster(proxy)
            with namespaces(cluster):
                files = record_objects(cluster)
                pods = pods_by_job(files["pods.json"])
                lines = {"answers.jsonl": record_answers(cluster, pods)}
                for name, recorded in [
                    ("created-run-deleted", record_deletion(cluster)),
                    ("deadline-patched", record_deadline(cluster, pods)),
                ]:
                    lines[f"watch-job-{name}.jsonl"], lines[f"watch-pod-{name}.jsonl"] = recorded
        finally:
            proxy.terminate()
    for name, document in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(json.dumps(public(document), indent=2) + "\n")
    for name, documents in lines.items():
        with open(os.path.join(folder, name), "w") as file:
            file.writelines(json.dumps(public(one), separators=(",", ":")) + "\n" for one in documents)
    print("the pods of answers.jsonl, for src/sandbox/tests:")
    for name in ["succeeded", "bigcpu", "noimage", "badimage", "nobash"]:
        print(" ", pods[job(name)["metadata"]["name"]]["metadata"]["name"])


main()
