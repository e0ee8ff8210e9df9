#!/bin/sh
# All groups.
# Usage: groups-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.GroupsService/ListGroups <<EOF
{"page_size": 1000}
EOF
