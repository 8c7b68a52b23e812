#!/usr/bin/env bash
# Runs the fuzz targets, asan and ubsan on, seeds from the repository.
#
#   tests/fuzz.sh [SECONDS]     each target for that long (600), both at a time
#
# Needs clang with libFuzzer. Findings are left in build-fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
dir=build-fuzz

[ -f $dir/build.ninja ] ||
    CC=clang meson setup $dir -Dfuzz=true -Db_lundef=false \
        -Db_sanitize=address,undefined -Dbuildtype=debugoptimized
ninja -C $dir tests/fuzz_onnx tests/fuzz_text

mkdir -p $dir/seeds-onnx $dir/seeds-text $dir/corpus-onnx $dir/corpus-text
find tests examples -name '*.onnx' -size -64k | while read -r f; do
    cp "$f" "$dir/seeds-onnx/$(echo "$f" | tr / -)"
done
cp tests/cases/*.cg $dir/seeds-text/

export UBSAN_OPTIONS=halt_on_error=1
status=0
pids=()
for target in onnx text; do
    $dir/tests/fuzz_$target -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix=$dir/$target- \
        $dir/corpus-$target $dir/seeds-$target \
        >$dir/$target.log 2>&1 &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || status=1
done
for target in onnx text; do
    echo "== $target: $(grep -h stat::number_of_executed_units $dir/$target.log)"
    grep -hE '^SUMMARY|ERROR:' $dir/$target.log || echo "no finding"
done
exit $status
