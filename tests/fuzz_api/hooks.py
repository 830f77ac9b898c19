"""Makes the requests of schemathesis harmless and short: the sandbox runs tasks as processes of this machine.

- Scripts are one of SCRIPTS, and no other field names a command. What leaves for POST /tasks/submit is checked once more.
- Logs are not followed, lists are not watched, and waits are short: these answers end with the task, or never. The end-to-end tests
  have them.
- Most requests come from few users, and about half of those about a task or a volume name one that was made, so that not all end
  with 404.
"""

import itertools
import json
import re
from urllib.parse import urlsplit

import requests
import requests.adapters
import schemathesis

SCRIPTS = ["true", "echo hello", "seq 100", "sleep 0.5", "exit 3"]
# Fields of a pod or a container that name commands.
COMMANDS = {"command", "args", "exec", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
USERS = ["ada", "ada", "ada", "bob", "Ada Lovelace <ada@example.com>"]
MOST_NODES = 3
# The number of tasks and of volumes that requests can be about.
ENOUGH = 5
TRUE = ("true", "True", "1")

ID = re.compile("[a-z0-9]{8}")

turns = itertools.count()
# The newest tasks and volumes, with their users.
made = {"task_id": {}, "volume_id": {}}


def harmless(value):
    """The same JSON value without commands that the table does not have."""
    if isinstance(value, list):
        return [harmless(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: harmless(item) for key, item in value.items() if key not in COMMANDS}
    for key in {"run", "setup"} & kept.keys():
        if isinstance(kept[key], str) and kept[key].strip() and kept[key] not in SCRIPTS:
            kept[key] = SCRIPTS[len(kept[key]) % len(SCRIPTS)]
    nodes = kept.get("num_nodes")
    if isinstance(nodes, int) and nodes > MOST_NODES:
        kept["num_nodes"] = 1 + nodes % MOST_NODES
    return kept


def is_harmless(value):
    return harmless(value) == value


def short(values, name, default, change):
    """Changes a value of a query or a form, or each of several. A value that is refused stays."""
    if not isinstance(values, dict):
        return
    value = values.get(name)
    if name not in values:
        if default is not None:
            values[name] = default
    elif isinstance(value, list):
        values[name] = [change(item) for item in value]
    else:
        values[name] = change(value)


def is_duration(value):
    return isinstance(value, str) and value[:1].isdigit() or value == "forever" or isinstance(value, int)


def make(case, kind, turn):
    """Makes a task or a volume, unless there are enough."""
    if len(made[kind]) >= ENOUGH:
        return
    user = USERS[turn % len(USERS)]
    if kind == "task_id":
        path, body = "/tasks/submit", {"run": SCRIPTS[turn % len(SCRIPTS)], "num_nodes": 1 + turn % MOST_NODES}
    else:
        path, body = "/volumes/create", {"name": f"made-{turn}", "size": "1Gi"}
    url = case.operation.schema.get_base_url().rstrip("/") + path
    answer = requests.post(url, json=body, headers={"X-User": user}, timeout=20)
    if answer.ok:
        made[kind][answer.json()[kind]] = user


def existing(case, kind, given, turn):
    """An id for a request, and the user who makes it. An id that was made, and what is no id, is not changed."""
    known = made[kind]
    if not isinstance(given, str) or not ID.fullmatch(given):
        return given, None
    make(case, kind, turn)
    if given not in known and known and turn % 2:
        given = list(known)[turn % len(known)]
        # Sometimes it is the wrong user.
        return given, known[given] if turn % 7 else "eve"
    return given, known.get(given)


@schemathesis.hook
def after_call(context, case, response):
    """Notes what a request has made, and what does not exist any more."""
    for kind in made.keys() & (case.path_parameters or {}).keys():
        given = case.path_parameters[kind]
        if response.status_code == 404 and made[kind].get(str(given)) == case.headers.get("X-User"):
            made[kind].pop(given, None)
    if response.status_code != 200 or case.operation.path not in ("/tasks/submit", "/volumes/create"):
        return
    answer = response.json()
    for kind in answer.keys() & made.keys():
        known = made[kind]
        known[answer[kind]] = case.headers["X-User"]
        # Older ones are deleted soon.
        if len(known) > 20:
            del known[next(iter(known))]


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    if path.endswith("/logs"):
        values = case.query if case.method in ("GET", "HEAD") else case.body
        short(values, "follow", "false", lambda value: "false" if str(value) in TRUE else value)
        short(values, "wait", None, lambda value: "1s" if is_duration(value) else value)
    if path == "/tasks":
        short(case.query, "watch", None, lambda value: "false" if str(value) in TRUE else value)
    if path == "/tasks/wait":
        short(case.query, "timeout", "1s", lambda value: "1s" if is_duration(value) else value)
    if path == "/tasks/submit":
        for values in (case.query, case.body):
            short(values, "array", None, lambda value: 1 + value % MOST_NODES if isinstance(value, int) else value)
    if path == "/tasks/submit" and isinstance(case.body, (dict, list)):
        case.body = harmless(case.body)
    turn = next(turns)
    # The others keep the user that was made up, if there is one.
    user = USERS[turn % len(USERS)] if turn % 10 < 8 else None
    for kind in made.keys() & (case.path_parameters or {}).keys():
        case.path_parameters[kind], owner = existing(case, kind, case.path_parameters[kind], turn)
        user = owner or user
    if path == "/tasks/wait" and isinstance((case.query or {}).get("id"), list):
        ids = [existing(case, "task_id", given, turn) for given in case.query["id"]]
        case.query["id"] = [given for given, _ in ids]
        user = next((owner for _, owner in ids if owner), user)
    if user:
        case.headers = {**(case.headers or {}), "X-User": user}


send = requests.adapters.HTTPAdapter.send


def checked_send(self, request, *args, **kwargs):
    """Sends a request that submits nothing but harmless tasks."""
    if urlsplit(request.url).path.endswith("/tasks/submit") and request.body:
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        for part in [body, *(part.split(b"\r\n--")[0] for part in body.split(b"\r\n\r\n")[1:])]:
            try:
                value = json.loads(part)
            except ValueError:
                continue
            assert is_harmless(value), f"a task that was not made harmless: {value}"
    return send(self, request, *args, **kwargs)


requests.adapters.HTTPAdapter.send = checked_send
