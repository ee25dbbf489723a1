#!/bin/sh
# Fuzzes every target for a number of seconds with libFuzzer: `run.sh SECONDS [TARGET...]`.
#
# It compiles with the flags that cargo-fuzz would give, so that stable Rust alone will do. There is
# no address sanitizer: all of the workspace is free of unsafe code. What the inputs taught is kept
# in fuzz/corpus, an input that breaks a target in fuzz/artifacts.
set -eu
cd "$(dirname "$0")"

seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
[ $# -gt 0 ] || set -- pem_chain certificate_request ocsp_request

# With --target the flags are kept from build scripts and macros.
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="--cfg fuzzing $coverage" \
    cargo build --release --target "$host" --target-dir target

./seeds.sh target/seeds

for target in "$@"; do
    echo "fuzz: $target for $seconds s" >&2
    mkdir -p "corpus/$target" "artifacts/$target"
    if ! "target/$host/release/$target" "corpus/$target" "target/seeds/$target" \
        -max_total_time="$seconds" -max_len=20000 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 >"target/$target.log" 2>&1; then
        cat "target/$target.log" >&2
        echo "fuzz: $target is broken by the input named above" >&2
        exit 1
    fi
    grep -E '^(stat::number_of_executed_units|INFO: seed corpus)' "target/$target.log" >&2
done
