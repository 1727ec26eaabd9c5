#!/usr/bin/env bash
# Build the image of this checkout with buildah, without Docker and without a registry of images:
#   tests/containers/build.sh WORK IMAGE [cpu|cuda]
# The base that the Dockerfile names is made from Debian's packages (mmdebstrap) and tagged with that
# name, so that the Dockerfile is built as it stands. What pip is told here by PIP_CERT and
# PIP_FIND_LINKS holds inside the build, too, and nothing of it stays in the image.
# As root. Images lie below WORK/storage alone; rm -r WORK after `podman --root ... unmount` ends them.
set -euo pipefail

work=$1 image=$2 device=${3:-cpu}
source=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$work/build"
engine=(--root "$work/storage" --runroot "$work/run")
base=$(sed -n 's/^ARG BASE=//p' "$source/Dockerfile")

if ! buildah "${engine[@]}" inspect --type image "$base" >/dev/null 2>&1; then
  start=$(date +%s)
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
    bookworm "$work/build/rootfs.tar"
  printf 'FROM scratch\nADD rootfs.tar /\n' > "$work/build/Base.Dockerfile"
  buildah "${engine[@]}" bud --quiet --isolation chroot --file "$work/build/Base.Dockerfile" \
    --tag "$base" "$work/build"
  rm "$work/build/rootfs.tar"
  echo "stand-in for $base: $(($(date +%s) - start)) s"
fi

told=()
{
  echo '[global]'
  if [ -n "${PIP_CERT:-}" ]; then echo "cert = $PIP_CERT"; fi
  if [ -n "${PIP_FIND_LINKS:-}" ]; then echo "find-links = $PIP_FIND_LINKS"; fi
} > "$work/build/pip.conf"
told+=(--volume "$work/build/pip.conf:/etc/pip.conf:ro")
for path in ${PIP_CERT:+"$(dirname "$PIP_CERT")"} ${PIP_FIND_LINKS:+"$PIP_FIND_LINKS"}; do
  if [ -e "$path" ]; then told+=(--volume "$path:$path:ro"); fi
done
if [ "$device" = cpu ] && [ -n "${PIP_FIND_LINKS:-}" ]; then
  told+=(--build-arg CPU_WHEELS=)
fi

start=$(date +%s)
buildah "${engine[@]}" bud --isolation chroot --pull=never --layers "${told[@]}" \
  --build-arg "DEVICE=$device" --file "$source/Dockerfile" --tag "$image" "$source" \
  > "$work/build/build-$device.log" 2>&1 || { tail -n 40 "$work/build/build-$device.log" >&2; exit 1; }
seconds=$(($(date +%s) - start))
size=$(buildah "${engine[@]}" images --format '{{.Size}}' "$image" | head -n 1)
echo "$image ($device): built in $seconds s, $size"
