#!/bin/sh
# First process of a throw-away machine (machine.rs): lays an overlay over a Debian tree, shows the
# test's directory in it under the names that an installed system has, and runs the given shell
# commands side by side in there. Called in new mount, PID and network namespaces:
#
#   boot.sh TREE DIRECTORY PROGRAM COMMAND…
#
# It ends when its standard input does, even if the test was killed, and with it everything: the
# kernel kills what is left in the PID namespace and drops the mounts.

set -eu
tree=$1 dir=$2 program=$3
shift 3

# What the peers write outside the mounts below goes to memory. The upper layer cannot lie in the
# test's directory: an overlay, as in a container, refuses to be the upper layer of another.
mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/root"
root=$dir/mnt/root
mount -t overlay -o "lowerdir=$dir/files:$tree,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" \
  overlay "$root"
mount -t proc proc "$root/proc"

show() {
  mkdir -p "$root$2"
  mount --bind "$dir/$1" "$root$2"
}
show run /run/dovelatch
show state /var/lib/dovelatch
show spool /var/spool/postfix
show vmail /var/vmail
show log /var/log
touch "$root/usr/bin/dovelatch"
mount --bind "$program" "$root/usr/bin/dovelatch"

chroot "$root" ip link set lo up
for command; do
  chroot "$root" sh -c "cd / && exec $command" </dev/null &
done
exec cat >/dev/null
