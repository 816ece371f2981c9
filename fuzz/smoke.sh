#!/usr/bin/env bash
# Builds every fuzz target for libFuzzer with the address sanitizer, without cargo-fuzz, and runs
# each from its committed corpus. What it finds goes to artifacts/, what it learns to target/.
#
# usage: fuzz/smoke.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-30}
shift || true
toolchain=${FUZZ_TOOLCHAIN:-nightly}
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')

if [ $# -gt 0 ]; then
    targets=("$@")
else
    mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
fi

# what cargo-fuzz passes: edge counters, comparisons, and the sanitizer
flags=(
    --cfg fuzzing
    -Zsanitizer=address
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Ccodegen-units=1
)
# an explicit --target keeps the flags away from build scripts
RUSTFLAGS="${flags[*]}" cargo "+$toolchain" build --quiet --release --target "$host" \
    "${targets[@]/#/--bin=}"

failed=()
for target in "${targets[@]}"; do
    learned=target/learned/$target
    mkdir -p "$learned" artifacts "corpus/$target"
    log=target/$target.log
    if "target/$host/release/$target" "$learned" "corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="artifacts/$target-" -print_final_stats=1 >"$log" 2>&1; then
        printf '%-18s %s\n' "$target" "$(sed -n 's/.*DONE */DONE /p' "$log" | tail -1)"
    else
        failed+=("$target")
        printf '%-18s FAILED\n' "$target"
        tail -40 "$log"
    fi
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
