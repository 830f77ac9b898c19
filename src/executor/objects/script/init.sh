#!/bin/bash
# The first process of a task's container: runs `setup` and `run`, passes a stop signal on to the processes of the container, waits
# for them, and ends with the exit code of the script. bash reaps the orphans that a container's first process inherits.
#
# Arguments: the working directory (empty: that of the image), the names of the task's variables, `shell.sh`, `setup` (empty: none),
# `run`, and perhaps `nodes.sh`. Without the last ones, they stand in files of these names in /.k8s-cli. The names of all variables and functions here begin
# with k8s_; none of them is exported.
#
# The script is not the first process itself, because the kernel drops the signals that a process 1 sends to itself, and those for
# which it has no handler: `kill -TERM $$` would do nothing, and a stop would reach no program.
#
# Comments and indentation are removed before the container gets this text.

# Not empty: a stop signal has come.
k8s_stopping=
# The kernel drops a signal that comes before this line.
trap k8s_stopping=1 TERM INT QUIT
# Not empty: this is process 1, so that all other processes in /proc are of this container.
k8s_own=
[ "$$" = 1 ] && k8s_own=1
# The process of the shell that runs `setup` or `run`, and its exit code.
k8s_child='' k8s_code=0
# Not empty: a signal has interrupted the wait for it.
k8s_signaled=
# Not empty at the index of a process: it has been told to stop; it was held back when the others were told.
k8s_told=() k8s_held=()
# At the index of a process that another one has fed: for how many lists nothing does any more.
k8s_fed=()
# So many lists later, a process has had the time to read what was left in its pipe.
k8s_patience=10
# The names in the Secret of a task are those of its first attempt.
case ${SKYPILOT_NUM_RESTARTS:-0}:$SKYPILOT_NODE_IPS in
  0:* | *-try*) ;;
  *:node-0.task-*)
    k8s_try=-try$((SKYPILOT_NUM_RESTARTS + 1))
    SKYPILOT_NODE_IPS=${SKYPILOT_NODE_IPS//$'\n'/$k8s_try$'\n'}$k8s_try
    ;;
esac
exec {k8s_out}>&1 {k8s_err}>&2
# Only a trap writes to this pipe, so that a read with a timeout is a sleep without a process.
exec {k8s_never}<> <(:)

k8s_shells=(bash sh dash ash busybox)
# The descriptors that shells open beside the usual ones.
k8s_others=({3..9} {60..63})

k8s_sleep() { read -rt "$1" -u "$k8s_never" _; }

# Whether process $1 has one of the names that follow.
k8s_is_called() {
  local name
  { read -r name <"/proc/$1/comm"; } 2>/dev/null || return 1
  shift
  # NB: a `return` without a number has the status of the command before the trap.
  case " $* " in *" $name "*) return 0 ;; esac
  return 1
}

# Whether another process than $1 can still write to the pipe at its descriptor $2, by one of the descriptors that follow.
k8s_is_written() {
  local pipe=/proc/$1/fd/$2 reader=$1 pid fd flags
  shift 2
  for pid in "${!k8s_parents[@]}"; do
    [ "$pid" != "$reader" ] || continue
    for fd; do
      [ "$pipe" -ef "/proc/$pid/fd/$fd" ] || continue
      { read -r _ && read -r _ flags; } <"/proc/$pid/fdinfo/$fd" 2>/dev/null || continue
      # An octal number: 1 is for writing, and 2 for reading and writing.
      case $flags in *[1256]) return 0 ;; esac
    done
  done
  return 1
}

# Whether another process can still write to the pipe from which process $1 reads, as the parts of a shell's pipe do. A pipe to a program
# from the one that has started it does not count.
k8s_is_fed() {
  local parent=${k8s_parents[$1]} fds=(1 2)
  [ -p "/proc/$1/fd/0" ] || return 1
  if [ -n "${k8s_parents[parent]}" ] && [ "/proc/$1/fd/0" -ef "/proc/$parent/fd/0" ]; then
    k8s_is_fed "$parent"
    return $?
  fi
  # `exec 3> >(filter)`, and the files of `tee >(filter)`.
  k8s_is_called "$parent" "${k8s_shells[@]}" && fds+=("${k8s_others[@]}")
  k8s_is_written "$1" 0 "${fds[@]}"
}

