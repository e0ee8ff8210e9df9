#!/bin/sh
# What happened, the newest first: of one node, or of all; of one kind, or of all.
# Usage: events-list.sh [NODE_ID [KIND [PAGE_TOKEN]]]   KIND: NODE_OFFLINE, ITEM_FAILED, … NODE_ID may be ""
# Role: viewer.
. "$(dirname "$0")/lib.sh"
kinds='[]'
[ -n "${2:-}" ] && kinds="[$(quote "EVENT_KIND_$2")]"
call muster.admin.v1.EventsService/ListEvents <<EOF
{"node_id": $(quote "${1:-}"), "kinds": $kinds, "page_token": $(quote "${3:-}")}
EOF
