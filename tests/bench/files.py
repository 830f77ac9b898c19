#!/usr/bin/env python3
"""Measures files that travel with tasks, and how nodes begin together: files.py BINARY. It prints numbers and does not fail on them.

Without KUBECONFIG it uses a sandbox, with KUBECONFIG a namespace of that cluster. It compares with tar and gzip, with bare POSTs of the
same objects by curl, and with tasks without files.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from world import Kubernetes, World, memory

NODES = 16


def tree(directory, files, length, words):
    """Files of random words, which gzip shrinks to about a fifth, or of random bytes without words."""
    draw = random.Random(1)
    for number in range(files):
        folder = os.path.join(directory, f"d{number % 50}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"f{number}.txt"), "wb") as file:
            if words:
                text = b" ".join(draw.choice(words) for _ in range(length // 8))
                file.write(text[:length])
            else:
                file.write(draw.randbytes(length))


def milliseconds(seconds):
    return f"{seconds * 1000:.0f} ms"


def submit(world, workdir, run="'true'", num_nodes=1, resources="{}"):
    path = os.path.join(world.directory, "files.yaml")
    with open(path, "w") as file:
        file.write(f"num_nodes: {num_nodes}\nresources: {resources}\nrun: {run}\n")
        if workdir:
            file.write(f"workdir: {workdir}\n")
    start = time.monotonic()
    task = world.cli("jobs", "submit", "--detach", path).strip()
    return task, time.monotonic() - start, path


def requests(log):
    """The last two submissions in the log of the server, the check and the upload: when each ended, and its duration."""
    lines = [line for line in open(log) if ' request method=POST path="/tasks/submit"' in line][-2:]
    found = [re.search(r"time=\S+T(\d+):(\d+):([\d.]+)Z.* ms=(\d+)", line).groups() for line in lines]
    return [(int(h) * 3600 + int(m) * 60 + float(s), int(ms) / 1000) for h, m, s, ms in found]


def packing(world, log, workdir):
    """The time between the check and the upload: the client packs and hashes meanwhile."""
    seconds = []
    for _ in range(5):
        task, _, _ = submit(world, workdir)
        (check, _), (upload, duration) = requests(log)
        seconds.append(upload - duration - check)
        world.cli("jobs", "stop", task)
    tar = f"tar -C {workdir} -c . | gzip -3 | sha256sum"
    start = time.monotonic()
    subprocess.run(["bash", "-c", tar], check=True, capture_output=True)
    print(f"pack and hash 5,000 files, 20 MB: {milliseconds(statistics.median(seconds))} (under 300); tar, gzip -3 and sha256sum: {milliseconds(time.monotonic() - start)}")


def submitting(world, log, workdir):
    """The check and the upload of a task with files, and bare POSTs of the same objects."""
    times = []
    for _ in range(5):
        task, whole, path = submit(world, workdir)
        (_, check), (_, upload) = requests(log)
        world.cli("jobs", "stop", task)
        objects = json.loads(world.cli("jobs", "submit", "--dry-run", "-o", "json", path))["manifests"]
        part = "A" * (900 * 1024 * 4 // 3)
        for index, value in enumerate(objects):
            value["metadata"]["name"] = f"bench-{index}-{random.randrange(10**9)}"
            value["metadata"]["labels"] = {}
            if value["kind"] == "Secret":
                value["data"] = {key: part for key in value["data"]}
        secrets = [value for value in objects if value["kind"] == "Secret"]
        jobs = [value for value in objects if value["kind"] == "Job"]
        for job in jobs:
            job["spec"]["parallelism"] = 0
        posts = world.kubernetes.post_all("jobs", jobs, world.directory, 1)[0]
        posts += world.kubernetes.post_all("secrets", secrets, world.directory, 4)[0]
        times.append((check + upload, posts, whole))
        for value in secrets:
            world.kubernetes.ask("DELETE", f"{world.kubernetes.path('secrets')}/{value['metadata']['name']}")
    served, posts, whole = (statistics.median(column) for column in zip(*times))
    print(f"submit with 4 MB of files: {milliseconds(served)} (whole process, with packing: {milliseconds(whole)}); the POSTs of the same objects: {milliseconds(posts)} (at most 1.5 x)")


def beginning(world, workdir):
    """The time from the submit until the last node begins `run`."""
    task, _, _ = submit(world, workdir, "date +%s.%N", NODES)
    start = time.time()
    lines = world.cli("jobs", "logs", task).splitlines()
    begun = [float(line.rsplit(" ", 1)[1]) for line in lines if re.search(r"\| \d+\.\d+$", line)]
    assert len(begun) == NODES, lines
    world.cli("jobs", "stop", task)
    return max(begun) - start


def meeting(world):
    """The time from the end of the last `setup` until the last node begins `run`."""
    path = os.path.join(world.directory, "meet.yaml")
    with open(path, "w") as file:
        file.write(f"num_nodes: {NODES}\nsetup: sleep $((SKYPILOT_SETUP_NODE_RANK % 3)); date +set=%s.%N\nrun: date +run=%s.%N\n")
    task = world.cli("jobs", "submit", "--detach", path).strip()
    log = world.cli("jobs", "logs", task)
    ends, begins = ([float(time) for time in re.findall(rf"{word}=([0-9.]+)", log)] for word in ("set", "run"))
    assert len(ends) == len(begins) == NODES, log
    world.cli("jobs", "stop", task)
    print(f"{NODES} nodes begin `run` {max(begins) - max(ends):.1f} s after the last `setup` (2)")


def script(world):
    """The time of the script around the commands, before other work of the sandbox takes the machine."""
    path = os.path.join(world.directory, "script.yaml")
    with open(path, "w") as file:
        file.write("run: 'true'\n")
    job = json.loads(world.cli("jobs", "submit", "--dry-run", "-o", "json", path))["manifests"][0]
    container = job["spec"]["template"]["spec"]["containers"][0]
    script = [*container["command"], *(argument.replace("$$", "$") for argument in container["args"])]
    # In a container it is the first process, and sees no others, nor the start files of whoever measures.
    env = {**os.environ, "HOME": world.directory}
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    seconds = {}
    for name, command in (("script", alone + script), ("bash", [*alone, "/bin/bash", "-c", "true"])):
        start = time.monotonic()
        for _ in range(20):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=env)
        seconds[name] = (time.monotonic() - start) / 20
    print(f"the script around `true`: {milliseconds(seconds['script'] - seconds['bash'])} more than bash alone (under 50)")


def server_memory(world, server, workdir):
    """The peak of the server's memory while it takes files of 16 MiB, one at a time and eight."""
    for count in (1, 8):
        idle = memory(server)
        threads = [threading.Thread(target=lambda: world.cli("jobs", "submit", "--detach", path)) for _ in range(count)]
        _, _, path = submit(world, workdir) if count == 1 else (None, None, os.path.join(world.directory, "files.yaml"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"server while it takes {count} x 16 MiB: {(memory(server, 'VmHWM') - idle) / 2**20:.0f} MiB above idle ({idle / 2**20:.0f} MiB)")


def main():
    kubeconfig = os.environ.get("KUBECONFIG")
    with tempfile.TemporaryDirectory() as directory:
        words = [random.Random(number).randbytes(5).hex().encode() for number in range(2000)]
        small, large = os.path.join(directory, "small"), os.path.join(directory, "large")
        tree(small, 5000, 4000, words)
        tree(large, 16, (1 << 20) - 4096, None)
        if kubeconfig:
            kubernetes = Kubernetes(kubeconfig, f"k8s-cli-bench-{os.getpid()}", directory)
            world = World.on_cluster(directory, kubernetes)
        else:
            world = World(directory)
        try:
            options = ["--host", "127.0.0.1", "--namespace", world.kubernetes.namespace, "--files-budget", "1Gi"]
            log = world.start_server(options, {**world.env, "KUBECONFIG": world.kubeconfig})
            server = world.processes[-1]
            world.cli("auth", "login", "bench")
            script(world)
            submit(world, small)
            server_memory(world, server, large)
            packing(world, log, small)
            meeting(world)
            submitting(world, log, small)
            for name, workdir in (("4 MB", small), ("16 MiB", large)):
                without, with_files = beginning(world, None), beginning(world, workdir)
                print(f"{NODES} nodes begin `run` after {without:.1f} s; with {name} of files {with_files - without:.1f} s later (2 for 4 MB)")
        finally:
            world.leave_cluster() if kubeconfig else world.stop()


main()
