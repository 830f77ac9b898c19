#!/bin/bash
# Fuzzes the targets: run.sh RUNS [TARGET...], all of them by default, with this many inputs each. It starts with the seeds beside it,
# and task_file with the examples under fixtures/, too. It does not need cargo-fuzz: it passes the same flags to the compiler, which any
# toolchain supports.
#
# An input fails that panics, takes more than a second of CPU time, or needs more than 512 MB.
set -euo pipefail
cd "$(dirname "$0")"
runs=$1
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz_targets/*.rs; do
    targets+=("$(basename "$file" .rs)")
  done
fi
root=$(cd ../.. && pwd)

export CARGO_TARGET_DIR=$root/target/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# With an explicit target, build scripts and macros are compiled without these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
${CARGO:-cargo} build --locked --release --target "$host"

for target in "${targets[@]}"; do
  corpus=$root/target/fuzz/corpus/$target
  mkdir -p "$corpus"
  seeds=("seeds/$target")
  case $target in
    task_file)
      seeds+=("$root/fixtures/tasks")
      flags=(-dict=task_file.dict -max_len=2048)
      ;;
    # Lines are cut at 8 KiB.
    log_lines) flags=(-max_len=20000) ;;
    *) flags=(-max_len=1024) ;;
  esac
  echo "== $target"
  "$CARGO_TARGET_DIR/$host/release/$target" "$corpus" "${seeds[@]}" "${flags[@]}" -runs="$runs" -rss_limit_mb=512 -timeout=20 \
    -artifact_prefix="$root/target/fuzz/$target-" -print_final_stats=1 -verbosity=1
done
