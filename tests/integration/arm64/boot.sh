#!/bin/sh
# Boots a board as far as its SSH server, in a mount namespace of its own: boot.sh ROOT FOLDER
# ROOT is only read: what the board writes is in FOLDER, as are its keys and its configuration.
set -eu
root=$1 folder=$2
board=$folder/board
mkdir "$folder/upper" "$folder/work" "$board"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$board"
mount -t proc proc "$board/proc"
mount --bind "$folder/cpuinfo" "$board/proc/cpuinfo" # qemu shows this machine's, on which engines crash
mount -t sysfs -o ro sysfs "$board/sys" # clocks and sensors are this machine's: hands off
mount -t tmpfs -o mode=1777 tmpfs "$board/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$board/dev/pts"
mkdir -p "$board/run/sshd"
cp /etc/resolv.conf /etc/hosts "$board/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$board/etc/ssl/certs/"
cp "$folder/pip.conf" "$board/etc/pip.conf"
cp -r "$folder/ssh" "$board/etc/qsdnn-ssh"
exec chroot "$board" /usr/sbin/sshd -D -e -f /etc/qsdnn-ssh/sshd_config
