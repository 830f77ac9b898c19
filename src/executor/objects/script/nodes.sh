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

k8s_end_if_stopped() {
  [ -z "$k8s_stopping" ] || { k8s_code=143; k8s_end; }
}

# Looks these names up once; fails if one is unknown, or after 5 s. An image that cannot resolve names is no failure.
k8s_look() {
  local until=$((SECONDS + 5)) pid resolve=(getent hosts)
  if ! type -P getent >/dev/null; then
    resolve=(python3 -SEc 'import socket, sys; [socket.getaddrinfo(name, None) for name in sys.argv[1:]]')
    type -P python3 >/dev/null || return 0
  fi
  "${resolve[@]}" "$@" </dev/null >/dev/null 2>&1 &
  pid=$!
  # A look-up without a name server takes long.
  while kill -0 "$pid" 2>/dev/null && [ -z "$k8s_stopping" ] && [ "$SECONDS" -lt "$until" ]; do k8s_sleep 0.005; done
  kill -KILL "$pid" 2>/dev/null && return 1
  wait "$pid"
}

k8s_say_unknown() { echo "k8s-cli: $* cannot be resolved after 30 s, going on" >&"$k8s_err"; }

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

# Before `setup`: finds rank 0, whose pod may start last.
k8s_find_first() {
  local until=$((SECONDS + 30)) name=node-0.$k8s_domain
  k8s_name_itself
  until k8s_look "$name"; do
    k8s_end_if_stopped
    [ "$SECONDS" -lt "$until" ] || { k8s_say_unknown "$name"; break; }
    k8s_sleep 0.2
  done
}

# Before `run`: finds the other nodes, and waits for them. The name of a node is gone when it has ended, so each looks for the others
# before any of them may begin: it says that it is ready when it has found all, or after 30 s, and goes on looking while it waits.
k8s_meet() {
  local until=$((SECONDS + 30)) start rank names=("node-0.$k8s_domain" "node-$NODE_RANK.$k8s_domain") found='' ready=''
  if [ "$NUM_NODES" -le 64 ]; then
    names=()
    for ((rank = 0; rank < NUM_NODES; rank++)); do names+=("node-$rank.$k8s_domain"); done
  fi
  while :; do
    [ -n "$found" ] || ! k8s_look "${names[@]}" || found=1
    k8s_end_if_stopped
    if [ -z "$ready" ] && { [ -n "$found" ] || [ "$SECONDS" -ge "$until" ]; }; then
      ready=1
      : >"$k8s_start/node/ready"
    fi
    [ -z "$ready" ] || { read -r start <"$k8s_start/task/start"; } 2>/dev/null
    case $start in
      now) break ;;
      now\ *) echo "k8s-cli: ${start#now }" >&"$k8s_err"; break ;;
    esac
    k8s_sleep 0.1
  done
  # The last node may have come during the last look-up.
  [ -n "$found" ] || k8s_look "${names[@]}" || k8s_say_unknown "${names[@]}"
}