# Whether process $1 is a shell that waits for the output of another one, as in `$(...)` and with `coproc`.
k8s_substitutes() {
  local fd
  k8s_is_called "$1" "${k8s_shells[@]}" || return 1
  for fd in "${k8s_others[@]}"; do
    [ -p "/proc/$1/fd/$fd" ] && k8s_is_written "$1" "$fd" 1 2 && return 0
  done
  return 1
}

# Whether process $1 is to be told later than others: another one still feeds it, and it has to print what that one says, or it is a
# filter, which ends when its pipe does. Those that `timeout` runs are told by it.
k8s_is_held() {
  local leader=${k8s_groups[$1]}
  if k8s_substitutes "$1"; then
    return 0
  elif k8s_is_called "${k8s_parents[$1]}" timeout || { [ "$leader" != "$1" ] && k8s_is_called "$leader" timeout; }; then
    return 0
  elif k8s_is_fed "$1"; then
    k8s_fed[$1]=0
  elif [ -n "${k8s_fed[$1]}" ]; then
    k8s_fed[$1]=$((k8s_fed[$1] + 1))
  else
    [ -p "/proc/$1/fd/0" ] && k8s_is_called "$1" tee cat ts sed awk gawk mawk grep tr
    return $?
  fi
  [ "${k8s_fed[$1]}" -lt "$k8s_patience" ]
}

