#!/bin/sh
# Moves an assignment to another version of its bundle, or to other nodes.
# Usage: assignments-update.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY [EXCLUSION...]]]
# Exclusions are replaced, too: those that are not named are gone.
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
bundle_assignment "$@" | call muster.admin.v1.AssignmentsService/UpdateAssignment
