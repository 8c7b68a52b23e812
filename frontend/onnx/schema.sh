#!/bin/sh
# schema.sh PROTOC_C SCHEMA OUTDIR
# Compiles an ONNX schema to OUTDIR/onnx.pb-c.{c,h}, whatever the schema file
# is called (onnx.proto, onnx-ml.proto): the generated names follow the file's.
set -eu
protoc_c=$1
schema=$2
out=$3
cp -f "$schema" "$out/onnx.proto"
exec "$protoc_c" --proto_path="$out" --c_out="$out" "$out/onnx.proto"
