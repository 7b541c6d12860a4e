#!/usr/bin/env bash
# Makes the packages of BINARY as scripts/package makes the real ones, installs each into a folder, starts what it installed, asks it,
# and stops it. Needs root, and the packages rpm, npm and python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill -KILL "$pid"; rm -rf "$work"' EXIT
export OUT=$work/packages
scripts/package >/dev/null

started() { # name, command that runs the program
  local name=$1; shift
  "$@" up --json --data "$work/data-$name" --intake-listen 127.0.0.1:0 --tracking-listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 \
    >"$work/$name.out" 2>"$work/$name.err" &
  pid=$!
  until [[ -s $work/$name.out ]]; do
    kill -0 "$pid" 2>/dev/null || { cat "$work/$name.err" >&2; echo "$name: does not start" >&2; pid=; exit 1; }
    sleep 0.1
  done
  local ops
  ops=$(sed 's/.*"ops":"\([^"]*\)".*/\1/' "$work/$name.out")
  for _ in {1..300}; do
    "$@" health --url "http://$ops" >"$work/$name.health" 2>&1 && break
    sleep 0.1
  done
  grep -q '"ready":true' "$work/$name.health" || { cat "$work/$name".{health,err} >&2; exit 1; }
  kill -TERM "$pid"
  wait "$pid" || { echo "$name: ends with $? when it is told to stop" >&2; exit 1; }
  pid=
  echo "$name: installed, started and stopped"
}
has() { # folder, files that a system package must have
  local root=$1 file
  for file in etc/encargo/encargo.toml usr/lib/systemd/system/encargo.service usr/share/man/man1/encargo-up.1.gz \
    usr/share/bash-completion/completions/encargo usr/share/doc/encargo/{copyright,changelog.gz}; do
    [[ -s $root/$file ]] || { echo "$root: no $file" >&2; exit 1; }
  done
}

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$OUT"/*.whl
started wheel "$work/venv/bin/encargo"

mkdir "$work/npm"
npm install --silent --offline --no-audit --no-fund --prefix "$work/npm" "$OUT"/*.tgz
started npm "$work/npm/node_modules/.bin/encargo"

dpkg-deb --extract "$OUT"/*.deb "$work/deb"
has "$work/deb"
started deb "$work/deb/usr/bin/encargo"

rpm --root "$work/rpm" --install --nodeps --noscripts "$OUT"/*.rpm
has "$work/rpm"
started rpm "$work/rpm/usr/bin/encargo"

mkdir "$work/apk"
tar --extract --gzip --directory "$work/apk" --file "$(echo "$OUT"/*.apk)" 2>/dev/null
has "$work/apk"
started apk "$work/apk/usr/bin/encargo"

"$work/deb/usr/bin/encargo" --version | grep -q "^encargo $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)$"
