#!/usr/bin/env bash
# Runs BINARY, the program, in real containers: by podman, on a base made from Debian's packages (scripts/podman-local, which needs root).
#
#   tests/deploy/containers.sh          all of these
#   tests/deploy/containers.sh image    the image is built, small, and runs: as nobody, read-only, without capabilities, with the system
#                                       calls that the systemd unit allows; the gate does this
#   tests/deploy/containers.sh deb      the Debian package comes into a container, and goes
#   tests/deploy/containers.sh compose  compose.yaml's shop comes up with its secrets and a Prometheus that scrapes it
#
# DEB             the package, if it is there already; otherwise scripts/package makes it
# PODMAN_COMPOSE  podman-compose, for compose (the one on the path)
set -euo pipefail
cd "$(dirname "$0")/../.."
[[ ${PODMAN_LOCAL:-} ]] || { scripts/podman-local base >/dev/null; exec scripts/podman-local run "$0" "$@"; }

readonly TEST=encargo-test-$$ BASE=localhost/debian:bookworm-slim SIZE_MAX=$((60 * 1024 * 1024))
work=$(mktemp -d)
undo=()
cleanup() {
  local status=$? step
  ((status == 0)) || { podman logs "$TEST" | tail -20; tail -n 40 "$work"/*.out; } >&2 || true
  for step in "${undo[@]}"; do $step >/dev/null 2>&1 || true; done
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
fail() { echo "containers.sh: $*" >&2; exit 1; }
within() { # seconds, command: until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@"; do ((SECONDS < end)) || fail "in vain: $*"; sleep 0.2; done
}
build() { # tag, Dockerfile, context
  buildah bud --quiet --format docker --pull-never --network host --layers=false -t "$1" -f "$2" "$3" >"$work/build.out" 2>&1
}
own_image() {
  ! podman image exists "$TEST-image" || return 0
  undo+=("podman rmi --force $TEST-image")
  mkdir "$work/image"
  strip -o "$work/image/encargo" "$BINARY"
  build "$TEST-image" deploy/container/Dockerfile.binary "$work/image"
}

size() { podman image inspect --format '{{.Size}}' "$1"; }
healthy() { podman healthcheck run "$TEST" >"$work/health.out" 2>&1; }
image() {
  own_image
  local added=$(($(size "$TEST-image") - $(size "$BASE")))
  ((added < SIZE_MAX)) || fail "the image adds $added bytes to its base, more than $SIZE_MAX"
  echo "image: built, $((added / 1024 / 1024)) MB on top of its base"

  python3 tests/deploy/seccomp.py deploy/systemd/encargo.service >"$work/seccomp.json"
  undo=("podman rm --force $TEST" "podman volume rm --force $TEST" "${undo[@]}")
  podman run --detach --name "$TEST" --read-only --cap-drop=all --security-opt=no-new-privileges --security-opt=seccomp="$work/seccomp.json" \
    --volume "$TEST:/var/lib/encargo" --network none "$TEST-image" >"$work/run.out" 2>&1
  within 60 healthy
  podman exec "$TEST" encargo place 1010 --email ana@example.org --json | grep -q '"orderid":1'
  [[ $(podman exec "$TEST" cat /proc/1/comm) == encargo ]] || fail "it is not process 1"
  [[ $(podman exec "$TEST" id -u) == 10001 ]] || fail "it does not run as 10001"
  podman stop --time 20 "$TEST" >"$work/stop.out" 2>&1
  [[ $(podman inspect "$TEST" --format '{{.State.ExitCode}}') == 0 ]] || fail "it did not stop in order"
  podman start "$TEST" >"$work/start.out" 2>&1
  within 60 healthy
  podman exec "$TEST" encargo show 1 --json | grep -q '"orderid":1' || fail "its order is gone"
  echo "image: runs read-only as nobody, stops in order, and keeps its orders"
}

deb() {
  local package=${DEB:-}
  if [[ -z $package ]]; then
    OUT=$work/packages scripts/package deb >"$work/package.out" 2>&1
    package=$(echo "$work/packages"/*.deb)
  fi
  podman run --rm --network none --volume "$package:/encargo.deb:ro" "$BASE" sh -euc '
    dpkg --install /encargo.deb && encargo --version
    test -x /usr/bin/encargo && test -f /usr/lib/systemd/system/encargo.service
    encargo config check --config /etc/encargo/encargo.toml
    dpkg --remove encargo && test ! -e /usr/bin/encargo && test -f /etc/encargo/encargo.toml
    dpkg --purge encargo && test ! -e /etc/encargo/encargo.toml' >"$work/deb.out" 2>&1
  echo "deb: installed, removed and purged"
}

composed() {
  ENCARGO_IMAGE=localhost/$TEST-image "${PODMAN_COMPOSE:-podman-compose}" --project-name "$TEST" --profile shop --profile metrics \
    -f compose.yaml -f tests/deploy/compose.override.yaml "$@"
}
address() { podman inspect "${TEST}_$1_1" --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'; }
scraped() { curl -sf "http://$1:9090/api/v1/query?query=up%7Bjob%3D%22encargo%22%7D" | grep -q '"1"\]'; }
compose() {
  own_image
  mkdir "$work/prometheus"
  cp "$(command -v prometheus)" "$work/prometheus"
  printf 'FROM %s\nCOPY prometheus /bin/prometheus\nRUN mkdir /prometheus\nENTRYPOINT ["prometheus"]\n' "$BASE" >"$work/prometheus/Dockerfile"
  build prom/prometheus:v3.5.0 "$work/prometheus/Dockerfile" "$work/prometheus"
  undo=("composed down --volumes --timeout 5" "podman rmi --force prom/prometheus:v3.5.0" "${undo[@]}")
  composed up --detach --no-build secrets shop prometheus >"$work/compose.out" 2>&1
  local shop prometheus
  shop=$(address shop) prometheus=$(address prometheus)
  within 60 curl -sf -o /dev/null "http://$shop:9000/readyz"
  curl -sf -d value=1 "http://$shop:3000/" | grep -q 'Transaccion enviada!'
  [[ $(curl -s -o /dev/null -w '%{http_code}' "http://$shop:9000/metrics") == 401 ]] || fail "metrics are open without the token"
  within 60 scraped "$prometheus"
  composed logs secrets 2>&1 | grep -q 'opens with [0-9a-f]\{32\},' || fail "nobody is told how the desk is opened"
  echo "compose: secrets, shop and prometheus are up, and the one scrapes the other"
}

(($#)) || set -- image deb compose
for part in "$@"; do
  case $part in
    image | deb | compose) "$part" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
