#!/usr/bin/env bash
# Installs what is missing, builds, and turns a real exported network into
# its computation graph. Safe to run twice.
set -euo pipefail
cd "$(dirname "$0")"
. tests/setup.sh

[ "${1:-}" = --no-install ] || install_packages
build build

tool=build/tools/onnx2cg
model=examples/mobilenet_v3_small.onnx

say "$tool $model"
$tool $model
say "$tool --stats $model"
$tool --stats $model
say "$tool -o build/mobilenet.cg --format cg $model"
$tool -o build/mobilenet.cg --format cg $model
head -n 8 build/mobilenet.cg | cut -c 1-120
echo "... ($(wc -l <build/mobilenet.cg) lines)"
if command -v dot >/dev/null; then
    say "$tool --format dot $model | dot -Tsvg >build/mobilenet.svg"
    $tool --format dot $model | dot -Tsvg >build/mobilenet.svg
    echo "a picture of it: build/mobilenet.svg"
else
    say "no graphviz, no picture"
fi
