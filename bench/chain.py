#!/usr/bin/env python3
"""Chains of 10^3, 10^4 and 10^5 nodes (residual blocks of Conv, Relu, Conv,
Add): time and peak memory of onnx2cg without and with the spectrum, and the
cost per node, which should not grow."""
from common import CACHE, arguments, machine, medians, tool, wire

CHANNELS, SIZE = 8, 14


def write(path, count):
    shape = [1, CHANNELS, SIZE, SIZE]
    raw = wire.field(9, bytes(4 * CHANNELS * CHANNELS))
    nodes, tensors, skip = [], [], "x0"
    for k in range(1, count + 1):
        last, this, step = f"x{k - 1}", f"x{k}", k % 4
        if step in (1, 3):
            nodes.append(wire.node("Conv", [last, f"w{k}"], [this]))
            tensors.append(wire.tensor(f"w{k}", [CHANNELS, CHANNELS, 1, 1],
                                       wire.FLOAT) + raw)
        elif step == 2:
            nodes.append(wire.node("Relu", [last], [this]))
        else:
            nodes.append(wire.node("Add", [last, skip], [this]))
            skip = this
    path.write_bytes(wire.model(wire.graph(
        nodes, [wire.info("x0", shape)], [wire.info(f"x{count}", shape)],
        tensors)))


def main():
    args = arguments(__doc__, 5).parse_args()
    program = tool(args.build)
    CACHE.mkdir(exist_ok=True)
    print(f"{machine()}; medians of {args.runs} alternating runs")
    print(f"{'nodes':>8} {'spectrum':>8} {'ms':>9} {'CPU ms':>9} "
          f"{'us/node':>8} {'MiB':>7}")
    for nodes in (1000, 10000, 100000):
        path = CACHE / f"chain{nodes}.onnx"
        write(path, nodes)
        rows = medians({
            "no": [program, "--stats", path],
            "yes": [program, "--stats", "--spectrum", path],
        }, args.runs)
        for name, row in rows.items():
            if row:
                ms, cpu, kib = row
                print(f"{nodes:8} {name:>8} {ms:9.1f} {cpu:9.1f} "
                      f"{1e3 * ms / nodes:8.2f} {kib / 1024:7.1f}")


if __name__ == "__main__":
    main()
