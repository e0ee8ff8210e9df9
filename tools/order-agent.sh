#!/bin/sh
# Writes node-agent/order.txt anew, after changes to what an idle agent does or a new compiler: runs
# the agent of `make agent` in valgrind, beside a control plane of `make binaries`, from its start
# through a minute of heartbeats, and keeps the names of all functions that were run.
set -eu
export LC_ALL=C # one order of names
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/seen"
chmod 755 "$folder"
chmod 777 "$folder/seen" # the agent's user is another one

# With its names, which `make agent` takes out.
cargo rustc --profile agent --package muster-node-agent --bin muster-node-agent -- \
    -C "linker=$PWD/tools/link-agent.sh" -C strip=none
cp target/agent/muster-node-agent "$folder/agent"
for program in bare bare-client control-plane; do ln -s "$PWD/target/debug/muster-$program" "$folder/"; done
cp target/debug/muster-bench "$folder/" # it looks for the others beside itself
cat >"$folder/muster-node-agent" <<END
#!/bin/sh
case "\$*" in
*" run") exec valgrind --quiet --tool=callgrind --demangle=no --dump-every-bb=200000 \\
    "--callgrind-out-file=$folder/seen/%p" "$folder/agent" "\$@" ;;
*) exec "$folder/agent" "\$@" ;;
esac
END
chmod 755 "$folder/muster-node-agent"
"$folder/muster-bench" --only footprint --runs 1 --any-footprint --watch-seconds 75

sed -nE "s/^c?fn=\([0-9]+\) //p" "$folder"/seen/* |
    sed -E "s/'[0-9]+$//; s/17h[0-9a-f]+E(\.llvm\.[0-9]+)?$//; s/^aws_lc_[0-9]+_[0-9]+_[0-9]+_/aws_lc_/" |
    sort -u >"$folder/run"
nm --defined-only --format=just-symbols "$folder/agent" |
    sed -E "s/17h[0-9a-f]+E(\.llvm\.[0-9]+)?$//; s/^aws_lc_[0-9]+_[0-9]+_[0-9]+_/aws_lc_/" |
    sort -u | comm -12 - "$folder/run" >node-agent/order.txt
wc -l node-agent/order.txt
