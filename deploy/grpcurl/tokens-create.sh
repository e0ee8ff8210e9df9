#!/bin/sh
# Makes a join token; prints the join string, this one time.
# Usage: tokens-create.sh [DESCRIPTION [USES [TTL_SECONDS [KEY=VALUE [REQUIRE_APPROVAL]]]]]
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
label=${4:-}
labels=
[ -z "$label" ] || labels="$(quote "${label%%=*}"): $(quote "${label#*=}")"
call muster.admin.v1.JoinTokensService/CreateJoinToken <<EOF
{
  "description": $(quote "${1:-}"),
  "max_uses": ${2:-1},
  "ttl": "${3:-3600}s",
  "labels": {$labels},
  "require_approval": ${5:-false}
}
EOF
