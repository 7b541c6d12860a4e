#!/usr/bin/env bash
# The definitions of the kinds in deploy/kubernetes that are not Kubernetes' own, as their projects release them (Apache License 2.0):
# read from the Go proxy's cache, so none is kept here. Prints a path for each; needs Go.
#   crds.sh
set -euo pipefail
module() { (cd / && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

keda=$(module github.com/kedacore/keda/v2@v2.21.0)
operator=$(module github.com/prometheus-operator/prometheus-operator@v0.85.0)
ls "$keda"/config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml \
  "$operator/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
