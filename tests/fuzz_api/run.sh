#!/usr/bin/env bash
# Sends random requests to the API of a sandbox, as its OpenAPI document describes them: run.sh BINARY [SECONDS] [SEED].
# schemathesis.toml says what is checked and what is left out; hooks.py makes the tasks harmless.
set -euo pipefail
binary=$(realpath "$1")
seconds=${2:-180}
seed=${3:-$(date +%s)}
here=$(realpath "$(dirname "$0")")
work=$(realpath -m "$here/../../target/fuzz-api")

venv=$work/venv
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi

# The files of the sandbox lie here, and its processes run here. A run that was killed has left its directory.
rm -rf "$work"/run.*
dir=$(mktemp -d "$work/run.XXXXXX")
server=
# The processes whose files are those of this run.
own_processes() {
  local link
  for link in /proc/[0-9]*/cwd /proc/[0-9]*/root; do
    case $(readlink "$link" 2>/dev/null) in
      "$dir"*) basename "$(dirname "$link")" ;;
    esac
  done | sort -un
}
finish() {
  local status=$?
  if [ -n "$server" ]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || { echo "fuzz-api: the server ended with $?" >&2; status=1; }
  fi
  local left
  left=$(own_processes)
  if [ -n "$left" ]; then
    # shellcheck disable=SC2086
    echo "fuzz-api: the sandbox has left processes behind:" $left >&2
    # shellcheck disable=SC2086
    kill -KILL $left 2>/dev/null || true
    status=1
  fi
  if compgen -G "$dir/run/*" >/dev/null; then
    echo "fuzz-api: the sandbox has left files behind: $(ls "$dir/run")" >&2
    status=1
  fi
  cp "$dir/log" "$work/server.log" 2>/dev/null || true
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir "$dir/run"
# The server also ends if this script is killed.
(
  cd "$dir"
  exec env XDG_RUNTIME_DIR="$dir/run" HOME="$dir" setpriv --pdeathsig TERM "$binary" serve --sandbox --port 0 --max-nodes 3 --max-tasks 100 \
    --ttl-after-finished 1m >"$dir/out" 2>"$dir/log"
) &
server=$!
url=
while [ -z "$url" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  url=$(sed -n 's/^listening on //p' "$dir/out")
  sleep 0.1
done

"$venv/bin/python" -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' \
  "$url/openapi.json" >"$dir/openapi.json"
"$venv/bin/openapi-spec-validator" "$dir/openapi.json"

echo "fuzz-api: $seconds s with the seed $seed"
fuzz() {
  local time=$1
  shift
  # It keeps what it has found in the working directory, and would begin the next run with that.
  env -C "$dir" PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" run "$url/openapi.json" --max-time "$time" --seed "$seed" "$@"
}
fuzz $((seconds * 2 / 3))
# The bodies of these have far more forms than all other requests.
fuzz $((seconds / 3)) --phases fuzzing --include-path /tasks/submit --include-path /volumes/create
if grep -E 'level=error|panicked' "$dir/log"; then
  echo "fuzz-api: the server has logged errors" >&2
  exit 1
fi
