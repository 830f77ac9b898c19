#!/bin/bash
# Fuzzes the parser of task files: run.sh [SECONDS]. It starts with the examples under fixtures/. It does not need cargo-fuzz: it
# passes the same flags to the compiler, which any toolchain supports.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
root=$(cd ../.. && pwd)
corpus=$root/target/fuzz/corpus
mkdir -p "$corpus"
find "$root/fixtures/tasks" -name '*.yaml' -exec cp {} "$corpus" \;

export CARGO_TARGET_DIR=$root/target/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# With an explicit target, build scripts and macros are compiled without these flags.
target=$(rustc -vV | sed -n 's/^host: //p')
${CARGO:-cargo} build --release --target "$target"
exec "$CARGO_TARGET_DIR/$target/release/task_file" "$corpus" -dict=task_file.dict -max_len=2048 -max_total_time="$seconds" \
    -artifact_prefix="$CARGO_TARGET_DIR/" -print_final_stats=1 -timeout=5 -verbosity=1
