#!/usr/bin/env python3
"""Networks of NAS-Bench-101 from their codes, on one core in one run: ours
(bench_zoo) against zoo_peer.py, which does it with networkx: the graph; the
graph with BatchNorm folded, parameters, multiply-adds and FLOPs counted; all
that and a hash of three rounds, or of as many rounds as the graph is deep.
Networks per second of CPU time, best of RUNS. That both count the same
parameters and multiply-adds is checked first.

Ours also simplifies, and validates the graph before the passes and after each
one; the peer does not. Our hash looks along whole paths, so it is compared
with both. With --pack all 423,624 networks are also packed on two threads,
spectra and colours included.
"""
import os
import subprocess
import sys
import time
import warnings

import networkx as nx
import zoo_peer
from common import CACHE, arguments, machine


def run(*command):
    out = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{command[0]}: {out.stderr.strip()}")
    return out.stdout


def peer_count(code):
    graph = zoo_peer.build(code)
    zoo_peer.fold(graph)
    return zoo_peer.count(graph)


def peer_hash(code):
    graph = zoo_peer.build(code)
    zoo_peer.fold(graph)
    return zoo_peer.count(graph), zoo_peer.digest(graph)


def peer_deep_hash(code):
    graph = zoo_peer.build(code)
    zoo_peer.fold(graph)
    depth = nx.dag_longest_path_length(graph)
    return zoo_peer.count(graph), zoo_peer.digest(graph, depth)


def check(ours, codes):
    """Parameters, multiply-adds of each network, as both count them."""
    for code, line in zip(codes, ours.splitlines(), strict=True):
        got = tuple(map(int, line.split()))
        want = peer_count(code)
        if got[:2] != want[:2]:
            sys.exit(f"{code}: params, macs: {got[:2]}, the peer has "
                     f"{want[:2]}")


def peer_rate(step, codes, runs):
    best = 0
    for _ in range(runs):
        start = time.process_time()
        for code in codes:
            step(code)
        best = max(best, len(codes) / (time.process_time() - start))
    return best


def main():
    parser = arguments(__doc__, 5)
    parser.add_argument("-n", type=int, default=5000,
                        help="networks, sampled (default: 5000)")
    parser.add_argument("--peer", type=int, default=300,
                        help="of these, for the peer (default: 300)")
    parser.add_argument("--pack", action="store_true",
                        help="pack all networks as well")
    args = parser.parse_args()
    # networkx says that it hashes otherwise than it did
    warnings.simplefilter("ignore", UserWarning)
    run("ninja", "-C", args.build, "bench_zoo")
    ours, cgzoo = args.build / "bench_zoo", args.build / "tools" / "cgzoo"
    CACHE.mkdir(exist_ok=True)
    if args.pack:
        pack(cgzoo)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    path, few = CACHE / "nb101.txt", CACHE / "nb101-peer.txt"
    path.write_text(run(cgzoo, "sample", "nb101", "-n", args.n))
    codes = path.read_text().splitlines()[:args.peer]
    few.write_text("\n".join(codes) + "\n")
    check(run(ours, "nb101", few, 0), codes)
    print(f"{machine()}, on one; params and macs of {len(codes)} networks "
          "are the peer's")

    words = run(ours, "nb101", path, args.runs).split()
    rates = dict(zip(words[::2], map(float, words[1::2])))
    print(f"{'networks/s':20} {'ours':>8} {'networkx':>8} {'x':>6}")
    for name, text, step in (
            ("build", "build", zoo_peer.build),
            ("count", "build, fold, count", peer_count),
            ("hash", "... hash, 3 rounds", peer_hash),
            ("hash", "... hash, all rounds", peer_deep_hash)):
        peer = peer_rate(step, codes, args.runs)
        print(f"{text:20} {rates[name]:8.0f} {peer:8.0f} "
              f"{rates[name] / peer:6.1f}")


def pack(cgzoo):
    table, out = CACHE / "nb101.csv", CACHE / "nb101.cgs"
    rows = run(cgzoo, "enumerate", "nb101").splitlines()[1:]
    table.write_text("code,accuracy\n" + "".join(
        f"{row.split(',', 1)[1]},{i % 97 / 100}\n"
        for i, row in enumerate(rows)))
    start = time.monotonic()
    run(cgzoo, "pack", "nb101", "--labels", table, "--jobs", 2, "-o", out)
    print(f"{len(rows)} packed on 2 threads: "
          f"{time.monotonic() - start:.1f} s, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
