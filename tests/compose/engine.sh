#!/usr/bin/env bash
# Run a command with a Docker engine: the one of this machine, or a temporary one that is started
# in a temporary folder and stopped afterwards.
#   tests/compose/engine.sh COMMAND [ARGUMENT...]
# Exits with the exit code of the command; without an engine, prints the reason and exits with 0.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
cd ../..
root=$PWD
images=(python:3.11-slim-bookworm valkey/valkey:9.1-alpine chrislusf/seaweedfs:4.48 prom/prometheus:v3.5.0)
limit_s=${ENGINE_LIMIT_S:-600}
folder=''

skip() {
  echo "compose test skipped: $*"
  exit 0
}

fail() {
  echo "compose test failed: $*"
  exit 1
}

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

compose_answers() {
  command -v docker-compose >/dev/null || timeout 20 docker compose version >/dev/null 2>&1
}

install_engine() {
  local need=()
  command -v dockerd >/dev/null || need+=(docker.io)
  compose_answers || need+=(docker-compose)
  command -v iptables-save >/dev/null || need+=(iptables)
  command -v mmdebstrap >/dev/null || need+=(mmdebstrap)
  [ "${#need[@]}" != 0 ] || return 0
  local apt=(timeout 240 apt-get -qq -o DPkg::Lock::Timeout=60)
  "${apt[@]}" update >"$folder/apt.log" 2>&1 || skip "apt-get update fails: $(tail -n 1 "$folder/apt.log")"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-remove --no-install-recommends "${need[@]}" \
    >"$folder/apt.log" 2>&1 || skip "apt-get cannot install ${need[*]}: $(tail -n 1 "$folder/apt.log")"
}

# Save what an engine changes outside its folder: firewall rules, IP forwarding, a bridge.
remember_network() {
  iptables-save >"$folder/iptables" 2>/dev/null || skip "iptables-save fails, so containers would have no network"
  cat /proc/sys/net/ipv4/ip_forward >"$folder/ip_forward"
  ! [ -e /sys/class/net/docker0 ] || touch "$folder/docker0"
}

restore_network() {
  iptables-restore <"$folder/iptables" || true
  cat "$folder/ip_forward" >/proc/sys/net/ipv4/ip_forward || true
  [ -e "$folder/docker0" ] || ip link delete docker0 2>/dev/null || true
}

start_engine() {
  remember_network
  # Every version has the classic builder; BuildKit may need a plugin that is not installed.
  export DOCKER_HOST=unix://$folder/docker.sock DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
  dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/docker.pid" >"$folder/dockerd.log" 2>&1 &
  dockerd_pid=$!
  for _ in $(seq 60); do
    ! engine_answers || return 0
    kill -0 "$dockerd_pid" 2>/dev/null || break
    sleep 0.5
  done
  skip "dockerd does not start: $(tail -n 1 "$folder/dockerd.log")"
}

stop_engine() {
  if [ -n "$dockerd_pid" ]; then
    kill "$dockerd_pid" 2>/dev/null && wait "$dockerd_pid" || true
    restore_network
  fi
  rm -rf --one-file-system "$folder"
}

# Pass on the machine's package settings: its certificates and pip's folders of wheels.
machine_settings() {
  mkdir -p "$folder/context/wheels"
  cp "$here/stand-ins/Dockerfile" "$root/.venv/bin/weed" "$folder/context/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$folder/context/"
  local place
  for place in ${PIP_FIND_LINKS:-}; do
    ! [ -d "$place" ] || cp "$place"/*.whl "$folder/context/wheels/"
  done
}

make_base() {
  timeout 240 mmdebstrap --quiet --variant=apt --aptopt='Acquire::Languages "none"' \
    --include=ca-certificates,curl,netbase,prometheus,python3,python3-pip,redis-server,tzdata \
    bookworm "$folder/base.tar" >"$folder/mmdebstrap.log" 2>&1 ||
    skip "images can neither be pulled nor built from Debian packages: $(tail -n 1 "$folder/mmdebstrap.log")"
  docker import "$folder/base.tar" rmbg-stand-in >/dev/null
  rm "$folder/base.tar"
  machine_settings
}

# In a sandbox, an engine may start but not be allowed to unpack an image or run a container.
check_unpacks() {
  tar -C "$folder" -c ip_forward | docker import - rmbg-probe >/dev/null 2>"$folder/probe.log" ||
    skip "the engine that starts here cannot unpack images: $(tail -n 1 "$folder/probe.log")"
}

check_runs() {
  local said
  said=$(timeout 60 docker run --rm --entrypoint true "${images[0]}" 2>&1) ||
    skip "the engine cannot run containers: $(tail -n 1 <<<"$said")"
}

# Pull each published image; where that fails, build a replacement from Debian and PyPI packages.
# In an engine that was already running, a replacement never gets the name of a published image.
provide_images() {
  local image name
  for image in "${images[@]}"; do
    ! docker image inspect "$image" >/dev/null 2>&1 || continue
    ! timeout 120 docker pull --quiet "$image" >/dev/null 2>&1 || continue
    [ -n "$dockerd_pid" ] || skip "the engine has no $image and cannot pull it"
    docker image inspect rmbg-stand-in >/dev/null 2>&1 || make_base
    name=${image%%:*}
    echo "replacement for $image"
    timeout 120 docker build --quiet --target "${name##*/}" --tag "$image" "$folder/context" \
      >"$folder/build.log" 2>&1 || fail "$(tail -n 20 "$folder/build.log")"
  done
}

dockerd_pid=''
if ! engine_answers; then
  [ "$(id -u)" = 0 ] || skip "no Docker engine is running, and only root can start one"
  command -v apt-get >/dev/null || skip "no Docker engine is running, and apt-get is missing to install one"
  folder=$(mktemp -d -t rmbg-engine.XXXXXX)
  trap stop_engine EXIT
  trap 'exit 1' INT TERM
  install_engine
  # On some systems, installing the package starts the engine.
  engine_answers || { start_engine; check_unpacks; }
fi
compose_answers || skip "a Docker engine is running, but docker-compose is missing"
provide_images
check_runs
timeout --kill-after=60 "$limit_s" "$@"
