#!/bin/sh
# Renders and checks what is deployed: the chart against the schemas of Kubernetes, the compose
# file against that of its format, haproxy's configuration by haproxy, rules and alerts by
# Prometheus' own tool. Needs `make tools`.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The oldest and the newest Kubernetes that the chart is for.
versions="1.27.0 1.34.0"

chart() {
    name=$1
    shift
    "$tools/charts/bin/helm" template muster deploy/helm/muster --namespace muster "$@" >"$work/$name.yaml"
    for version in $versions; do
        "$tools/charts/bin/kubernetes-validate" --strict --quiet -k "$version" "$work/$name.yaml"
    done
}

"$tools/charts/bin/helm" lint --strict --quiet deploy/helm/muster
chart default
chart all --values deploy/helm/all-values.yaml
# Values that cannot be are refused by the chart itself.
if "$tools/charts/bin/helm" template muster deploy/helm/muster --set store.url=sqlite:x >/dev/null 2>&1; then
    echo "a store that is a file was not refused" >&2
    exit 1
fi

# What is off is nowhere.
if grep -q -e fleet-console -e 8446 "$work/default.yaml"; then
    echo "the fleet console is in the chart without being asked for" >&2
    exit 1
fi
if "$tools/charts/bin/helm" template muster deploy/helm/muster --set fleetConsole.enabled=true \
    --set extraConfig='[fleet-console]' >/dev/null 2>&1; then
    echo "two sections of the fleet console were not refused" >&2
    exit 1
fi

"$tools/charts/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec deploy/compose/compose.yaml \
    deploy/compose/fleet-console.yaml

LD_LIBRARY_PATH=$(echo "$tools"/balancer/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
# Names of control planes are unknown here, and only here: that is a warning.
"$tools/balancer/usr/sbin/haproxy" -q -c -f deploy/haproxy/haproxy.cfg

promtool=$tools/monitoring/usr/bin/promtool
"$promtool" check rules --lint=all --lint-fatal deploy/prometheus/rules.yml deploy/prometheus/alerts.yml >"$work/rules" ||
    { cat "$work/rules" >&2; exit 1; }
(cd deploy/prometheus && "$promtool" test rules rules_test.yml) >"$work/rules" || { cat "$work/rules" >&2; exit 1; }
