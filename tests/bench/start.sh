#!/usr/bin/env bash
# Measures the start, the memory and the client: start.sh BINARY. It prints numbers and does not fail on them.
set -euo pipefail
bin=$(realpath "$1")
work=$(mktemp -d)
export XDG_CONFIG_HOME=$work/config
cd "$work"
finish() {
  kill "$server" 2>/dev/null && wait "$server" || true
  rm -rf "$work"
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# The median and the largest of the numbers on stdin.
summary() { sort -n | awk '{v[NR]=$1} END {printf "median %.1f ms, worst %.1f ms of %d\n", v[int((NR+1)/2)], v[NR], NR}'; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
start=$(milliseconds)
"$bin" serve --sandbox --port "$port" >announced 2>log &
server=$!
trap finish EXIT
until curl -sf "$url/" >/dev/null; do :; done
echo "serve --sandbox answers GET / after: $(($(milliseconds) - start)) ms (under 200)"
rss() { awk '/^VmRSS/ {printf "%.1f MB", $2 / 1024}' "/proc/$server/status"; }
echo "idle server, resident: $(rss) (under 40)"
echo "binary, stripped: $(stat -c %s "$bin" | awk '{printf "%.1f MB", $1 / 1000000}') (under 20)"

export K8S_CLI_API_URL=$url
"$bin" auth login bench 2>/dev/null
printf "run: 'true'\n" >task.yaml
for _ in $(seq 100); do "$bin" jobs submit --detach task.yaml >/dev/null; done
until [ "$("$bin" jobs list | cut -f 3 | grep -c completed)" = 100 ]; do sleep 0.1; done
each() { # runs a command 50 times and prints each time in ms
  for _ in $(seq 50); do
    local before; before=$(date +%s%N)
    "$@" >/dev/null
    echo $((($(date +%s%N) - before) / 1000)) | awk '{print $1 / 1000}'
  done
}
echo "jobs list, 100 tasks, whole process: $(each "$bin" jobs list | summary) (under 15)"
echo "curl of the same: $(each curl -s -H 'X-User: bench' "$url/tasks" | summary)"
echo "jobs --help, whole process: $(each "$bin" jobs --help | summary)"
echo "server with 100 tasks, resident: $(rss)"
