#!/bin/sh
# Makes the next version of a bundle out of one file.
# Usage: bundles-create.sh NAME PATH_ON_HOSTS LOCAL_FILE [VALIDATE [ON_CHANGE [PROBE]]]
# The last three are shell lines run on the host, where its lock file allows hooks.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
hook() { [ -z "$2" ] || printf ', "%s": {"argv": ["/bin/sh", "-c", %s], "timeout_s": 30}' "$1" "$(quote "$2")"; }
call muster.admin.v1.BundlesService/CreateBundle <<EOF
{
  "name": $(quote "$1"),
  "content": {
    "files": [{"path": $(quote "$2"), "content": "$(file_base64 "$3")", "mode": 420}]
    $(hook validate "${4:-}")$(hook on_change "${5:-}")$(hook probe "${6:-}")
  }
}
EOF
