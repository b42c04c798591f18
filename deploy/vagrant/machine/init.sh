#!/bin/sh
# The first process of a machine that is a container; systemd takes its place.
set -eu
# Each machine has ssh keys of its own.
ssh-keygen -A >/dev/null
# systemd and Docker want control groups that they can write, and mounts that are shared: so it is on
# a host, and not in a container. With version 2 there is one mount, with version 1 one a controller.
for mount in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw "$mount" 2>/dev/null || true
done
mount --make-rshared /
exec /lib/systemd/systemd
