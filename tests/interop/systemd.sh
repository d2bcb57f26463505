#!/bin/sh
# Boots a Debian tree with its own systemd as the first process, in namespaces and with a control group of
# its own (systemd.rs). Called in a new mount namespace:
#
#   systemd.sh TREE DIRECTORY PROGRAM
#
# It says the id of a process by whose namespaces the machine can be entered, and ends when its standard
# input does, even if the test was killed; with it ends everything.

set -eu

if [ "$1" != --inside ]; then
  dir=$2
  mount --make-rprivate /
  mkdir "$dir/cgroup" "$dir/mnt"
  mount -t cgroup2 cgroup2 "$dir/cgroup"
  group=$dir/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/dovelatch-test-$$
  mkdir "$group"
  (
    sh -c 'echo $PPID' >"$group/cgroup.procs"
    exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child "$0" --inside "$@"
  ) </dev/null >&2 &
  echo $!
  cat >/dev/null
  kill -KILL $!
  for _ in $(seq 100); do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
  exit
fi

tree=$2 dir=$3 program=$4
mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
root=$dir/mnt/root
mkdir "$dir/mnt/upper" "$dir/mnt/work" "$root"
mount -t overlay -o "lowerdir=$dir/files:$tree,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" \
  overlay "$root"
touch "$root/usr/bin/dovelatch"
mount --bind "$program" "$root/usr/bin/dovelatch"

# What a container manager gives to a systemd. The kernel's settings are not the machine's to change.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t mqueue mqueue "$root/dev/mqueue"
ln -s pts/ptmx "$root/dev/ptmx"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
cd "$root"
mkdir old
pivot_root . old
# Nothing of the tree's own services: what is tested is started by the test.
exec chroot . sh -c 'umount -l /old && exec env -i container=dovelatch-test PATH="$PATH" \
  /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no'
