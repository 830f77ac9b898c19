#!/usr/bin/env python3
"""Measures logs: logs.py BINARY [one|sixteen|delay|viewers|nodes]. It prints numbers and does not fail on them.

With KUBECONFIG it measures throughput on that cluster. Every number is compared with curl, which reads the same log from the
Kubernetes API in the same run. The unit of throughput is MB of log text a second, without timestamps.
"""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from world import Kubernetes, World, memory

MEGABYTES = 200
# A kubelet may rotate the log of a running container every 10 s, and only the newest file can be read.
MEGABYTES_ON_CLUSTER = 40
LINE = 100
ROUNDS = 3


def connections(process, port):
    """The connections of a process to a port of this machine."""
    files = f"/proc/{process.pid}/fd"
    inodes = set()
    for name in os.listdir(files):
        try:
            if match := re.match(r"socket:\[(\d+)\]", os.readlink(f"{files}/{name}")):
                inodes.add(match.group(1))
        except FileNotFoundError:
            pass
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return sum(row[9] in inodes and int(row[2].split(":")[1], 16) == port and row[3] == "01" for row in rows)


def written_task(bench, nodes, lines):
    """A task that has written this number of lines on each node, none of them rotated away, and its pods."""
    text = "x" * (LINE - 12)
    for _ in range(10):
        task = bench.submit(f"yes {text} | head -n {lines} | awk '{{printf \"%010d %s\\n\", NR, $0}}'", nodes)
        bench.wait_for_status(task, "completed")
        pods = bench.pods(task)
        if bench.seconds(*(bench.curl(pod) for pod in pods))[1] == lines * nodes * LINE:
            return task, pods
        bench.cli("jobs", "stop", task)
    sys.exit("bench: the logs are rotated away before they can be read")


def throughput(bench, nodes, megabytes):
    """Our throughput and curl's, in turns, on a log that is complete."""
    lines = megabytes * 1_000_000 // LINE // nodes
    task, pods = written_task(bench, nodes, lines)
    rates = {"ours": [], "curl": [], "curl_with_times": [], "relay": []}
    prefix = len("node-10 | ") if nodes > 1 else 0

    def rate(name, *commands):
        seconds, size = bench.seconds(*commands)
        rates[name].append(lines * nodes * LINE / 1e6 / seconds)
        return size

    for _ in range(ROUNDS):
        size = rate("ours", bench.logs(task))
        assert lines * nodes * LINE <= size <= lines * nodes * (LINE + prefix), size
        rate("curl", *(bench.curl(pod) for pod in pods))
        rate("curl_with_times", *(bench.curl(pod, "timestamps=true") for pod in pods))
        # The upper limit for a server that can resume a log: the same bytes through a process that only forwards them.
        rate("relay", *([*bench.curl(pod, "timestamps=true"), *bench.relay()] for pod in pods))
    bench.cli("jobs", "stop", task)
    return {name: statistics.median(values) for name, values in rates.items()}


