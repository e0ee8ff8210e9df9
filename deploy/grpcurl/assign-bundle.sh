#!/bin/sh
# Gives a bundle to all nodes that a selector matches, now and later.
# Usage: assign-bundle.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY [EXCLUSION...]]]
# Version 0 is the newest of now. Nodes that an exclusion matches, also a selector, are left out.
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
bundle_assignment "$@" | call muster.admin.v1.AssignmentsService/CreateAssignment
