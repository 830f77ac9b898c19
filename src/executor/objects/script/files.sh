# Unpacks the files of the task. `init.sh` calls k8s_unpack before `setup`.
#
# The program sets k8s_roots before this text: the directories of the archive that are used, `home` and `root`.
#
# Comments and indentation are removed before the container gets this text.

# Says why the task cannot run, in its log and as the termination message of the container, and ends.
k8s_refuse() {
  echo "k8s-cli: $1" >&2
  printf 'k8s-cli: files: %s' "$1" >/dev/termination-log
  exit 1
}

k8s_unpack() {
  local tool root to said
  # The user of the container may have no home directory, or one in a read-only image.
  [ -w ~ ] || export HOME=/tmp
  for tool in cat gzip tar; do
    type -P $tool >/dev/null || k8s_refuse "the files of the task cannot be unpacked: the image has no $tool"
  done
  # shellcheck disable=SC2154 # the program sets it
  for root in $k8s_roots; do
    to=~
    [ "$root" = home ] || to=/
    # They get the time at which they are unpacked: the archive has none.
    said=$(set -o pipefail; { cat /.k8s-cli-files/* | gzip -dc | tar -C "$to" -xmpf - --strip-components=1 "$root"; } 2>&1) ||
      k8s_refuse "the files of the task cannot be unpacked to $to: ${said%%$'\n'*}"
  done
  [ -z "$k8s_stopping" ] || exit 143
}
