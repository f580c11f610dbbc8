# What quickstart.sh and test.sh share: packages, build, data, and the environment that mpirun needs. To be sourced in
# the top folder of the repository; sourcing only defines functions and lists.
# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-dev zlib1g-dev
  libyaml-dev libxxhash-dev libseccomp-dev librandom123-dev libcmocka-dev)
# The distribution's Python, not whatever python3 comes first in PATH: only that one has these two packages.
PYTHON=/usr/bin/python3
PLOT_PACKAGES=(python3 python3-h5py python3-matplotlib)
# What the report of launch/reproduce.sh is made with: templates, statistics, a bar of progress.
REPORT_PACKAGES=(python3-jinja2 python3-scipy python3-tqdm)
TEST_PACKAGES=(clang curl hdf5-tools iproute2 python3-torch "${REPORT_PACKAGES[@]}")

stop() { # EXIT_CODE LINE...
  local code=$1
  shift
  printf '%s\n' "$@" >&2
  exit "$code"
}

# Runs a command behind one line; its output shows only if it fails.
quietly() { # LABEL COMMAND...
  local label=$1 output status=0 start=$SECONDS
  shift
  printf '%s .. ' "$label"
  output=$("$@" 2>&1 </dev/null) || status=$?
  if ((status == 0)); then
    printf '%d s\n' $((SECONDS - start))
  else
    printf 'failed\n'
    # Of a build, only what went wrong.
    printf '%s\n' "$output" | sed '/^\[[0-9]*\/[0-9]*\] Building/d' | tail -n 60 >&2
  fi
  return "$status"
}

# ---- packages

# A tool counts wherever it comes from; a library only as the distribution's package.
has_package() {
  case $1 in
    gcc) command -v cc >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    openmpi-bin) command -v mpirun >/dev/null ;;
    libopenmpi-dev) command -v mpicc >/dev/null ;;
    hdf5-tools) command -v h5diff >/dev/null ;;
    iproute2) command -v ip >/dev/null ;;
    cmake | clang | pkg-config | curl) command -v "$1" >/dev/null ;;
    python3) [[ -x $PYTHON ]] ;;
    *) [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == *"install ok installed"* ]] ;;
  esac
}

# Sets ROOT to what goes in front of a command that needs root's rights.
find_root() { # PACKAGE... (for the message)
  ROOT=()
  ((EUID == 0)) && return
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || sudo -v; }; then
    ROOT=(sudo)
    return
  fi
  stop 1 "Packages are missing, and installing them needs root or sudo. As root:" \
    "  apt-get install --no-install-recommends $*"
}

