#!/usr/bin/env bash
# Starts a small job the way a run would be started, and says what a user must know of hosts, ranks and network.
set -euo pipefail

usage() {
  cat <<'END_USAGE'
usage: launch/doctor.sh [-n RANKS] [--hostfile FILE] [data=FOLDER]

Looks at every host (Open MPI, the program, cores, memory, GPUs, data), starts ranks on them, and measures messages between
them. Says what it finds, each fault with what to do; exit code 0: no fault, 1: faults.

  -n RANKS          ranks; default: LOCKSTEP_RANKS, or 2
  --hostfile FILE   as mpirun's: a host a line, "NAME slots=N"; default: this host alone
  data=FOLDER       is it on every host, and the same? default: LOCKSTEP_DATA, if that is set

Environment: LOCKSTEP=PROGRAM instead of build/release/lockstep; MPIRUN_OPTIONS, for example "--bind-to core". Hosts are
reached as mpirun does it: by OMPI_MCA_plm_rsh_agent, or ssh.
END_USAGE
}

read_arguments() {
  RANKS=${LOCKSTEP_RANKS:-2} HOSTFILE="" DATA=${LOCKSTEP_DATA:-}
  while (($#)); do
    case $1 in
      -h | --help) usage && exit 0 ;;
      -n)
        [[ ${2:-} =~ ^[1-9][0-9]{0,5}$ ]] || { usage >&2 && exit 2; }
        RANKS=$2
        shift ;;
      --hostfile)
        [[ -n ${2:-} ]] || { usage >&2 && exit 2; }
        HOSTFILE=$2
        [[ -r $HOSTFILE ]] || stop 2 "$HOSTFILE: cannot be read"
        shift ;;
      data=*) DATA=${1#data=} ;;
      *) usage >&2 && exit 2 ;;
    esac
    shift
  done
  if [[ -n $DATA ]]; then DATA=$(realpath -m -- "$DATA"); fi
}

FAULTS=0
fault() { # WHAT WHAT_TO_DO
  FAULTS=$((FAULTS + 1))
  printf 'FAULT  %s\n       %s\n' "$1" "$2"
}

# ---- each host by itself, without MPI

# Run by the host's sh, with the program and the folder of the data: a line a fact.
# shellcheck disable=SC2016 # expanded over there
PROBE='
program=$1 data=$2
say() { printf "%s %s\n" "$1" "$2"; }
say mpi "$(mpirun --version 2>/dev/null | sed -n 1p)"
say mpirun "$(command -v mpirun)"
if [ -x "$program" ]; then
  say program "$("$program" --version 2>&1 | sed -n 1p)"
  say program_mpi "$("$program" --version 2>/dev/null | sed -n "s/^Open MPI/&/p")"
  say hdf5 "$("$program" --version 2>/dev/null | sed -n "s/^HDF5 //p")"
else
  say program ""
fi
say cores "$(nproc --all)"
say memory "$(sed -n "s/^MemAvailable: *\([0-9]*\) kB/\1/p" /proc/meminfo)"
say address_space "$(ulimit -v)"
say gpu "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | paste -sd"|")"
say nccl "$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | sed -n "s/.*libnccl\.so\.[^ ]* .*=> //p" | sed -n 1p)"
if [ -n "$data" ]; then
  say data "$(find "$data" -maxdepth 1 -name "*ubyte*" -type f 2>/dev/null | sort | xargs -r cat | md5sum | cut -d" " -f1)"
  say files "$(find "$data" -maxdepth 1 -name "*ubyte*" -type f 2>/dev/null | wc -l)"
fi
'