# Sets k8s_programs and k8s_filters to the other processes of the container that have not ended, and k8s_parents and k8s_groups to their
# parents and process groups; a filter is told later than the programs. Where /proc may show strangers, these are the processes of the script's process group.
k8s_list() {
  local path pid stat parent group
  k8s_programs=() k8s_filters=() k8s_parents=() k8s_groups=()
  for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    [ "$pid" != "$$" ] || continue
    { read -r stat <"$path/stat"; } 2>/dev/null || continue
    # The state stands behind the name in parentheses, which may hold anything.
    stat=${stat##*) }
    case $stat in Z* | X*) continue ;; esac
    parent=${stat#* } group=${stat#* * }
    group=${group%% *}
    [ -n "$k8s_own" ] || [ "$group" = "$k8s_child" ] || continue
    k8s_parents[pid]=${parent%% *} k8s_groups[pid]=$group
  done
  for pid in "${!k8s_parents[@]}"; do
    if k8s_is_held "$pid"; then k8s_filters+=("$pid"); else k8s_programs+=("$pid"); fi
  done
}

k8s_tell() {
  local pid
  for pid; do k8s_told[pid]=1; done
  [ $# = 0 ] || kill -TERM "$@"
}

# Passes a stop signal on as SIGTERM.
k8s_stop() {
  local pid
  k8s_signaled=1 k8s_stopping=1
  k8s_list
  for pid in "${k8s_filters[@]}"; do k8s_held[pid]=1; done
  k8s_tell "${k8s_programs[@]}"
  # A read within a trap takes the timeout of the one that the signal has interrupted (bash 5.2), so this line ends k8s_sleep.
  echo >&"$k8s_never"
}

# After a stop: waits for the programs, and then for their filters. A pipe ends from its front.
k8s_wait_for_all() {
  local rounds=0 pid
  while :; do
    k8s_list
    # Those that were held back, and that nothing feeds any more, have to be told, and so has a process that began later, and that no
    # other waits for.
    for pid in "${k8s_programs[@]}"; do
      [ -z "${k8s_told[pid]}" ] || continue
      [ -n "${k8s_held[pid]}" ] || [ -z "${k8s_parents[k8s_parents[pid]]}" ] || continue
      k8s_tell "$pid"
    done
    [ ${#k8s_programs[@]} = 0 ] || rounds=0
    [ ${#k8s_programs[@]} != 0 ] || [ ${#k8s_filters[@]} != 0 ] || return
    # A filter that is still there has a pipe that no end will come from, or two feed each other.
    rounds=$((rounds + 1))
    [ $rounds != $((2 * k8s_patience)) ] || k8s_tell "${k8s_filters[@]}"
    k8s_sleep 0.05
  done
}

# Sets REPLY to how far those processes are that still hold the output of the container. Fails if there are none that can be read.
k8s_progress() {
  local pid line
  REPLY=
  k8s_list
  for pid in "${k8s_programs[@]}" "${k8s_filters[@]}"; do
    [ "/proc/$pid/fd/1" -ef "/proc/$$/fd/$k8s_out" ] || [ "/proc/$pid/fd/2" -ef "/proc/$$/fd/$k8s_err" ] || continue
    { mapfile -t line <"/proc/$pid/io"; } 2>/dev/null || continue
    REPLY+="$pid ${line[*]} "
  done
  [ -n "$REPLY" ]
}

# After the script: gives processes that still print its output, such as that of `exec > >(tee log)`, up to 2 s while they make progress.
k8s_drain() {
  local before turn
  for ((turn = 0; turn < 40; turn++)); do
    k8s_progress || return
    before=$REPLY
    k8s_sleep 0.05
    k8s_progress || return
    [ "$REPLY" != "$before" ] || return
  done
}

# Runs commands in a bash of their own, which reads shell.sh before them, and waits for it.
k8s_run() {
  # The process that writes shell.sh is a child of this one, so that no program of the user has to wait for it.
  exec {k8s_before}< <(printf '%s' "$k8s_shell")
  # The script gets a process group of its own.
  set -m
  (
    # Without this, an asynchronous process of a shell ignores SIGINT and SIGQUIT.
    trap - TERM INT QUIT HUP USR1 USR2 WINCH
    exec </dev/null >&"$k8s_out" 2>&"$k8s_err" {k8s_out}>&- {k8s_err}>&- {k8s_never}<&-
    export K8S_CLI_BASH_ENV=$BASH_ENV K8S_CLI_NAMES=$k8s_names
    export BASH_ENV=/dev/fd/$k8s_before
    exec /bin/bash -c "$1"
  ) &
  k8s_child=$!
  set +m
  exec {k8s_before}<&-
  # A signal may have come just before there was a process to tell.
  [ -z "$k8s_stopping" ] || k8s_stop
  while :; do
    k8s_signaled=
    wait "$k8s_child"
    k8s_code=$?
    [ -n "$k8s_signaled" ] || return
    # The script may wait for programs that were held back.
    k8s_wait_for_all
  done
}

k8s_end() {
  if [ -n "$k8s_stopping" ]; then k8s_wait_for_all; else k8s_drain; fi
  exit "$k8s_code"
}

trap k8s_stop TERM INT QUIT HUP USR1 USR2 WINCH
# `files.sh` stands before this text if files travel with the task. bash imports no function with -p.
declare -F k8s_unpack >/dev/null && k8s_unpack
# A user whom the image does not know has this one.
[ "$HOME" != / ] || [ -w / ] || export HOME=/tmp
# The first case is the working directory of SkyPilot's tasks. The home directory of the user may be in a read-only image.
# shellcheck disable=SC2088 # the name of that directory
case $1 in
  '~/sky_workdir') [ -w ~ ] || export HOME=/tmp; mkdir -p ~/sky_workdir && cd ~/sky_workdir || exit ;;
  ?*) cd -- "$1" || exit ;;
esac
k8s_names=$2
if [ $# = 2 ]; then
  set -- "$1" "$2" "$(</.k8s-cli/shell)" "$(</.k8s-cli/setup)"
  # They may be too long for an argument.
  # shellcheck disable=SC2016 # their own shells read them
  k8s_setup='eval "$(</.k8s-cli/setup)"' k8s_run='eval "$(</.k8s-cli/run)"' k8s_nodes=
  [ ! -e /.k8s-cli/nodes ] || k8s_nodes=$(</.k8s-cli/nodes)
else
  k8s_setup=$4 k8s_run=$5 k8s_nodes=$6
fi
eval "$k8s_nodes"
k8s_shell=$3
# What bash says about its children is not output of the task.
exec >/dev/null 2>&1
[ -z "$k8s_nodes" ] || k8s_find_first
if [ -n "$4" ]; then
  # SkyPilot's names of these variables during `setup` (SkyPilot 0.14.1, sky/skylet/constants.py).
  SKYPILOT_SETUP_NODE_RANK=$SKYPILOT_NODE_RANK SKYPILOT_SETUP_NODE_IPS=$SKYPILOT_NODE_IPS \
    SKYPILOT_SETUP_NUM_GPUS_PER_NODE=$SKYPILOT_NUM_GPUS_PER_NODE k8s_run "$k8s_setup"
  if [ "$k8s_code" != 0 ]; then
    # The termination message of the container.
    printf 'k8s-cli: setup failed' >/dev/termination-log
    k8s_end
  fi
  k8s_code=143
  [ -z "$k8s_stopping" ] || k8s_end
fi
[ -z "$k8s_nodes" ] || k8s_meet
k8s_run "$k8s_run"
k8s_end
