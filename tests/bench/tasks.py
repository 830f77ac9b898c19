#!/usr/bin/env python3
"""Measures many tasks: tasks.py BINARY [COUNT...]. It prints numbers and does not fail on them.

Without KUBECONFIG it starts a sandbox for each number of tasks (default 1000, 10000, 50000), and a server in a process of its
own. Each task has a pod that has ended, and each user has 100 tasks. With KUBECONFIG it creates Jobs without pods in a namespace
of that cluster (default 10000), and deletes them. Everything is compared in the same run with other programs: curl, kubectl, and
wrk on a static handler. BINARY must be built with the feature `bench`.
"""

import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from world import Kubernetes, World, memory, post_all

OWN = 100
USER = "user0@example.com"
HZ = os.sysconf("SC_CLK_TCK")


def base36(number):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text.rjust(8, "0")


def multiplied(texts, old, count):
    """Copies the objects of one task for many tasks, with other ids, uids, users and times."""
    for number in range(count):
        user = f"user{number // OWN}"
        moment = f"2026-01-{1 + number % 28:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000000"
        new = {
            old["task"]: base36(number + 1),
            old["job"]: str(uuid.UUID(int=(1 << 96) + number)),
            old["pod"]: str(uuid.UUID(int=(2 << 96) + number)),
            old["moment"]: moment,
            "template-owner@example.com": f"{user}@example.com",
            "template-owner-example.com": f"{user}-example.com",
        }
        pattern = re.compile("|".join(re.escape(text) for text in new))
        for text in texts:
            yield pattern.sub(lambda match: new[match.group(0)], text)


class Server:
    """One connection of a user to our server."""

    def __init__(self, port, user=USER):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.headers = {"X-User": user}

    def ask(self, method, path, body=None):
        headers = {**self.headers, "Content-Type": "application/json"} if body is not None else self.headers
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        text = response.read()
        assert response.status == 200, (path, response.status, text[:300])
        return json.loads(text)


def milliseconds(values):
    return statistics.median(values) * 1000


def timed(command, env=None):
    """The time of a whole process in seconds, with little of Python's own time."""
    program = shutil.which(command[0])
    quiet = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_WRONLY, 0) for stream in (1, 2)]
    start = time.monotonic()
    child = os.posix_spawn(program, command, env or os.environ, file_actions=quiet)
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - start
    assert status == 0, command
    return seconds