# Sets HOSTS, and FACT[HOST KEY] of those that can be reached; REACHED: all of them can.
look_at_hosts() {
  local host agent key value facts here=""
  read -ra agent <<<"${OMPI_MCA_plm_rsh_agent:-ssh -o BatchMode=yes -o ConnectTimeout=5}"
  here=$(uname -n)
  HOSTS=("$here") REACHED=yes
  if [[ -n $HOSTFILE ]]; then mapfile -t HOSTS < <(sed 's/#.*//' "$HOSTFILE" | awk 'NF && !seen[$1]++ { print $1 }'); fi
  ((${#HOSTS[@]} > 0)) || stop 2 "$HOSTFILE: no hosts"
  for host in "${HOSTS[@]}"; do
    if [[ $host == "$here" ]]; then
      facts=$(sh -s -- "$LOCKSTEP" "$DATA" <<<"$PROBE") || true
    elif ! facts=$("${agent[@]}" "$host" sh -s -- "'$LOCKSTEP'" "'$DATA'" <<<"$PROBE" 2>&1); then
      fault "$host: cannot be reached: $(tail -n 1 <<<"$facts")" \
        "ssh must get there without a question (keys, known hosts): ${agent[*]} $host true"
      REACHED=""
      continue
    fi
    while read -r key value; do FACT[$host $key]=$value; done <<<"$facts"
  done
}

# Does every host have what the first one has?
compare_hosts() {
  local host first=${HOSTS[0]} of
  for host in "${HOSTS[@]}"; do
    [[ -n ${FACT[$host cores]:-} ]] || continue
    echo "$host: ${FACT[$host cores]} cores, $((${FACT[$host memory]:-0} / 1024)) MiB of memory free," \
      "$(or "${FACT[$host mpi]:-}" "no mpirun"), HDF5 $(or "${FACT[$host hdf5]:-}" "unknown")," \
      "$(or "${FACT[$host gpu]:-}" "no GPU"), $(or "${FACT[$host nccl]:-}" "no NCCL")"
    if [[ -z ${FACT[$host mpi]} ]]; then
      fault "$host: no mpirun in PATH" "install openmpi-bin there, or put its folder into PATH of shells that ssh starts"
      REACHED=""
    elif [[ ${FACT[$host mpi]} != "${FACT[$first mpi]:-}" ]]; then
      fault "$host: ${FACT[$host mpi]} (${FACT[$host mpirun]}), but $first has $(or "${FACT[$first mpi]:-}" none)" \
        "the same version on all hosts, first in PATH of shells that ssh starts; or mpirun --prefix FOLDER"
      REACHED=""
    fi
    if [[ -z ${FACT[$host program]} ]]; then
      fault "$host: $LOCKSTEP is not there" "the same path on all hosts: a shared file system, or a copy"
      REACHED=""
    elif [[ ${FACT[$host program]} != "${FACT[$first program]:-}" ]]; then
      fault "$host: ${FACT[$host program]}, but $first has $(or "${FACT[$first program]:-}" none)" \
        "the same build on all hosts; other builds may give other bits"
    fi
    of=${FACT[$host program_mpi]:-}
    if [[ -n $of && ${FACT[$host mpi]} == *"(Open MPI)"* && ${FACT[$host mpi]##* } != "${of##* }" ]]; then
      fault "$host: the program runs with $of, mpirun is ${FACT[$host mpi]}" "one Open MPI: rebuild, or set PATH and LD_LIBRARY_PATH"
    fi
    if [[ ${FACT[$host address_space]} != unlimited ]]; then
      fault "$host: a process may have ${FACT[$host address_space]} KiB of addresses (ulimit -v)" "ulimit -v unlimited there"
    fi
    check_data "$host"
  done
}

or() { if [[ -n $1 ]]; then echo "$1"; else echo "$2"; fi; } # TEXT OTHERWISE

check_data() { # HOST
  local first=${HOSTS[0]}
  if [[ -z $DATA ]]; then return; fi
  if ((${FACT[$1 files]:-0} == 0)); then
    fault "$1: no data in $DATA" "rank 0 alone reads them, but any host may be the one of rank 0: copy them, or share the folder"
  elif [[ ${FACT[$1 data]} != "${FACT[$first data]:-}" ]]; then
    fault "$1: the data in $DATA are not those of $first" "copy them anew, with checksums"
  fi
}

# ---- ranks

# shellcheck disable=SC2016 # expanded by the ranks
RANK_PROBE='echo "rank ${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-0}} $(uname -n) $(sed -n "s/^Cpus_allowed_list:[ \t]*//p" /proc/self/status) $(nproc)"'

launch() { # COMMAND..: on all ranks
  local where=()
  if [[ -n $HOSTFILE ]]; then where=(--hostfile "$HOSTFILE"); fi
  # shellcheck disable=SC2086 # options are words
  mpirun "${where[@]}" ${MPIRUN_OPTIONS:-} -n "$RANKS" "$@" </dev/null
}

# Where ranks are, and whether they have cores of their own.
look_at_ranks() {
  local said word rank host list cores key
  local -A ranks=() many=() of_host=()
  if ! said=$(launch bash -c "$RANK_PROBE" 2>&1); then
    fault "mpirun cannot start $RANKS ranks: $(grep -v '^-*$' <<<"$said" | head -n 3 | paste -sd' ')" \
      "mpirun's own words say why; the first is often that a host's orted is not found, or cannot connect back"
    REACHED=""
    return
  fi
  while read -r word rank host list cores; do
    [[ $word == rank ]] || continue
    key="$host $list $cores"
    ranks[$key]+="${ranks[$key]:+, }$rank"
    many[$key]=$((${many[$key]:-0} + 1))
    of_host[$host]=$((${of_host[$host]:-0} + 1))
  done < <(sort -k2n <<<"$said")
  for key in "${!ranks[@]}"; do
    read -r host list cores <<<"$key"
    echo "$host: rank ${ranks[$key]} may use core $list"
    if ((many[$key] > cores && cores < ${FACT[$host cores]:-1})); then
      fault "$host: ranks ${ranks[$key]} may use core $list alone, ${many[$key]} ranks on $cores of ${FACT[$host cores]}" \
        "mpirun --bind-to none, or --bind-to core with as many slots as cores; a batch system may give only these"
    fi
  done
  for host in "${!of_host[@]}"; do
    if ((of_host[$host] > ${FACT[$host cores]:-1})); then
      fault "$host: ${of_host[$host]} ranks on ${FACT[$host cores]:-?} cores, which take turns" "fewer ranks there; slots=CORES in the hostfile"
    fi
  done
}

# ---- messages

measure() {
  local said line clock
  if ! said=$(launch "$LOCKSTEP" bench comm "$CONFIG" bench_steps=20 "bench_sizes=[262144]" 2>&1); then
    fault "messages: $(grep -m 1 'error:' <<<"$said" || tail -n 1 <<<"$said")" \
      "between hosts: is the right interface taken (btl_tcp_if_include), and no port closed by a firewall?"
    return
  fi
  grep -E '^(. |[^ ]+ - [^ ]+: |a cut|the gradient|fitted)' <<<"$said"
  while read -r line; do
    clock=$(sed -nE 's/.* clock ([+-][0-9.]+) ms$/\1/p' <<<"$line")
    if awk -v ms="$clock" 'BEGIN { exit !(ms > 1000 || ms < -1000) }'; then
      fault "the clocks of ${line%%:*} differ by $clock ms" "start NTP there (chrony, systemd-timesyncd): times of files and logs are compared"
    fi
  done < <(grep -E '^[^ ]+ - [^ ]+: .* clock ' <<<"$said" || true)
}

TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$TOP/launch/environment.sh"
LOCKSTEP=$(realpath -m -- "${LOCKSTEP:-$TOP/build/release/lockstep}")
CONFIG=$TOP/experiments/table1/row6-published.yaml
read_arguments "$@"
command -v mpirun >/dev/null || stop 2 "no mpirun: launch/quickstart.sh installs it, or: apt-get install openmpi-bin"
mpi_environment

declare -A FACT=()
look_at_hosts
compare_hosts
if [[ -n $REACHED ]]; then look_at_ranks; fi
if [[ -n $REACHED ]] && ((RANKS > 1)); then measure; fi
if [[ -z $REACHED ]]; then echo "no ranks were started: first what is said above"; fi
echo "$FAULTS fault$( ((FAULTS == 1)) || echo s) found"
((FAULTS == 0))
