#!/bin/sh
# Builds the fuzz targets and runs them: `fuzz/run.sh`, or `fuzz/run.sh TARGET…`.
# MUSTER_FUZZ_SECONDS: how long each runs (15). MUSTER_FUZZ_JOBS: how many at a
# time (2). `fuzz/run.sh seeds` writes the seeds of the corpus anew.
#
# The stable compiler and its documented -C options only: our code has no unsafe
# block, so what an address sanitizer would add is not worth a nightly compiler
# or RUSTC_BOOTSTRAP. What is looked for is panics (also of arithmetic, which is
# checked here), endless loops, memory without bound, and what each target holds.
set -eu
cd "$(dirname "$0")"
here=$PWD
seconds=${MUSTER_FUZZ_SECONDS:-15}
jobs=${MUSTER_FUZZ_JOBS:-2}
host=$(rustc -vV | sed -n 's/^host: //p')
work=$here/target/fuzz
binaries=$here/target/$host/release

build() {
    # Only with --target do these flags spare build scripts and macros.
    sancov='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3'
    for what in inline-8bit-counters pc-table trace-compares; do
        sancov="$sancov -Cllvm-args=-sanitizer-coverage-$what"
    done
    RUSTFLAGS="$sancov" "${CARGO:-cargo}" build --locked --release --target "$host" --target-dir "$here/target"
}

# Runs one target on the corpus of the repository and on what former runs found.
one() {
    mkdir -p "$work/$1" "$work/crashes/$1"
    dictionary=$here/dictionaries/$1.dict
    [ -f "$dictionary" ] && set -- "$1" -dict="$dictionary"
    code=0
    "$binaries/$1" "$work/$1" "$here/corpus/$1" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$work/crashes/$1/" ${2:-} >"$work/$1.log" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1.log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) corp: \([0-9]*\).*/\1 \2 \3/p' "$work/$1.log" | tail -n 1)
    # shellcheck disable=SC2086 # three words
    printf '%-16s %10s runs, coverage %s, features %s, corpus %s\n' "$1" "${runs:-?}" ${covered:-? ? ?}
    [ "$code" = 0 ] && return
    tail -n 40 "$work/$1.log"
    echo "fuzz: $1 failed; its input lies in $work/crashes/$1"
    return 1
}

case ${1:-} in
one)
    one "$2"
    exit
    ;;
esac

build
targets=${*:-$(sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' Cargo.toml)}
if [ "$targets" = seeds ]; then
    for target in $(sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' Cargo.toml); do
        MUSTER_FUZZ_SEEDS=$here/corpus "$binaries/$target"
    done
    exit
fi
# xargs ends with an error if one of them does.
printf '%s\n' $targets | xargs -n 1 -P "$jobs" "$here/run.sh" one
