#!/bin/sh
# Who has which role on which nodes.
# Usage: bindings-list.sh
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AccessService/ListBindings <<EOF
{}
EOF