def wrk(url, connections, seconds=4):
    """Requests a second, and the p99 in ms."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"X-User: {USER}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text, text
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


class Bench:
    def __init__(self, directory, world, kubernetes, start):
        self.directory, self.world, self.kubernetes, self.start = directory, world, kubernetes, start
        self.results = {}

    def show(self, name, text, **numbers):
        self.results[name] = {key: round(value, 3) for key, value in numbers.items()}
        print(text, flush=True)

    def cold_start(self, count):
        """Starts a server: the time until it is ready, its memory, and the slowest `GET /` meanwhile."""
        began = time.monotonic()
        server = self.start()
        slowest = 0
        while True:
            asked = time.monotonic()
            root = subprocess.run(["curl", "-s", "--max-time", "5", f"{self.world.url}/"], capture_output=True)
            if root.returncode == 0:
                slowest = max(slowest, time.monotonic() - asked)
                if subprocess.run(["curl", "-sf", f"{self.world.url}/readyz"], capture_output=True).returncode == 0:
                    break
            assert time.monotonic() - began < 120
        ready = time.monotonic() - began
        time.sleep(1)
        resident, peak = memory(server), memory(server, "VmHWM")
        self.show(
            f"start_{count}",
            f"{count} tasks: ready after {ready:.2f} s (under 5), `GET /` meanwhile {slowest * 1000:.0f} ms at most; resident "
            f"{resident / 1e6:.1f} MB (under 100), peak {peak / 1e6:.1f} MB (under 200)",
            seconds=ready, resident=resident, peak=peak, root=slowest,
        )
        return server

    def reads(self, count):
        """The list of one user and one task by id; returns the times in ms with a Python client."""
        server = Server(self.world.port)
        tasks = server.ask("GET", "/tasks")["tasks"]
        assert len(tasks) == OWN, len(tasks)
        each = {"list": [], "status": []}
        for _ in range(7):
            for name, path in [("list", "/tasks"), ("status", f"/tasks/{tasks[7]['task_id']}")]:
                rounds = []
                for _ in range(300):
                    start = time.monotonic()
                    server.ask("GET", path)
                    rounds.append(time.monotonic() - start)
                each[name].append(milliseconds(rounds))
        # The minimum, because other load on the machine makes some rounds slower.
        each = {name: min(rounds) for name, rounds in each.items()}
        self.show(f"reads_{count}", f"{count} tasks: list of {OWN} {each['list']:.3f} ms, status by id {each['status']:.3f} ms", **each)
        return each

    def command(self):
        """`jobs list` as a whole process, compared with curl and kubectl."""
        binary = os.path.realpath(sys.argv[1])
        env = {**self.world.env, "K8S_CLI_API_URL": self.world.url}
        config = os.path.join(self.directory, "k8s-cli")
        os.makedirs(config, exist_ok=True)
        json.dump({"username": USER}, open(os.path.join(config, "user.json"), "w"))
        os.chmod(os.path.join(config, "user.json"), 0o600)
        ours, curl, helps, kubectl = [], [], [], []
        for _ in range(60):
            ours.append(timed([binary, "jobs", "list"], env))
            curl.append(timed(["curl", "-s", "-H", f"X-User: {USER}", f"{self.world.url}/tasks"]))
            helps.append(timed([binary, "--version"], env))
        label = USER.replace("@", "-")
        get = ["kubectl", "--kubeconfig", self.kubernetes.kubeconfig, "-n", self.kubernetes.namespace, "get", "jobs", "-l", f"username={label}"]
        for _ in range(8 if shutil.which("kubectl") else 0):
            kubectl.append(timed(get))
        ratio = statistics.median(ours) / statistics.median(curl)
        slower = statistics.median(kubectl) / statistics.median(ours) if kubectl else float("nan")
        self.show(
            "command",
            f"`jobs list`, whole process: {milliseconds(ours):.1f} ms, curl {milliseconds(curl):.1f}, ratio {ratio:.2f} (at most 1.5); kubectl get jobs "
            f"-l {milliseconds(kubectl or [0]):.0f} ms, {slower:.0f} x (at least 30); start alone {milliseconds(helps):.1f} ms (under 3)",
            ratio=ratio, kubectl=slower, start=milliseconds(helps),
        )

    def rate(self):
        """Lists a second over 8 connections, compared with a handler that answers with the same bytes."""
        url = f"{self.world.url}/tasks"
        body = subprocess.run(["curl", "-s", "-H", f"X-User: {USER}", url], check=True, capture_output=True).stdout
        static = f"{self.world.url}/bench/static"
        put = ["curl", "-sf", "-X", "PUT", "--data-binary", "@-", "-H", "Content-Type: application/octet-stream", static]
        subprocess.run(put, input=body, check=True)
        assert subprocess.run(["curl", "-s", static], check=True, capture_output=True).stdout == body
        rounds = [(wrk(url, 8), wrk(static, 8)) for _ in range(3)]
        ours = statistics.median(ours[0] for ours, _ in rounds)
        theirs = statistics.median(theirs[0] for _, theirs in rounds)
        p99, static_p99 = (statistics.median(row[i][1] for row in rounds) for i in (0, 1))
        self.show(
            "rate",
            f"`GET /tasks`, {len(body)} bytes, 8 connections: {ours:.0f}/s, static {theirs:.0f}/s, ratio {ours / theirs:.2f} (at least 0.6); p99 "
            f"{p99:.2f} ms (under 5), static {static_p99:.2f}",
            ours=ours, static=theirs, ratio=ours / theirs, p99=p99, static_p99=static_p99,
        )

    def list_all(self, count):
        """The list of all tasks, compared with kubectl's list of the same Jobs."""
        url = f"{self.world.url}/tasks?all_users=true"
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total} %{size_download}", "-H", f"X-User: {USER}", url]
        rows = [subprocess.run(ask, check=True, capture_output=True, text=True).stdout.split() for _ in range(9)]
        first, total = (statistics.median(float(row[i]) for row in rows) for i in (0, 1))
        raw = f"{self.kubernetes.path('jobs')}?labelSelector=skypilot-task%3Dtrue"
        # kubectl takes the whole path, which begins with a token in the sandbox.
        prefix = "/" + self.kubernetes.url.split("/", 3)[3] if self.kubernetes.url.count("/") > 2 else ""
        get = ["kubectl", "--kubeconfig", self.kubernetes.kubeconfig, "get", "--raw", prefix + raw]
        if not shutil.which("kubectl"):
            get = [*self.kubernetes.curl, self.kubernetes.url + raw]
        kubectl = [timed(get) for _ in range(3)]
        ratio = statistics.median(kubectl) / total
        self.show(
            "everybody",
            f"all {count} tasks, {int(rows[0][2]) / 1e6:.1f} MB: {total * 1000:.0f} ms, first byte {first * 1000:.1f} ms (under 20); "
            f"{get[0]} of the same Jobs {milliseconds(kubectl):.0f} ms, {ratio:.0f} x (at least 20)",
            total=total, first=first, ratio=ratio,
        )

    def submit(self):
        """Submitting tasks, compared with posting the same Jobs without this program."""
        server = Server(self.world.port, "submitter")
        submit, user = f"{self.world.url}/tasks/submit", ["--header", "X-User: submitter"]
        # The task stays pending, so that the cost of running it is not measured.
        task = {"name": "bench", "run": "true", "resources": {"cpus": 5000}}

        def job(answer, number):
            manifest = json.dumps(answer["manifests"][number])
            identity = re.search(r'"task-id": ?"(\w{8})"', manifest).group(1)
            return json.loads(manifest.replace(identity, base36(36**7 + time.monotonic_ns() % 36**7)))

        def key(_):
            return ["--header", f"Idempotency-Key: {uuid.uuid4()}"]

        ours, keyed, bare, relayed = [], [], [], []
        for number in range(8):
            jobs = [job(server.ask("POST", "/tasks/submit?dry_run=true", task), 0) for _ in range(22)]
            # The first request of each opens the connection and is not counted.
            both = [(ours, lambda _: []), (keyed, key)]
            # Neither is always the first, since each submit adds to the work of the next.
            for times, own in both if number % 2 else reversed(both):
                times += post_all(submit, [task] * 11, self.directory, 1, user, own)[1][1:]
            bare += self.kubernetes.post_all("jobs", jobs[:11], self.directory, 1)[1][1:]
            relayed += self.kubernetes.post_all("jobs", jobs[11:], self.directory, 1, self.world.relay())[1][1:]
        ratio = statistics.median(ours) / statistics.median(bare)
        self.show(
            "submit_1",
            f"submit, 1 node: {milliseconds(ours):.2f} ms, bare POST {milliseconds(bare):.2f}, ratio {ratio:.2f} (at most 1.3); bare POST through a "
            f"relay {milliseconds(relayed):.2f}",
            ours=milliseconds(ours), bare=milliseconds(bare), relay=milliseconds(relayed), ratio=ratio,
        )
        cost = (statistics.median(keyed) / statistics.median(ours) - 1) * 100
        self.show("key", f"submit with an Idempotency-Key: {milliseconds(keyed):.2f} ms, {cost:+.1f} % (under 5)", percent=cost)
        ours, bare = [], []
        task["num_nodes"] = 256
        for _ in range(3):
            answer = server.ask("POST", "/tasks/submit?dry_run=true", task)
            ours.append(post_all(submit, [task], self.directory, 1, user)[0])
            server.ask("POST", "/tasks/stop")
            text = json.dumps([answer["manifests"][number] for number in range(256)])
            identity = re.search(r'"task-id": ?"(\w{8})"', text).group(1)
            jobs = json.loads(text.replace(identity, base36(36**7 + time.monotonic_ns() % 36**7)))
            bare.append(self.kubernetes.post_all("jobs", jobs, self.directory, 16)[0])
            server.ask("POST", "/tasks/stop")
        ratio = statistics.median(ours) / statistics.median(bare)
        self.show(
            "submit_256",
            f"submit, 256 nodes: {milliseconds(ours):.0f} ms, the same Jobs by curl, 16 at once {milliseconds(bare):.0f}, ratio {ratio:.2f} (at most 1.3)",
            ours=milliseconds(ours), bare=milliseconds(bare), ratio=ratio,
        )
        server.ask("POST", "/tasks/stop")

    def scrape(self, count):
        """The metrics of all tasks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.world.port)
        times = []
        for _ in range(200):
            start = time.monotonic()
            connection.request("GET", "/metrics")
            text = connection.getresponse().read()
            times.append(time.monotonic() - start)
        assert b"k8s_cli_tasks{" in text, text[:300]
        self.show("scrape", f"a scrape with {count} tasks: {milliseconds(times):.2f} ms (under 10)", ms=milliseconds(times))

    def counting(self):
        """The rate of `GET /tasks` beside that of a server that counts no requests."""
        counted = self.world.url
        os.environ["K8S_CLI_BENCH_UNCOUNTED"] = self.world.env["K8S_CLI_BENCH_UNCOUNTED"] = "1"
        process = self.start()
        self.world.wait_for(lambda: subprocess.run(["curl", "-sf", f"{self.world.url}/readyz"], capture_output=True).returncode == 0)
        del os.environ["K8S_CLI_BENCH_UNCOUNTED"], self.world.env["K8S_CLI_BENCH_UNCOUNTED"]
        rounds = [(wrk(f"{counted}/tasks", 8)[0], wrk(f"{self.world.url}/tasks", 8)[0]) for _ in range(5)]
        process.terminate()
        process.wait()
        self.world.url, self.world.port = counted, int(counted.rsplit(":", 1)[1])
        cost = (1 - statistics.median(ours / theirs for ours, theirs in rounds)) * 100
        self.show("counting", f"metrics cost `GET /tasks` {cost:.1f} % of its rate (under 3)", percent=cost)

    def changes(self):
        """The delay of a change in `GET /tasks/{id}` after the event of a bare watch."""
        server = Server(self.world.port)
        tasks = server.ask("GET", "/tasks")["tasks"]
        names = {task["metadata"]["job_name"]: task["task_id"] for task in tasks}
        listed = self.kubernetes.ask("GET", f"{self.kubernetes.path('jobs')}?limit=1")
        version = listed["metadata"]["resourceVersion"]
        watch = [*self.kubernetes.curl, "-N", f"{self.kubernetes.url}{self.kubernetes.path('jobs')}?watch=1&resourceVersion={version}"]
        seen = {}

        def read(stream):
            for line in stream:
                now = time.monotonic()
                event = json.loads(line)
                seen.setdefault(event["object"]["metadata"]["name"], now)

        process = subprocess.Popen(watch, stdout=subprocess.PIPE)
        reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
        reader.start()
        time.sleep(0.5)
        delays = []
        change = {"metadata": {"annotations": {"k8s-cli/task-name": "changed"}}}
        for name, task in names.items():
            path = f"{self.kubernetes.path('jobs')}/{name}"
            patch = threading.Thread(target=self.kubernetes.ask, args=("PATCH", path, change, "application/merge-patch+json"))
            patch.start()
            while server.ask("GET", f"/tasks/{task}")["name"] != "changed":
                pass
            now = time.monotonic()
            patch.join()
            self.world.wait_for(lambda: name in seen)
            delays.append((now - seen[name]) * 1000)
        process.kill()
        delays.sort()
        p99 = delays[len(delays) * 99 // 100]
        self.show(
            "changes",
            f"{len(delays)} changes, from a bare watch to `GET /tasks/{{id}}`: median {statistics.median(delays):.1f} ms, p99 {p99:.1f} ms (under 100)",
            p99=p99,
        )

    def idle(self, server, seconds=20):
        def used():
            fields = open(f"/proc/{server.pid}/stat").read().rsplit(") ", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / HZ

        before = used()
        time.sleep(seconds)
        share = (used() - before) / seconds * 100
        self.show("idle", f"idle: {share:.2f} % of a core (under 1)", percent=share)

    def many(self, server, count):
        """The measurements that are made once, with many tasks."""
        self.idle(server)
        self.command()
        self.rate()
        self.counting()
        self.scrape(count)
        self.list_all(count)
        self.submit()
        self.changes()


def in_sandbox(directory, counts):
    template = World(directory)
    template.server()
    template.cli("auth", "login", "template-owner@example.com")
    task = template.submit("true")
    template.wait_for_status(task, "completed")
    kubernetes = template.kubernetes
    objects = {}
    for kind, plural in [("Job", "jobs"), ("Pod", "pods")]:
        items = kubernetes.ask("GET", f"{kubernetes.path(plural)}?labelSelector=task-id%3D{task}")["items"]
        objects[kind] = {"apiVersion": "v1", "kind": kind, **items[0]}
    template.stop()
    old = {
        "task": task,
        "job": objects["Job"]["metadata"]["uid"],
        "pod": objects["Pod"]["metadata"]["uid"],
        "moment": objects["Job"]["metadata"]["annotations"]["created-at"],
    }
    texts = [json.dumps(value) for value in objects.values()]
    results, reads, resident = {}, {}, {}
    for count in counts:
        path = os.path.join(directory, "objects")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in multiplied(texts, old, count))
        world = World(directory, "--sandbox-objects", path)
        bench = Bench(directory, world, world.kubernetes, world.server)
        try:
            server = bench.cold_start(count)
            resident[count] = memory(server)
            reads[count] = bench.reads(count)
            if count == 10000:
                bench.many(server, count)
        finally:
            world.stop()
        results.update(bench.results)
    if len(counts) > 1:
        few, many = min(counts), max(counts)
        middle = 10000 if 10000 in counts and many > 10000 else few
        each = (resident[many] - resident[middle]) / (many - middle)
        growth = {name: reads[many][name] / reads[few][name] for name in reads[few]}
        print(
            f"from {few} to {many} tasks: list x {growth['list']:.2f}, status x {growth['status']:.2f} (within 1.5); memory of each further "
            f"task {each / 1000:.2f} KB (under 2)"
        )
        results["growth"] = {**growth, "bytes": each}
    return results


def on_cluster(directory, count):
    namespace = f"k8s-cli-bench-{os.getpid()}"
    kubernetes = Kubernetes(os.environ["KUBECONFIG"], namespace, directory)
    world = World.on_cluster(directory, kubernetes)
    bench = Bench(directory, world, kubernetes, world.server)
    try:
        world.server()
        template = Server(world.port, "template-owner@example.com")
        job = template.ask("POST", "/tasks/submit?dry_run=true", {"run": "true"})["manifests"][0]
        # `parallelism: 0` creates no pods. A cluster before 1.21 cannot suspend a Job.
        job["spec"]["parallelism"] = 0
        old = {"task": job["metadata"]["labels"]["task-id"], "job": "no-uid", "pod": "no-uid-either"}
        old["moment"] = job["metadata"]["annotations"]["created-at"]
        jobs = [json.loads(text) for text in multiplied([json.dumps(job)], old, count)]
        for first in range(0, count, 1000):
            kubernetes.post_all("jobs", jobs[first : first + 1000], directory, 16)
        world.stop()
        server = bench.cold_start(count)
        bench.reads(count)
        bench.many(server, count)
    finally:
        world.leave_cluster()
    return bench.results


def main():
    counts = [int(count) for count in sys.argv[2:]]
    with tempfile.TemporaryDirectory() as directory:
        if os.environ.get("KUBECONFIG"):
            results = on_cluster(directory, *(counts or [10000]))
        else:
            results = in_sandbox(directory, counts or [1000, 10000, 50000])
    print(json.dumps({"tasks": results}))


main()