# Installs those of the packages that are missing; asks nothing and prints two lines, or none.
install_packages() {
  local package missing=()
  for package in "$@"; do
    has_package "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)) || [[ ${LOCKSTEP_INSTALL:-yes} == no ]]; then return; fi
  command -v apt-get >/dev/null || stop 1 \
    "This is not a Debian-like machine (no apt-get), so nothing is installed here. What is needed, by Debian's names:" \
    "  $*" "With these in place, set LOCKSTEP_INSTALL=no and run again."
  find_root "${missing[@]}"
  # NEEDRESTART_MODE: Ubuntu would ask which services to restart. Lock::Timeout: a new machine may be updating itself.
  local apt=("${ROOT[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  if [[ -z ${LISTS_READ:-} ]]; then
    quietly "Reading the package lists" "${apt[@]}" update || echo "Going on with the lists that are there."
    LISTS_READ=yes
  fi
  quietly "Installing (a few minutes at most): ${missing[*]}" \
    "${apt[@]}" install --no-install-recommends "${missing[@]}"
}

# ---- build

# Is there a build folder of another compiler than CC says? CMake looks at CC in a new folder only.
has_other_compiler() { # PRESET
  local cache=build/${1/#ci/release}/CMakeCache.txt old
  [[ -n ${CC:-} && -f $cache ]] || return 1
  old=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$cache")
  [[ $(command -v "$old") != $(command -v "${CC%% *}") ]]
}

configure() { # PRESET
  local output
  if has_other_compiler "$1"; then
    cmake --fresh --preset "$1"
    return
  fi
  if output=$(cmake --preset "$1" 2>&1); then return; fi
  printf '%s\n' "$output"
  # A build folder that was moved, or made by another generator: begun anew.
  [[ $output == *[Dd]"oes not match the "* ]] && cmake --fresh --preset "$1"
}

is_new_cmake() { # PROGRAM
  local version
  version=$("$1" --version 2>/dev/null | sed -n '1s/.* //p') || true
  [[ -n $version && $(printf '3.25\n%s\n' "$version" | sort -V | head -n 1) == 3.25 ]]
}

check_cmake() {
  local found other
  is_new_cmake cmake && return
  found=$(cmake --version 2>&1 | head -n 1) || true
  while read -r other; do
    if is_new_cmake "$other"; then
      stop 1 "CMake 3.25 or newer is needed; the first in PATH is $(command -v cmake): $found" \
        "A newer one is there: run again with PATH=$(dirname -- "$other"):\$PATH"
    fi
  done < <(type -ap cmake)
  stop 1 "CMake 3.25 or newer is needed; found $(command -v cmake || echo none): $found" \
    "It comes with Debian 12 and Ubuntu 24.04 (cmake), elsewhere with: pip install cmake"
}

check_build_folder() {
  if mkdir -p build 2>/dev/null && [[ -w build ]]; then return; fi
  stop 1 "$PWD/build cannot be written. To build elsewhere:" \
    "  cmake -S $PWD -B FOLDER -G Ninja && cmake --build FOLDER && ctest --test-dir FOLDER"
}

build() { # PRESET [ARGUMENTS of cmake --build]
  local preset=$1
  shift
  check_cmake
  check_build_folder
  quietly "Configuring, preset $preset" configure "$preset"
  quietly "Building" cmake --build --preset "$preset" "$@"
}

# ---- MPI

# Lets mpirun start more ranks than there are cores, leaves their threads free to move, and as root lets it start at
# all. OMPI_ is read by Open MPI 4, PRTE_ by Open MPI 5. tests/CMakeLists.txt says the same for CTest.
mpi_environment() {
  export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
  export OMPI_MCA_mpi_yield_when_idle=1
  if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
}

# Do ranks of this mpirun run on this host? It has other children too: ssh to other hosts.
has_ranks() { # PID
  local child
  for child in $(pgrep -r D,R,S,T -P "$1"); do
    if grep -qzsE '^(OMPI_COMM_WORLD_RANK|PMIX_RANK)=' "/proc/$child/environ"; then return 0; fi
  done
  return 1
}

# Open MPI 4.1's mpirun can lock itself out after a rank has died (in PMIx_server_finalize) and then never ends, although
# all its ranks have; nor does it end while another host cannot be reached. Ends such a launcher, and what it has started
# to reach other hosts, LAUNCHER_PATIENCE (30) seconds after the last of its ranks here; returns when it is gone.
watch_launcher() { # PID
  local quiet=0 patience=${LAUNCHER_PATIENCE:-30} seen="" children
  command -v pgrep >/dev/null || return 0
  while kill -0 "$1" 2>/dev/null; do
    if has_ranks "$1"; then
      seen=yes quiet=0
    elif [[ -n $seen ]] || ! pgrep -r D,R,S,T -P "$1" >/dev/null; then
      quiet=$((quiet + 1))
    fi
    if ((quiet > patience)); then
      echo "mpirun has not ended $patience s after the last of its ranks; it is killed" >&2
      mapfile -t children < <(pgrep -P "$1")
      kill -KILL "$1" "${children[@]}" 2>/dev/null || true
      return 0
    fi
    sleep 1
  done
}

# ---- data

IDX_FILES=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)
# SHA-256 of the uncompressed files, in the order of IDX_FILES: mirrors compress them differently.
MNIST_SHA256="\
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
FASHION_MNIST_SHA256="\
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
MNIST_MIRRORS=(
  https://ossci-datasets.s3.amazonaws.com/mnist
  https://storage.googleapis.com/cvdf-datasets/mnist
  https://raw.githubusercontent.com/fgnt/mnist/master)
FASHION_MNIST_FOLDER=/usr/share/datasets/fashion-mnist

# The path of a file in one of the forms that the program reads (src/io/idx_names.h), in its order; nothing without one.
idx_file() { # FOLDER NAME
  local name
  for name in "$2" "${2/-idx/.idx}" "$2.gz" "${2/-idx/.idx}.gz"; do
    if [[ -f $1/$name ]]; then echo "$1/$name" && return; fi
  done
  return 1
}

# The folder at or in FOLDER that holds files of a set: FOLDER itself, or where torchvision puts them.
idx_folder() { # FOLDER
  local inner name
  for inner in "$1" "$1/raw" "$1/MNIST/raw" "$1/FashionMNIST/raw" "$1/KMNIST/raw"; do
    for name in "${IDX_FILES[@]}"; do
      if idx_file "$inner" "$name" >/dev/null; then echo "$inner" && return; fi
    done
  done
  echo "$1"
}

has_idx_files() { # FOLDER
  local folder name
  folder=$(idx_folder "$1")
  for name in "${IDX_FILES[@]}"; do
    idx_file "$folder" "$name" >/dev/null || return 1
  done
}

idx_digests() { # FOLDER
  local folder name file
  folder=$(idx_folder "$1")
  for name in "${IDX_FILES[@]}"; do
    file=$(idx_file "$folder" "$name" || true)
    case $file in
      *.gz) gzip -dc "$file" 2>/dev/null ;;
      ?*) cat "$file" ;;
    esac | sha256sum | cut -c1-64
  done
}

