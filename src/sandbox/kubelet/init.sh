# Makes the view that a pod's container has of the file system, and becomes the main process of the container: process 1 of its
# namespace, as on a cluster.
#
# Arguments: steps (a word and its operands, see below), `--`, the working directory, the program, and the command line
# that starts it. Standard input is a pipe to the kubelet, which wants one line: started, missing or failed, and why.
# Variables start with k8s_ so that they do not overwrite the container's.
exec 3>&0 </dev/null
k8s_fail() { echo "failed $1" >&3; exit 128; }
k8s_try() { k8s_error=$("$@" 2>&1) || k8s_fail "$k8s_error"; }
# The view of /proc is still that of the kubelet, so this is the process id that the kubelet knows.
read -r k8s_pid k8s_rest </proc/self/stat
k8s_path=$PATH
PATH=/usr/sbin:/usr/bin:/sbin:/bin
while [ "$1" != -- ]; do
  case $1 in
    tmpfs) k8s_try mount -t tmpfs -o "mode=$2" tmpfs "$3"; shift 3 ;;
    bind) k8s_try mount --rbind -- "$2" "$3"; shift 3 ;;
    readonly)
      # Flags that the mount already has may not be dropped by an ordinary user, so they are named in turn.
      mount -o remount,bind,ro -- "$2" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev -- "$2" 2>/dev/null \
        || k8s_try mount -o remount,bind,ro,nosuid,nodev,noexec -- "$2"
      shift 2 ;;
    dir) k8s_try mkdir -p -- "$2"; shift 2 ;;
    file) [ -e "$2" ] || : >"$2" || k8s_fail "$2"; shift 2 ;;
    link) k8s_try ln -s -- "$2" "$3"; shift 3 ;;
    proc) mount -t proc proc "$2" 2>/dev/null; shift 2 ;;
    root)
      cd "$2" || k8s_fail "$2"
      k8s_try pivot_root . .
      k8s_try umount -l .
      cd / || k8s_fail /
      shift 2 ;;
    # Programs that close every file there could be take long if there could be many.
    files) ulimit -S -n "$2" 2>/dev/null; shift 2 ;;
    hostname) hostname "$2" 2>/dev/null; shift 2 ;;
    *) k8s_fail "unknown step $1" ;;
  esac
done
shift
[ -d "$1" ] || k8s_try mkdir -p -- "$1"
cd -- "$1" || k8s_fail "$1"
PATH=$k8s_path
k8s_found=
case $2 in
  */*) [ -e "$2" ] && k8s_found=$2 ;;
  *)
    k8s_list=$PATH:
    while [ -n "$k8s_list" ] && [ -z "$k8s_found" ]; do
      [ -x "${k8s_list%%:*}/$2" ] && [ ! -d "${k8s_list%%:*}/$2" ] && k8s_found=${k8s_list%%:*}/$2
      k8s_list=${k8s_list#*:}
    done ;;
esac
[ -n "$k8s_found" ] || { echo missing >&3; exit 128; }
[ -x "$k8s_found" ] && [ ! -d "$k8s_found" ] || { echo denied >&3; exit 128; }
shift 2
echo "started $k8s_pid" >&3
exec "$@" 3>&-
