#!/usr/bin/env python3
"""Whole process, against the peers, same run: `onnx2cg --stats MODEL` against
onnx.load + onnx.shape_inference.infer_shapes and against onnx-tool's profile;
wall time and peak memory, medians of alternating runs.

Without MODELs resnet50 and vit_b_16 are exported by torchvision, weights in
the file, into a cache directory. With --fill DIR the stripped exports of a
directory get random weights instead.
"""
import sys
from pathlib import Path

from common import CACHE, arguments, machine, medians, tool

NAMES = ("resnet50", "vit_b_16")
ONNX = """
import sys, onnx
onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))
"""
ONNX_TOOL = """
import sys, onnx_tool
onnx_tool.model_profile(sys.argv[1])
"""


def export(name):
    """Random weights: their values do not matter here, their bytes do."""
    path = CACHE / f"{name}.onnx"
    if path.exists():
        return path
    import torch
    import torchvision
    print(f"exporting {name} ...", file=sys.stderr)
    model = getattr(torchvision.models, name)(weights=None).eval()
    part = CACHE / f"{name}.part"
    torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), str(part),
                      opset_version=17, dynamo=False)
    part.rename(path)
    return path


def fill(source):
    """A copy of a stripped model with all its weights."""
    import math
    import os
    import onnx
    path = CACHE / source.name
    if path.exists():
        return path
    model = onnx.load(str(source), load_external_data=False)
    for t in model.graph.initializer:
        size = math.prod(t.dims)
        if t.data_type == onnx.TensorProto.FLOAT and not (
                t.raw_data or t.float_data):
            del t.external_data[:]
            t.data_location = onnx.TensorProto.DEFAULT
            t.raw_data = os.urandom(4 * size)
    onnx.save(model, str(path))
    return path


def table(rows):
    ours = rows["onnx2cg --stats"]
    if ours is None:
        sys.exit(1)
    print(f"  {'program':34} {'ms':>9} {'x':>7} {'MiB':>8} {'x':>7}")
    for name, row in rows.items():
        if row is None:
            print(f"  {name:34} {'failed':>9}")
            continue
        ms, _, kib = row
        print(f"  {name:34} {ms:9.1f} {ms / ours[0]:7.1f} "
              f"{kib / 1024:8.1f} {kib / ours[2]:7.1f}")


def main():
    parser = arguments(__doc__, 7)
    parser.add_argument("--fill", type=Path, metavar="DIR",
                        help="use DIR/resnet50.onnx and DIR/vit_b_16.onnx")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    args = parser.parse_args()
    program = tool(args.build)
    CACHE.mkdir(exist_ok=True)
    if args.models:
        models = args.models
    elif args.fill:
        models = [fill(args.fill / f"{name}.onnx") for name in NAMES]
    else:
        models = [export(name) for name in NAMES]
    print(f"{machine()}; medians of {args.runs} alternating runs")
    for path in models:
        print(f"{path.name}, {path.stat().st_size / 2**20:.1f} MiB")
        table(medians({
            "onnx2cg --stats": [program, "--stats", path],
            "onnx.load + infer_shapes": [sys.executable, "-c", ONNX, path],
            "onnx-tool model_profile": [sys.executable, "-c", ONNX_TOOL, path],
            "(python, import onnx alone)": [sys.executable, "-c",
                                            "import onnx"],
        }, args.runs))


if __name__ == "__main__":
    main()
