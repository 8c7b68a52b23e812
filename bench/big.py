#!/usr/bin/env python3
"""A single-file model of 2 GiB (eight 256 MiB weights; the file is sparse and
takes no disk space): time and peak memory of onnx2cg. Protobuf itself cannot
read it: its messages end at 2 GB."""
from common import CACHE, arguments, machine, medians, tool, wire

SIDE = 8192


def write(path):
    parts = [wire.field(2, "big"), wire.field(11, wire.info("x0", [1, SIDE]))]
    for k in range(8):
        node = wire.node("MatMul", [f"x{k}", f"w{k}"], [f"x{k + 1}"])
        parts += [(f"w{k}", [SIDE, SIDE]), wire.field(1, node)]
    parts.append(wire.field(12, wire.info("x8", [1, SIDE])))
    wire.write_model(path, parts)


def main():
    args = arguments(__doc__, 9).parse_args()
    program = tool(args.build)
    CACHE.mkdir(exist_ok=True)
    path = CACHE / "big.onnx"
    write(path)
    rows = medians({"onnx2cg": [program, "--stats", path]}, args.runs)
    ms, _, kib = rows["onnx2cg"]
    print(f"{machine()}; median of {args.runs} runs\n"
          f"{path.stat().st_size} bytes: {ms:.1f} ms, {kib / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
