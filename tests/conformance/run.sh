#!/bin/sh
# Lets the conformance suite of the TUF project judge the client workflow of agents.
# Usage: tests/conformance/run.sh SUITE
# SUITE: a checkout of https://github.com/theupdateframework/tuf-conformance. Needs python3
# with venv, and faketime. Build first: make binaries.
set -eu
[ $# -eq 1 ] || { sed -n 's/^# Usage/Usage/p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$here/../../target/conformance
python3 -m venv "$work"
"$work/bin/pip" install -q 'securesystemslib[crypto]==1.4.0' tuf==7.0.0 pytest==9.1.1 pytest-json-report==1.5.0
# The suite looks for what is expected to fail beside the program.
cp "$here/../../target/debug/muster-tuf-client" "$work/client"
cp "$here/client.xfails" "$work/client.xfails"
cd "$1"
exec "$work/bin/pytest" tuf_conformance -q --entrypoint "$work/client"