# What the files hold, by their bytes: a folder's name proves nothing.
data_set_name() { # FOLDER
  case $(idx_digests "$1") in
    "$MNIST_SHA256") echo MNIST ;;
    "$FASHION_MNIST_SHA256") echo Fashion-MNIST ;;
    *) echo unknown ;;
  esac
}

# Fills FOLDER from one mirror, or says in one line why it did not.
fetch_from() { # MIRROR FOLDER
  local name
  for name in "${IDX_FILES[@]}"; do
    curl -fsSL --connect-timeout 5 --max-time 120 --speed-limit 20000 --speed-time 10 \
      -o "$2/$name.gz" "$1/$name.gz" 2>/dev/null || {
      echo "Mirror skipped: $1 does not deliver $name.gz"
      return 1
    }
  done
  [[ $(data_set_name "$2") == MNIST ]] || {
    echo "Mirror skipped: $1 delivers other bytes than MNIST's"
    return 1
  }
}

# Downloads MNIST into FOLDER, from the first mirror that has it. FOLDER never holds a file that was not checked.
fetch_mnist() { # FOLDER
  local mirror partial=$1.partial
  for mirror in "${MNIST_MIRRORS[@]}"; do
    rm -rf "$partial"
    mkdir -p "$partial" "$1"
    if fetch_from "$mirror" "$partial"; then
      mv "$partial"/* "$1"
      rmdir "$partial"
      echo "Downloaded MNIST from $mirror"
      return
    fi
  done
  rm -rf "$partial"
  rmdir "$1" 2>/dev/null || true
  return 1
}

# Sets DATA to a folder with the four files and DATA_SET to what they are. First match: FOLDER (if not empty),
# LOCKSTEP_DATA, data/mnist, the mirrors, the distribution's Fashion-MNIST.
find_data() { # FOLDER
  DATA=${1:-${LOCKSTEP_DATA:-}}
  if [[ -n $DATA ]]; then
    has_idx_files "$DATA" ||
      stop 78 "$DATA: expected the four files of MNIST's form, with - or . before idx, plain or as .gz:" "  ${IDX_FILES[*]}"
  elif has_idx_files data/mnist; then
    DATA=data/mnist
  elif install_packages curl ca-certificates && fetch_mnist data/mnist; then
    DATA=data/mnist
  else
    echo "No mirror of MNIST can be reached: falling back to Fashion-MNIST, which the distribution packages."
    has_idx_files "$FASHION_MNIST_FOLDER" || install_packages dataset-fashion-mnist || true
    has_idx_files "$FASHION_MNIST_FOLDER" ||
      stop 78 "No data: put the four files of MNIST into data/mnist, or give data=FOLDER."
    DATA=$FASHION_MNIST_FOLDER
  fi
  DATA_SET=$(data_set_name "$DATA")
  echo "Data: $DATA_SET in $DATA"
}
