#!/usr/bin/env python3
"""Spectra of 1,000 graphs against numpy's dense eigenvalues, to 1e-8.

usage: spectrum_numpy.py TEST_SPECTRUM [GRAPHS]

Each graph is solved twice, by the usual choice of solver and by the sparse
one; random, paths, cycles, grids, stars, trees, disconnected, repeated cells,
bipartite and complete graphs, and ladders of residual blocks.
"""
import os
import random
import subprocess
import sys

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
from support import need  # noqa: E402

need("numpy")
import numpy as np  # noqa: E402

Q = 21
TOLERANCE = 1e-8


def path(r, n):
    return n, [(i, i + 1) for i in range(n - 1)]


def cycle(r, n):
    return n, [(i, (i + 1) % n) for i in range(n)]


def star(r, n):
    return n, [(0, i) for i in range(1, n)]


def grid(r, n):
    a = max(1, int(n ** r.uniform(0.2, 0.5)))
    b = max(1, n // a)
    return a * b, ([(i * b + j, i * b + j + 1) for i in range(a)
                    for j in range(b - 1)] +
                   [(i * b + j, i * b + b + j) for i in range(a - 1)
                    for j in range(b)])


def tree(r, n):
    reach = r.choice([1, 2, 5, n])
    return n, [(i, r.randint(max(0, i - reach), i - 1)) for i in range(1, n)]


def binary_tree(r, n):
    return n, [(i, (i - 1) // 2) for i in range(1, n)]


def sparse_random(r, n):
    return n, [(r.randrange(n), r.randrange(n))
               for _ in range(int(n * r.uniform(0.2, 4)))]


def dense_random(r, n):
    p = r.uniform(0.05, 0.9)
    return n, [(i, j) for i in range(n) for j in range(i) if r.random() < p]


def bipartite(r, n):
    a = r.randint(1, max(1, n - 1))
    return n, [(i, j) for i in range(a) for j in range(a, n)]


def complete(r, n):
    return n, [(i, j) for i in range(n) for j in range(i)]


def disconnected(r, n):
    edges, at = [], 0
    equal = r.random() < 0.5
    make = r.choice(SINGLE)
    size = r.randint(1, max(1, n // r.randint(1, 30)))
    while at < n:
        if not equal:
            make, size = r.choice(SINGLE), r.randint(1, max(1, n // 4))
        m, part = make(r, size)
        edges += [(a + at, b + at) for a, b in part]
        at += max(m, 1)
    return at, edges


def cells(r, n):
    """One random cell again and again, in a chain: a NAS network."""
    size = r.randint(2, 12)
    cell = [(r.randrange(i), i) for i in range(1, size)]
    cell += [(r.randrange(size), r.randrange(size)) for _ in range(size // 2)]
    copies = max(1, n // size)
    edges = [(c * size + a, c * size + b) for c in range(copies)
             for a, b in cell]
    edges += [(c * size + size - 1, c * size + size)
              for c in range(copies - 1)]
    return size * copies, edges


def branches(r, n):
    """Blocks of equal parallel branches, as Inception has them."""
    edges, at, width, depth = [], 0, r.randint(2, 8), r.randint(1, 3)
    while at + width * depth + 1 < n:
        end = at + width * depth + 1
        for w in range(width):
            chain = [at] + [at + 1 + w * depth + d for d in range(depth)]
            edges += list(zip(chain, chain[1:] + [end]))
        at = end
    return at + 1, edges


def residual(r, n):
    skip = r.randint(2, 5)
    return n, ([(i, i + 1) for i in range(n - 1)] +
               [(i, i + skip) for i in range(0, n - skip, skip)])


def dense_blocks(r, n):
    block = r.randint(3, 20)
    return n, [(i, j) for j in range(n)
               for i in range(j - j % block, j)] + [
                   (j - 1, j) for j in range(block, n, block)]


SINGLE = [path, cycle, star, grid, tree, binary_tree, sparse_random,
          dense_random, bipartite, complete, cells, branches, residual,
          dense_blocks]
KINDS = SINGLE + [disconnected, disconnected]


def oracle(n, edges):
    a = np.zeros((n, n))
    for i, j in edges:
        if i != j:
            a[i, j] = a[j, i] = 1
    degree = a.sum(axis=1)
    s = np.zeros(n)
    s[degree > 0] = degree[degree > 0] ** -0.5
    lap = np.diag((degree > 0).astype(float)) - s[:, None] * a * s[None, :]
    w = np.linalg.eigvalsh(lap)[:Q]
    return np.concatenate([w, np.full(Q - len(w), 2.0)])


def size(r):
    return r.randint(1, 40) if r.random() < 0.3 else r.randint(41, 600)


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 1000
    r = random.Random(1)
    graphs = []
    for k in range(count):
        kind = KINDS[k % len(KINDS)]
        n, edges = kind(r, size(r))
        graphs.append((kind.__name__, n, edges))
    text = "".join(
        f"{n} {len(e)}\n" + "".join(f"{a} {b}\n" for a, b in e)
        for _, n, e in graphs)
    out = subprocess.run([program, "-"], input=text, capture_output=True,
                         text=True)
    lines = out.stdout.splitlines()
    if out.returncode or len(lines) != 2 * count:
        print(f"{program}: exit {out.returncode}, {len(lines)} lines")
        print("\n".join(x for x in lines if "FAIL" in x))
        return 1
    worst, bad = [0.0, 0.0], 0
    for k, (name, n, edges) in enumerate(graphs):
        want = oracle(n, edges)
        for way in range(2):
            have = np.array([float(x) for x in lines[2 * k + way].split()])
            off = float(np.abs(have - want).max())
            worst[way] = max(worst[way], off)
            if not off < TOLERANCE:
                bad += 1
                print(f"graph {k} ({name}, {n} nodes, {len(edges)} edges), "
                      f"{'sparse' if way else 'usual'} solver: off by {off:g}")
    largest = max(n for _, n, _ in graphs)
    print(f"{count} graphs of 1 to {largest} nodes: worst error "
          f"{worst[0]:.1e} (usual solver), {worst[1]:.1e} (sparse); "
          f"{bad} over {TOLERANCE:g}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
