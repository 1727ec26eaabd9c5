#!/bin/sh
# The two steps by which both Dockerfile and singularity/relad-bids.def make the environment:
#   install.sh dependencies cpu|cuda CPU_WHEELS   the pinned packages, into /opt/relad
#   install.sh package                            relad-bids itself, from the folder of this script;
#                                                 every file it depends on is then checked
# PyPI's torch for x86-64 carries its CUDA libraries; CPU_WHEELS is the index of the CPU builds, or
# empty where pip is set up to find them.
set -eu

ENVIRONMENT=/opt/relad
SOURCE=$(cd "$(dirname "$0")/.." && pwd)
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

pip_in() {
  python3 -m pip --python "$ENVIRONMENT/bin/python" "$@"
}

dependencies() {
  device=$1 cpu_wheels=$2
  python3 -m venv --without-pip "$ENVIRONMENT"
  torch=$(sed -n 's/^torch==//p' "$SOURCE/docker/requirements.txt")
  pinned=$(mktemp)
  grep -v '^torch==' "$SOURCE/docker/requirements.txt" > "$pinned"
  case $device in
    cpu)
      set -- "torch==$torch+cpu"
      if [ -n "$cpu_wheels" ]; then set -- --index-url "$cpu_wheels" "$@"; fi
      pip_in install --no-deps "$@"
      ;;
    cuda) pip_in install --constraint "$pinned" "torch==$torch" ;;
    *) echo "the device is $device; needed is cpu or cuda" >&2; exit 64 ;;
  esac
  pip_in install --no-deps --requirement "$pinned"
  rm "$pinned"
}

package() {
  wheels=$(mktemp -d)
  PIP_CONSTRAINT=$SOURCE/docker/build-requirements.txt \
    pip_in wheel --no-deps --wheel-dir "$wheels" "$SOURCE"
  pip_in install --no-deps "$wheels"/relad_bids-*.whl
  rm -r "$wheels"
  pip_in check
  "$ENVIRONMENT/bin/relad" assets
}

step=$1
shift
"$step" "$@"
