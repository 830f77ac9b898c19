# Makes the bash that runs `setup` or `run` the shell that SkyPilot gives them (SkyPilot 0.14.1, sky/skylet/log_lib.py,
# make_task_bash_script). `init.sh` names this text in BASH_ENV, so that bash reads it before the commands, and the lines that bash
# counts are those of the user.
#
# Environment: K8S_CLI_BASH_ENV is the user's own BASH_ENV, and K8S_CLI_NAMES names the variables of the task. All names here begin
# with k8s_ and are gone when the commands begin, but for the exported functions.
#
# Comments and indentation are removed before the container gets this text.

k8s_from=${BASH_ENV##*/}
if [ -n "$K8S_CLI_BASH_ENV" ]; then BASH_ENV=$K8S_CLI_BASH_ENV; else unset BASH_ENV; fi
k8s_names=$K8S_CLI_NAMES
unset K8S_CLI_BASH_ENV K8S_CLI_NAMES
exec {k8s_from}<&-
# SkyPilot's shell is interactive, so aliases have an effect there.
shopt -s expand_aliases

# Root needs no sudo, and many images have none, but task files call it.
if ! type -P sudo >/dev/null; then
  # shellcheck disable=SC2317 # the script calls it
  sudo() {
    if [ "$EUID" != 0 ]; then
      echo "sudo: the image has no sudo, and the container does not run as root: use an image that has what this command installs" >&2
      return 127
    fi
    while [ $# != 0 ]; do
      case $1 in
        --) shift; break ;;
        -u | -g | --user | --group)
          if [ "$2" != root ] && [ "$2" != 0 ]; then
            echo "sudo: the image has no sudo, so no command can run as $2" >&2
            return 127
          fi
          shift 2
          ;;
        -C | -D | -R | -T | -p) shift 2 ;;
        -*) shift ;;
        [A-Za-z_]*=*) local -x "${1?}"; shift ;;
        *) break ;;
      esac
    done
    "$@"
  }
  export -f sudo
fi

# Installs a program that the script calls, if the default image lacks it.
# shellcheck disable=SC2317 # bash calls it
command_not_found_handle() {
  local package='' manager='' output='' lock=${TMPDIR:-/tmp}/.k8s-cli-install try line=${BASH_LINENO[0]}
  case $1 in
    bc | bzip2 | cmake | curl | file | git | git-lfs | jq | less | lsof | make | patch | rsync | screen | tmux | tree | unzip | vim | \
      wget | zip) package=$1 ;;
    c++ | g++) package=g++ ;;
    cc | gcc) package=gcc ;;
    free | pgrep | pkill | ps | top | uptime | watch) package=procps ;;
    scp | sftp | ssh | ssh-add | ssh-agent | ssh-keygen | ssh-keyscan) package=openssh-client ;;
  esac
  if [ -n "$package" ] && [ "${K8S_CLI_INSTALL:-0}" = 1 ]; then
    for manager in apt-get apk microdnf none; do type -P $manager >/dev/null && break; done
    case $manager-$package in
      apt-get-gcc) package='gcc libc6-dev' ;;
      apk-gcc | apk-g++) package="$package musl-dev" ;;
      microdnf-g++) package=gcc-c++ ;;
      microdnf-procps) package=procps-ng ;;
      microdnf-openssh-client) package=openssh-clients ;;
      none-*) output='the image has no apt-get, apk or microdnf' ;;
    esac
    [ "$EUID" = 0 ] || output='the container does not run as root' manager=none
    # One at a time, and not for ever after one that was killed.
    for ((try = 0; try < 60; try++)); do
      if [ $manager = none ] || [ ! -w "${lock%/*}" ] || mkdir "$lock" 2>/dev/null; then break; fi
      sleep 1
    done
    if [ $manager != none ] && ! type -P "$1" >/dev/null; then
      echo "k8s-cli: installing $1 with $manager, since the image lacks it" >&2
      case $manager in
        apt-get) manager="apt-get update && apt-get install -y --no-install-recommends ca-certificates $package" ;;
        apk) manager="apk add --no-cache ca-certificates $package" ;;
        microdnf) manager="microdnf install -y $package" ;;
      esac
      output=$(DEBIAN_FRONTEND=noninteractive timeout 60 sh -c "$manager" 2>&1 </dev/null) && output= ||
        output="it took longer than a minute, or failed: ${output##*$'\n'}"
    fi
    rmdir "$lock" 2>/dev/null
    hash -r
    if type -P "$1" >/dev/null; then
      "$@"
      return
    fi
    echo "k8s-cli: $1 could not be installed ($output): name an image that has it in \`image_id\`, or with \`serve --default-image\`" >&2
  fi
  echo "$0: line $line: $1: command not found" >&2
  return 127
}
export -f command_not_found_handle

if [ -r ~/.bashrc ]; then
  # The variables of the task win over those of the file.
  # shellcheck disable=SC2086 # a list of names
  [ -z "$k8s_names" ] || k8s_variables=$(declare -p $k8s_names 2>/dev/null)
  k8s_text=$(<~/.bashrc)
  k8s_prompt=${PS1+set}
  # Debian and Ubuntu begin the file with a guard: it returns unless $- has an i, or PS1 is set. An interactive bash would change exit
  # codes, history expansion and signals, so the guard is defeated instead.
  PS1='$ '
  # shellcheck disable=SC1090 # a file of the container
  . <(printf '%s\n' "${k8s_text//\$-/himBHs}")
  [ -n "$k8s_prompt" ] || unset PS1 PS2 PROMPT_COMMAND
  eval "${k8s_variables-}"
fi
# `conda activate` is a function of the shell.
if ! declare -F conda >/dev/null; then
  k8s_conda=$(type -P conda) || :
  for k8s_path in "${k8s_conda%/*/conda}" ~/miniconda3 ~/miniforge3 ~/anaconda3 /opt/conda; do
    if [ -n "$k8s_path" ] && [ -r "$k8s_path/etc/profile.d/conda.sh" ]; then
      # shellcheck disable=SC1091 # a file of the container
      . "$k8s_path/etc/profile.d/conda.sh"
      break
    fi
  done
fi
if [ -n "${BASH_ENV-}" ] && [ -r "$BASH_ENV" ]; then
  # shellcheck disable=SC1090 # a file of the user
  . "$BASH_ENV"
fi
unset k8s_from k8s_names k8s_variables k8s_text k8s_prompt k8s_conda k8s_path
