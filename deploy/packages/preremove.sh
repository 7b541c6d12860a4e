#!/bin/sh
# Only when it goes for good (dpkg: remove, rpm: 0), not for an upgrade. Data stays, in /var/lib/private/encargo.
set -e
[ -d /run/systemd/system ] || exit 0
case "$1" in remove | 0) systemctl disable --now encargo.service ;; esac
