"""The parts that the benchmarks share: starting servers, and requests to them and to Kubernetes."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

BINARY = os.path.realpath(sys.argv[1])
RELAY = os.path.join(os.path.dirname(__file__), "relay.py")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def post_all(url, objects, directory, concurrency, options, own=lambda number: []):
    """Posts objects with one curl over `concurrency` persistent connections, with `own` further options of each; returns the seconds
    for all and for each."""
    config = os.path.join(directory, "posts")
    with open(config, "w") as file:
        for number, value in enumerate(objects):
            body = f"{config}-{number}"
            json.dump(value, open(body, "w"))
            file.write("next\n" if number else "")
            file.write(f'url = "{url}"\nheader = "Content-Type: application/json"\ndata = "@{body}"\n')
            file.write('output = "/dev/null"\nwrite-out = "%{http_code} %{time_total}\\n"\n')
            all_options = [*options, *own(number)]
            for option, value in zip(all_options[::2], all_options[1::2]):
                file.write(f'{option[2:]} = "{value}"\n')
    many = ["-Z", "--parallel-immediate", "--parallel-max", str(concurrency)] if concurrency > 1 else []
    start = time.monotonic()
    answer = subprocess.run(["curl", "-sS", *many, "-K", config], check=True, capture_output=True, text=True).stdout
    seconds = time.monotonic() - start
    rows = [line.split() for line in answer.splitlines()]
    assert len(rows) == len(objects) and all(code in ("200", "201") for code, _ in rows), answer[:500]
    return seconds, [float(row[1]) for row in rows]


class Kubernetes:
    """Requests to the API server without this program."""

    def __init__(self, kubeconfig, namespace, directory):
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        view = ["kubectl", "--kubeconfig", kubeconfig, "config", "view", "--raw", "--minify", "-o", "json"]
        if shutil.which("kubectl"):
            config = json.loads(subprocess.run(view, check=True, capture_output=True).stdout)
        else:
            config = json.load(open(kubeconfig))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = cluster["server"]
        self.curl = ["curl", "-sS"]
        options = {"--cacert": (cluster, "certificate-authority"), "--cert": (user, "client-certificate"), "--key": (user, "client-key")}
        for option, (section, name) in options.items():
            path = section.get(name)
            if data := section.get(f"{name}-data"):
                path = os.path.join(directory, name)
                with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    file.write(base64.b64decode(data))
            self.curl += [option, path] if path else []

    def path(self, plural):
        group = "/api/v1" if plural in ("pods", "namespaces", "secrets") else "/apis/batch/v1"
        return f"{group}/namespaces/{self.namespace}/{plural}"

    def ask(self, method, path, body=None, content="application/json"):
        command = [*self.curl, "-X", method, self.url + path]
        if body is not None:
            command += ["-H", f"Content-Type: {content}", "-d", json.dumps(body)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    def post_all(self, plural, objects, directory, concurrency, options=()):
        """Posts objects; see [post_all]."""
        return post_all(self.url + self.path(plural), objects, directory, concurrency, [*self.curl[2:], *options])


class World:
    """A sandbox in one process, and servers in other processes, as with a real cluster."""

    relayed = None

    def __init__(self, directory, *options):
        self.directory = directory
        self.processes = []
        self.env = {**os.environ, "HOME": directory, "XDG_CONFIG_HOME": directory}
        self.env.pop("KUBECONFIG", None)
        log = self.start_server(["--sandbox", *options], self.env)
        self.kubeconfig = self.wait_for(lambda: re.search(r"KUBECONFIG=(\S+)", open(log).read())).group(1)
        self.kubernetes = Kubernetes(self.kubeconfig, "default", directory)
        self.sandbox = self.processes[0]
        # Thousands of such pods can be scheduled. The sandbox does not enforce their requests.
        self.resources = "{cpus: 0.001, memory: 0.001}"

    @classmethod
    def on_cluster(cls, directory, kubernetes):
        """The same with a real cluster, in a new namespace."""
        world = cls.__new__(cls)
        world.directory, world.processes, world.kubernetes = directory, [], kubernetes
        world.kubeconfig, world.resources = kubernetes.kubeconfig, "{}"
        world.env = {**os.environ, "HOME": directory, "XDG_CONFIG_HOME": directory}
        kubernetes.ask("POST", "/api/v1/namespaces", {"metadata": {"name": kubernetes.namespace}})
        accounts = f"/api/v1/namespaces/{kubernetes.namespace}/serviceaccounts"
        world.wait_for(lambda: kubernetes.ask("GET", accounts)["items"])
        return world

    def leave_cluster(self):
        self.stop()
        self.kubernetes.ask("DELETE", f"/api/v1/namespaces/{self.kubernetes.namespace}")

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
        """A server on the cluster, in a process of its own."""
        options = ["--host", "127.0.0.1", "--namespace", self.kubernetes.namespace]
        self.start_server(options, {**self.env, "KUBECONFIG": self.kubeconfig}, limit)
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

    def submit(self, run, num_nodes=1):
        path = os.path.join(self.directory, "task.yaml")
        with open(path, "w") as file:
            json.dump({"num_nodes": num_nodes, "run": run}, file)
            file.write("\n")
        text = open(path).read().strip()[:-1] + f', "resources": {self.resources}}}\n'
        open(path, "w").write(text)
        return self.cli("jobs", "submit", "--detach", path).strip()

    def status(self, task):
        return json.loads(self.cli("jobs", "status", task, "-o", "json"))

    def wait_for_status(self, task, wanted):
        def has_come():
            status = self.status(task)
            if status["status"] == "failed":
                sys.exit(f"bench: the task failed: {status['reason']}")
            return status["status"] == wanted and status

        return self.wait_for(has_come)

    def pods(self, task):
        return [node["pod"] for node in self.status(task)["metadata"]["nodes"]]

    def curl(self, pod, *query):
        kubernetes = self.kubernetes
        url = f"{kubernetes.url}{kubernetes.path('pods')}/{pod}/log?" + "&".join(("container=task", *query))
        return [*kubernetes.curl, "-N", url]

    def relay(self):
        """Options for curl to reach Kubernetes through a process that only forwards bytes."""
        if not self.relayed:
            address = self.kubernetes.url.split("//")[1].split("/")[0]
            port = free_port()
            self.processes.append(subprocess.Popen([sys.executable, RELAY, str(port), address]))
            self.wait_for(lambda: self.is_up(port))
            self.relayed = ["--connect-to", f"{address}:127.0.0.1:{port}"]
        return self.relayed

    def logs(self, task, *options):
        return [BINARY, "jobs", "logs", task, *options]

    def seconds(self, *commands):
        """The seconds for commands that run at the same time, and the number of bytes that they print."""
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
    """The memory of a process in bytes."""
    status = open(f"/proc/{process.pid}/status").read()
    return int(re.search(rf"{field}:\s+(\d+)", status).group(1)) * 1024
