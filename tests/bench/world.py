"""What the benches have in common: servers, and what they are asked."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

BINARY = os.path.realpath(sys.argv[1])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class World:
    """A sandbox in one process, and servers on it in others, as it would be with a cluster."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.processes = []
        self.env = {**os.environ, "HOME": directory, "XDG_CONFIG_HOME": directory}
        self.env.pop("KUBECONFIG", None)
        log = self.start_server(["--sandbox", *options], self.env)
        self.kubeconfig = self.wait_for(lambda: re.search(r"KUBECONFIG=(\S+)", open(log).read())).group(1)
        self.kubernetes = re.search(r'"?server"?: *"?([^\s",]+)', open(self.kubeconfig).read()).group(1)
        self.sandbox = self.processes[0]

    def start_server(self, options, env, limit=None):
        port = free_port()
        log = os.path.join(self.directory, f"log-{port}")
        command = [BINARY, "serve", "--port", str(port), *options]
        if limit:
            command = ["bash", "-c", f'ulimit -n {limit} && exec "$@"', "bash", *command]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=open(log, "w"))
        self.processes.append(process)
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.wait_for(lambda: self.is_up(port))
        return log

    def server(self, limit=None):
        """A server on the sandbox, in a process of its own."""
        self.start_server(["--host", "127.0.0.1"], {**self.env, "KUBECONFIG": self.kubeconfig}, limit)
        self.cli("auth", "login", "bench")
        return self.processes[-1]

    def is_up(self, port):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    def wait_for(self, condition, seconds=300):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.02)
        sys.exit("bench: waited in vain")

    def cli(self, *args):
        env = {**self.env, "K8S_CLI_API_URL": self.url}
        return subprocess.run([BINARY, *args], env=env, check=True, capture_output=True, text=True).stdout

    def submit(self, run, num_nodes=1, resources="{cpus: 0.001, memory: 0.001}"):
        path = os.path.join(self.directory, "task.yaml")
        with open(path, "w") as file:
            json.dump({"num_nodes": num_nodes, "run": run}, file)
            file.write("\n")
        text = open(path).read().strip()[:-1] + f', "resources": {resources}}}\n'
        open(path, "w").write(text)
        return self.cli("jobs", "submit", "--detach", path).strip()

    def status(self, task):
        return json.loads(self.cli("jobs", "status", task, "-o", "json"))

    def wait_for_status(self, task, wanted):
        return self.wait_for(lambda: (status := self.status(task))["status"] == wanted and status)

    def pods(self, task):
        return [node["pod_name"] for node in self.status(task)["metadata"]["nodes"]]

    def curl(self, pod, *query):
        url = f"{self.kubernetes}/api/v1/namespaces/default/pods/{pod}/log?" + "&".join(("container=task", *query))
        return ["curl", "-sSN", url]

    def logs(self, task, *options):
        return [BINARY, "jobs", "logs", task, *options]

    def seconds(self, *commands):
        """How long commands take that run at the same time, and how many bytes they print."""
        env = {**self.env, "K8S_CLI_API_URL": self.url}
        counts = []

        def count(stream):
            total = 0
            while chunk := stream.read(1 << 20):
                total += len(chunk)
            counts.append(total)

        start = time.monotonic()
        threads = []
        for command in commands:
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
            thread = threading.Thread(target=count, args=(process.stdout,))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        return time.monotonic() - start, sum(counts)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


def memory(process, field="VmRSS"):
    """In bytes."""
    status = open(f"/proc/{process.pid}/status").read()
    return int(re.search(rf"{field}:\s+(\d+)", status).group(1)) * 1024
