#!/bin/sh
# Who you are to the control plane, and what you may call.
# Usage: whoami.sh
# Role: any.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SystemService/GetCaller <<EOF
{}
EOF
