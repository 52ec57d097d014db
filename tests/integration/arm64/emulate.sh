#!/bin/sh
# Runs a command in a mount namespace of its own (see root.py) in which programs for arm64 run.
# What binfmt_misc is told here it forgets with the namespace; kernels before 6.7 remember it.
set -eu
registry=/proc/sys/fs/binfmt_misc
mount -t proc proc /proc
[ -e $registry/register ] || mount -t binfmt_misc binfmt_misc $registry
[ -e $registry/qemu-aarch64 ] || flock /run/lock update-binfmts --enable qemu-aarch64
[ -e $registry/qemu-aarch64 ] || { echo "qemu-aarch64 cannot be registered in $registry" >&2; exit 1; }
exec "$@"