def delays(bench):
    """The delay of a line from the pod to the reader, in ms: ours and curl's, for the same pod at the same time."""
    task = bench.submit("while :; do date +%s.%N; sleep 0.005; done")
    bench.wait_for_status(task, "running")
    pod = bench.pods(task)[0]
    env = {**bench.env, "K8S_CLI_API_URL": bench.url}
    results = {}

    def measure(name, command):
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, bufsize=0)
        seen = []
        rest = b""
        first = time.time() + 1
        while len(seen) < 1500:
            chunk = os.read(process.stdout.fileno(), 65536)
            now = time.time()
            *whole, rest = (rest + chunk).split(b"\n")
            # Lines from before the reader started are skipped.
            seen += [(now - float(line)) * 1000 for line in whole if float(line) > first]
        process.kill()
        results[name] = sorted(seen)

    threads = [
        threading.Thread(target=measure, args=("ours", bench.logs(task))),
        threading.Thread(target=measure, args=("curl", bench.curl(pod, "follow=true"))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.cli("jobs", "stop", task)
    return results


def viewers(bench, server, count=500):
    """The memory of the server for a viewer of a quiet task, in bytes, and its connections to Kubernetes."""
    task = bench.submit("echo ready; sleep 1000", 2)
    bench.wait_for_status(task, "running")
    kubernetes = int(re.search(r":(\d+)", bench.kubernetes.url.split("//")[1]).group(1))

    def view():
        viewer = socket.create_connection(("127.0.0.1", bench.port))
        request = f"GET /tasks/{task}/logs HTTP/1.1\r\nHost: localhost\r\nX-User: bench\r\nAccept: application/x-ndjson\r\n\r\n"
        viewer.sendall(request.encode())
        seen = b""
        while seen.count(b'"text":"ready"') < 2:
            seen += viewer.recv(65536)
        return viewer

    first = [view() for _ in range(10)]
    time.sleep(1)
    before, before_connections = memory(server), connections(server, kubernetes)
    more = [view() for _ in range(count)]
    time.sleep(1)
    each = (memory(server) - before) / count
    after_connections = connections(server, kubernetes)
    for viewer in first + more:
        viewer.close()
    bench.cli("jobs", "stop", task)
    return each, before_connections, after_connections


def many_nodes(bench, server, count=2000):
    """Follows a task of many nodes; returns the time until a line of every node has come, and the server's open files."""
    task = bench.submit('echo "ready $NODE_RANK"; sleep 1000', count)
    env = {**bench.env, "K8S_CLI_API_URL": bench.url}
    start = time.monotonic()
    errors = os.path.join(bench.directory, "errors")
    process = subprocess.Popen(bench.logs(task), env=env, stdout=subprocess.PIPE, stderr=open(errors, "w"))
    nodes = set()
    while len(nodes) < count:
        line = process.stdout.readline().decode()
        if not line:
            sys.exit("bench: the log of many nodes ended: " + open(errors).read()[-500:])
        nodes.add(line.split(" ")[0])
    seconds = time.monotonic() - start
    time.sleep(3)
    files = len(os.listdir(f"/proc/{server.pid}/fd"))
    process.kill()
    bench.cli("jobs", "stop", task)
    return seconds, files, memory(server)


def main():
    only = set(sys.argv[2:])
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = os.environ.get("KUBECONFIG")
        if kubeconfig:
            only = only or {"one", "sixteen"}
            namespace = f"k8s-cli-bench-{os.getpid()}"
            bench = World.on_cluster(directory, Kubernetes(kubeconfig, namespace, directory))
        else:
            bench = World(directory)
        try:
            server = bench.server()
            result = {}
            megabytes = MEGABYTES_ON_CLUSTER if kubeconfig else MEGABYTES

            def show(name, text, **numbers):
                result[name] = {key: round(value, 2) for key, value in numbers.items()}
                print(text, flush=True)

            for name, nodes, wanted in [("one", 1, 0.9), ("sixteen", 16, 0.8)]:
                if only and name not in only:
                    continue
                rates = throughput(bench, nodes, megabytes)
                ours = rates["ours"]
                ratios = {name: ours / rate for name, rate in rates.items()}
                show(
                    name,
                    f"logs of {nodes} pod(s), {megabytes} MB written: {ours:.0f} MB/s, curl {rates['curl']:.0f}, ratio "
                    f"{ratios['curl']:.2f} (at least {wanted}); curl with times {rates['curl_with_times']:.0f}, ratio "
                    f"{ratios['curl_with_times']:.2f}; curl with times through a relay {rates['relay']:.0f}, ratio {ratios['relay']:.2f}",
                    **rates, ratio=ratios["curl"],
                )
            if not only or "delay" in only:
                lines = delays(bench)
                p99 = {who: values[len(values) * 99 // 100] for who, values in lines.items()}
                p50 = {who: values[len(values) // 2] for who, values in lines.items()}
                show(
                    "delay",
                    f"delay of a line: median {p50['ours']:.1f} ms, p99 {p99['ours']:.1f} ms; curl {p50['curl']:.1f} and "
                    f"{p99['curl']:.1f} ms; added at p99 {p99['ours'] - p99['curl']:.1f} ms (under 10)",
                    ours_p99=p99["ours"], curl_p99=p99["curl"],
                )
            if not only or "viewers" in only:
                # A new server, because free memory of an earlier one would be reused.
                server = bench.server()
                each, before, after = viewers(bench, server)
                show(
                    "viewers",
                    f"500 viewers of a quiet task: {each / 1000:.0f} KB each (under 100); connections to Kubernetes {before} "
                    f"with 10 viewers, {after} with 510",
                    bytes_each=each, connections_10=before, connections_510=after,
                )
            if not only or "nodes" in only:
                server = bench.server(limit=4096)
                seconds, files, resident = many_nodes(bench, server)
                show(
                    "nodes",
                    f"2,000 nodes in one task: a line of each after {seconds:.0f} s, {files} open files (ulimit -n 4096), "
                    f"{resident / 1e6:.0f} MB resident",
                    seconds=seconds, files=files, resident=resident,
                )
            print(json.dumps({"logs": result}))
        finally:
            bench.leave_cluster() if kubeconfig else bench.stop()


main()
