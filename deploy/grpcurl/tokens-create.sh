#!/bin/sh
# Makes a join token; prints the join string, this one time.
# Usage: tokens-create.sh [DESCRIPTION [USES [TTL_SECONDS [KEY=VALUE [REQUIRE_APPROVAL [REQUESTABLE]]]]]]
# REQUESTABLE: a label that its hosts may ask for: KEY, KEY=VALUE or KEY=START*.
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
label=${4:-}
labels=
[ -z "$label" ] || labels="$(quote "${label%%=*}"): $(quote "${label#*=}")"
requestable=
[ -z "${6:-}" ] || requestable=$(quote "$6")
call muster.admin.v1.JoinTokensService/CreateJoinToken <<EOF
{
  "description": $(quote "${1:-}"),
  "max_uses": ${2:-1},
  "ttl": "${3:-3600}s",
  "labels": {$labels},
  "require_approval": ${5:-false},
  "requestable_labels": [$requestable]
}
EOF
