#!/usr/bin/env bash
# Hosts on one machine: runs COMMAND on the first of some network namespaces that have a host name each and are joined by a
# bridge, so that mpirun starts ranks on them as on machines of a network.
#
#   hosts.sh NAME,NAME.. COMMAND ARGUMENTS..
#
# COMMAND finds in its environment HOSTS (a folder) and what mpirun needs to reach the hosts, by TCP: HOSTS/rsh HOST COMMAND
# runs a command there in a fresh environment, as ssh does; HOSTS/path.HOST, where it exists, is put in front of PATH there.
# Each host has the addresses of /etc/hosts, an interface eth0, 127.0.0.1, and mounts of its own.
#
#   HOSTS/link HOST down|up   takes a host off the network, and back
#
# Everything lives in a process namespace of its own, whose first process is this script: when it ends, or the process that
# was started, however that happens, the kernel ends all other processes in it, and with them go the namespaces, links, the
# bridge and the file system that holds HOSTS. Nobody else sees any of them, so that runs cannot collide. Exits with 77
# where the rights or the tools for it are missing.
set -euo pipefail

skip() { echo "skipped: $*" && exit 77; }

if [[ ${HOSTS_INSIDE:-} != yes ]]; then
  for tool in ip unshare nsenter mpirun; do
    command -v "$tool" >/dev/null || skip "no $tool"
  done
  unshare --net --uts --mount --pid --fork true 2>/dev/null || skip "no right to make namespaces"
  unshare --net ip link add name probe type bridge 2>/dev/null || skip "no bridge in this kernel"
  unshare --net ip link add name probe type veth peer name other 2>/dev/null || skip "no veth in this kernel"
  export HOSTS=/srv HOSTS_INSIDE=yes
  [[ -d $HOSTS ]] || skip "no $HOSTS to put a file system at that nobody else sees"
  exec unshare --pid --fork --kill-child --mount --mount-proc --net "$0" "$@"
fi

IFS=, read -ra NAMES <<<"$1"
shift
umask 022
mount -t tmpfs hosts "$HOSTS"

# --- the switch, which is the network namespace that this script is in

ip link set lo up
ip link add name switch type bridge
ip link set switch up
echo 127.0.0.1 localhost >"$HOSTS/hosts"
for ((i = 0; i < ${#NAMES[@]}; i++)); do echo "10.0.0.$((i + 1)) ${NAMES[i]}" >>"$HOSTS/hosts"; done
mount --bind "$HOSTS/hosts" /etc/hosts

# --- hosts: a process each, in whose namespaces others start

for ((i = 0; i < ${#NAMES[@]}; i++)); do
  name=${NAMES[i]} port=port$i
  mkfifo "$HOSTS/ready"
  # shellcheck disable=SC2016 # expanded in there
  unshare --net --uts --mount bash -c 'hostname "$1" && echo >"$2" && exec sleep infinity' holder "$name" "$HOSTS/ready" &
  holder=$!
  read -r <"$HOSTS/ready"
  rm "$HOSTS/ready"
  echo "$holder" >"$HOSTS/holder.$name"
  echo "$port" >"$HOSTS/port.$name"
  ip link add name "$port" type veth peer name eth0 netns "$holder"
  ip link set "$port" master switch up
  nsenter -t "$holder" -n ip address add "10.0.0.$((i + 1))/24" dev eth0
  nsenter -t "$holder" -n ip link set eth0 up
  nsenter -t "$holder" -n ip link set lo up
done

# --- what is run from a host

cat >"$HOSTS/rsh" <<'END_RSH'
#!/bin/sh
# The agent of mpirun: a command on another host, in an environment that has none of the caller's variables.
here=$(dirname "$0") host=$1
shift
path=/usr/local/bin:/usr/bin:/bin
if [ -e "$here/path.$host" ]; then path=$(cat "$here/path.$host"):$path; fi
exec nsenter -t "$(cat "$here/holder.$host")" --net --uts --mount env -i "PATH=$path" HOME=/ "TMPDIR=$here" sh -c "$*"
END_RSH
cat >"$HOSTS/link" <<'END_LINK'
#!/bin/sh
# The cable of a host: it hangs on the switch, the namespace of the first process.
here=$(dirname "$0")
exec nsenter -t 1 --net ip link set "$(cat "$here/port.$1")" "$2"
END_LINK
chmod +x "$HOSTS/rsh" "$HOSTS/link"

# OMPI_: Open MPI 4, PRTE_: 5
export OMPI_MCA_plm_rsh_agent=$HOSTS/rsh PRTE_MCA_plm_ssh_agent=$HOSTS/rsh
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 PRTE_MCA_prte_if_include=eth0
export TMPDIR=$HOSTS
code=0
nsenter -t "$(cat "$HOSTS/holder.${NAMES[0]}")" --net --uts --mount --wd="$PWD" "$@" || code=$?
exit "$code"
