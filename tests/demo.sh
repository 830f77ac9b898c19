#!/usr/bin/env bash
# The tour of `make demo`: demo.sh BINARY. Ends with 0 if every step succeeds.
set -euo pipefail
bin=$(realpath "$1")
work=$(mktemp -d)
export XDG_CONFIG_HOME=$work/config
cd "$work"

finish() {
  kill "$server" 2>/dev/null && wait "$server" || true
  rm -rf "$work"
}
say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
k8s-cli() {
  printf '\033[2m$ k8s-cli %s\033[0m\n' "$*" >&2
  "$bin" "$@"
}

say "A server and a sandbox cluster, in one process"
"$bin" serve --sandbox --port 0 >announced 2>log &
server=$!
trap finish EXIT
until grep -q '^listening on ' announced; do
  kill -0 "$server" 2>/dev/null || { cat log >&2; exit 1; }
  sleep 0.05
done
export K8S_CLI_API_URL=$(sed -n 's/^listening on //p' announced)
cat announced

say "Log in"
k8s-cli auth login ada

say "A volume"
volume=$(k8s-cli volumes create data 1Gi --access-modes ReadWriteMany)
k8s-cli volumes list -o table

say "A task: two nodes that write to the volume"
cat >task.yaml <<'YAML'
name: tour
num_nodes: 2
volumes:
  /data: data
run: |
  echo "node $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES was here" | tee "/data/$SKYPILOT_NODE_RANK"
YAML
cat task.yaml
say "Submit it and follow its log"
task=$(k8s-cli jobs submit --detach task.yaml)
k8s-cli jobs logs "$task"
k8s-cli jobs list -o table
k8s-cli jobs status "$task" -o table

say "Another task reads the files, and runs until it is stopped"
cat >reader.yaml <<'YAML'
name: reader
volumes:
  /data: data
run: |
  cat /data/*
  sleep 1000
YAML
reader=$(k8s-cli jobs submit --detach reader.yaml)
k8s-cli jobs logs "$reader" >reader.log &
logs=$!
until [ "$(wc -l <reader.log)" = 2 ]; do
  kill -0 "$logs" 2>/dev/null || { echo "demo: the log ended too early" >&2; exit 1; }
  sleep 0.05
done
cat reader.log
k8s-cli jobs stop "$reader"
code=0; wait "$logs" || code=$?
[ "$code" = 103 ] || { echo "demo: the log of a stopped task ended with $code, not 103" >&2; exit 1; }

say "Cleaning up"
k8s-cli jobs stop "$task"
until k8s-cli volumes delete "$volume" --force 2>refused; do
  grep -q 'is in use' refused || { cat refused >&2; exit 1; }
  sleep 0.2
done
k8s-cli jobs list
k8s-cli volumes list
say "Done. The program is $bin. To go on, type:"
cat <<END
$bin serve --sandbox &
$bin auth login $(id -un)
echo 'run: echo hello' | $bin jobs submit -
END
