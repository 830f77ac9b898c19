# What the nodes of a task do together: each waits until the names of the others can be resolved, and none begins `run` before all have
# ended `setup`. `init.sh` reads this text behind a line that sets k8s_domain, the subdomain of the nodes, and calls k8s_find_first
# before `setup` and k8s_meet before `run`. Neither returns after a stop signal.
#
# The barrier: the node makes a file, which the startup probe of its container looks for. The server sees that all nodes have made
# theirs, and changes an annotation of each pod, which the pod sees as a file.
#
# Comments and indentation are removed before the container gets this text.
#
# shellcheck disable=SC2034,SC2154 # variables of init.sh

k8s_start=/.k8s-cli-start
# Each attempt of the task has a domain of its own: see `objects/attempt.rs`.
[ "${SKYPILOT_NUM_RESTARTS:-0}" = 0 ] || k8s_domain+=-try$((SKYPILOT_NUM_RESTARTS + 1))

k8s_end_if_stopped() {
  [ -z "$k8s_stopping" ] || { k8s_code=143; k8s_end; }
}

# Whether a name can be resolved, within 2 s: a lost question is better asked again. An image that cannot resolve names is no failure.
# The pauses are counted, not the time: where the machine stands still or is slow, the question has the same chance.
k8s_resolves() {
  local pauses=0 pause=0.005 pid resolve=(getent hosts)
  if ! type -P getent >/dev/null; then
    resolve=(python3 -SEc 'import socket, sys; socket.getaddrinfo(sys.argv[1], None)')
    type -P python3 >/dev/null || return 0
  fi
  RES_OPTIONS='timeout:1 attempts:1' "${resolve[@]}" "$1" </dev/null >/dev/null 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && [ -z "$k8s_stopping" ] && [ "$pauses" -lt 40 ]; do
    k8s_sleep "$pause"
    pause=0.05 pauses=$((pauses + 1))
  done
  kill -KILL "$pid" 2>/dev/null && return 1
  wait "$pid"
}

# Takes names out of k8s_names, from the front, as far as they can be resolved; fails if some are left. So many nodes that wait for
# one do not ask for all names again and again.
k8s_look() {
  while [ ${#k8s_names[@]} -gt 0 ]; do
    k8s_resolves "${k8s_names[0]}" || return
    k8s_names=("${k8s_names[@]:1}")
  done
}

k8s_say_unknown() { echo "k8s-cli: ${k8s_names[0]} cannot be resolved after 30 s, going on" >&"$k8s_err"; }

# A node finds its own name without a name server. The kubelet writes only the name with the domain of the cluster to /etc/hosts.
k8s_name_itself() {
  local line address='' name=node-$NODE_RANK.$k8s_domain
  while read -r line; do
    case " ${line//$'\t'/ } " in
      *" $name "*) return ;;
      *" $name."*) address=${line%%[[:space:]]*} ;;
    esac
  done </etc/hosts
  [ -z "$address" ] || { echo "$address $name" >>/etc/hosts; } 2>/dev/null
}

# Before `setup`: finds rank 0, whose pod may start last. It gives up when it has looked once more after 30 s, because they may have
# passed while nothing ran.
k8s_find_first() {
  local until=$((SECONDS + 30)) late='' pause=1
  k8s_names=("node-0.$k8s_domain")
  k8s_name_itself
  until k8s_look; do
    k8s_end_if_stopped
    [ -z "$late" ] || { k8s_say_unknown; break; }
    [ "$SECONDS" -lt "$until" ] || late=1
    k8s_sleep "0.$pause"
    [ "$pause" -gt 4 ] || pause=$((pause * 2))
  done
}

# Before `run`: finds the other nodes, and waits for them. The name of a node is gone when it has ended, so each looks for the others
# before any of them may begin: it says that it is ready when it has found all, or has looked once more after 30 s, and goes on
# looking while it waits.
k8s_meet() {
  local until=$((SECONDS + 30)) late='' start rank ready='' turn=0 look=0 pause=1
  k8s_names=("node-0.$k8s_domain" "node-$NODE_RANK.$k8s_domain")
  if [ "$NUM_NODES" -le 64 ]; then
    k8s_names=()
    # Each begins with the next one, so that not all ask for the same name at once.
    for ((rank = 0; rank < NUM_NODES; rank++)); do k8s_names+=("node-$(((NODE_RANK + rank) % NUM_NODES)).$k8s_domain"); done
  fi
  while :; do
    if [ "$turn" -ge "$look" ]; then
      [ "$SECONDS" -lt "$until" ] || late=1
      if k8s_look || [ -n "$late" ]; then ready=1; fi
      look=$((turn + pause))
      [ "$pause" -gt 4 ] || pause=$((pause * 2))
    fi
    turn=$((turn + 1))
    k8s_end_if_stopped
    if [ -n "$ready" ]; then
      [ -e "$k8s_start/node/ready" ] || : >"$k8s_start/node/ready"
      { read -r start <"$k8s_start/task/start"; } 2>/dev/null
    fi
    case $start in
      now) break ;;
      now\ *) echo "k8s-cli: ${start#now }" >&"$k8s_err"; break ;;
    esac
    k8s_sleep 0.1
  done
  # The last node may have come during the last look-up.
  k8s_look || k8s_say_unknown
}
