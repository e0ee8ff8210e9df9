#!/bin/sh
# Links the agent, called by rustc in place of the compiler: the functions that an idle agent runs,
# as node-agent/order.txt has them, come first and beside each other. The kernel maps 16 pages
# around each that is run; where those few lie among all others, that is nearly the whole program.
#
# A name there that is none any more does no harm, and one that is missing costs 64 KiB;
# tools/order-agent.sh writes the file anew. Another linker than lld orders nothing.
set -eu
case " $* " in *" -fuse-ld=lld "*) ;; *) exec cc "$@" ;; esac

list=$(dirname "$0")/../node-agent/order.txt
order=$(mktemp)
trap 'rm -f "$order"' EXIT
for file in "$@"; do
    case $file in
    *.rcgu.o | *libaws_lc_sys-*.rlib) nm --defined-only --format=just-symbols "$file" 2>/dev/null ;;
    esac
done | awk '
    NR == FNR { runs[$0]; next }
    {
        name = $0
        sub(/17h[0-9a-f]+E(\.llvm\.[0-9]+)?$/, "", name) # of the compiler and the versions
        sub(/^aws_lc_[0-9]+_[0-9]+_[0-9]+_/, "aws_lc_", name)
        if (name in runs) print
    }' "$list" - >"$order"
cc "$@" "-Wl,--symbol-ordering-file=$order" -Wl,--no-warn-symbol-ordering
