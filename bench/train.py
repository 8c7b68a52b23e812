#!/usr/bin/env python3
"""Training and inference against PyTorch, in one run on one set: graphs per
second of the k-GNN regressor's training step, of the contrastive encoder's
(both views, dropout), and of the inference of each, with 1 and 2 threads; ours
and theirs in turn, medians. Then what share of this core's SGEMM rate training
reaches, and what takes the rest of the time.

    train.py SET.cgs [--batch 128] [--runs 3] [--build DIR]

Ours is cgtrain as it says itself (batches are made from the set in every step,
validation after an epoch counts) and bench_learn. PyTorch's batches, masks and
targets are made beforehand and not counted; the k-GNN's lines "ready" have
ours made beforehand as well. PyTorch takes the fastest of several ways
(peer_torch.py), found by trial; beside it stands the plain one: an input
vector for each node, index_add, one padded block. That both compute the same is
checked first: predictions of one model, and the loss of a step without dropout.
"""
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

from common import CACHE, arguments, machine, measure

import numpy as np
import torch

import cgs
import peer_torch
from peer_torch import Batch, Model, Ways

KEYS = {'tau': 0.05, 'alpha_temperature': 0.05, 'heads': 2, 'dropout': 0.1,
        'flops_weight': 1, 'clip': 5, 'lr': 1e-4, 'cl_lr': 1e-4, 'decay': 0,
        'label': 'accuracy', 'loss': 'mse'}
WANTED = {'kgnn step': (15, 30), 'encoder step': (8, 15),
          'kgnn inference': (15, 30), 'encoder inference': (15, 30)}
PLAIN = Ways('nodes', 'index_add', 'sdpa', 1, 'foreach')
STEPS = {'kgnn': 10, 'encoder': 4}    # of the peer, a measurement
GRAPHS = {'kgnn': 40000, 'encoder': 10000}  # of ours


# -- ours ---------------------------------------------------------------------

class Ours:
    def __init__(self, args):
        self.set, self.batch, self.build = args.set, args.batch, args.build
        self.cpu = args.cpu
        self.run('ninja', '-C', self.build, 'bench_learn', 'tools/cgtrain')
        self.cgtrain = self.build / 'tools' / 'cgtrain'
        self.bench = self.build / 'bench_learn'

    def run(self, *command):
        out = subprocess.run([*map(str, command)], capture_output=True,
                             text=True)
        if out.returncode != 0:
            sys.exit(f'{command[0]}: {out.stderr.strip() or out.stdout}')
        return out

    def train(self, member, threads=1, limit=None, epochs=1, dropout=None,
              extra=()):
        """The model's path, and what was said on stderr."""
        keys = self.keys(member, limit, epochs)
        if dropout is not None:
            keys['dropout'] = dropout
        path = CACHE / f'{member}-{epochs}.safetensors'
        out = self.run(*self.command(member, path, keys, threads), *extra)
        return path, out.stderr

    def keys(self, member, limit=None, epochs=1):
        return KEYS | {'members': member, 'epochs': epochs,
                       'cl_epochs': epochs, 'batch': self.batch,
                       'cl_batch': self.batch,
                       'limit': limit or GRAPHS[member]}

    def command(self, member, path, keys, threads):
        return [self.cgtrain, self.set, '-o', path, '--threads', threads,
                *(word for key, value in keys.items()
                  for word in ('--set', f'{key}={value}'))]

    def step_rate(self, member, threads):
        if not self.cpu:
            _, said = self.train(member, threads)
            return float(re.findall(r'(\d+) graphs/s', said)[-1])
        seconds = [measure(self.command(member, CACHE / 'cpu.safetensors',
                                        self.keys(member, epochs=n),
                                        threads))[1] / 1e3 for n in (1, 3)]
        return 2 * 0.8 * GRAPHS[member] / (seconds[1] - seconds[0])

    def rate(self, model, member, threads):
        out = self.run(self.bench, 'rate', self.set, model, member, threads,
                       3, GRAPHS[member]).stdout
        return statistics.median(float(line.split()[self.cpu])
                                 for line in out.splitlines())

    def ready(self, model, member, threads):
        """Of a training step and of inference, batches made beforehand."""
        out = self.run(self.bench, 'steps', self.set, model, member, threads,
                       3, GRAPHS[member], self.batch).stdout
        rows = [[float(x) for x in line.split()] for line in out.splitlines()]
        return [statistics.median(row[at + self.cpu] for row in rows)
                for at in (0, 2)]

    def shapes(self, model, member):
        out = self.run(self.bench, 'shapes', self.set, model, member,
                       self.batch).stdout
        return [float(x) / self.batch for x in out.split()]


# -- theirs -------------------------------------------------------------------

class Theirs:
    def __init__(self, args, data, models):
        self.data, self.size, self.files = data, args.batch, models
        self.clock = time.process_time if args.cpu else time.perf_counter
        _, meta = cgs.tensors(models['kgnn'])
        self.table = data.inputs(meta['inputs'].splitlines())
        order = np.random.default_rng(1).permutation(data.n_graphs)
        self.rows = [order[i:i + self.size] for i in
                     range(0, max(STEPS.values()) * self.size, self.size)]
        self.made = {}

    def batches(self, ways, size=None):
        size, parts = size or self.size, ways.parts
        if (parts, size) not in self.made:
            rows = np.concatenate(self.rows)
            self.made[parts, size] = [
                Batch(self.data, rows[i:i + size], parts)
                for i in range(0, len(rows) - size + 1, size)]
        made = self.made[parts, size]
        for b in made:
            if ways.inputs == 'nodes' and b.x is None:
                b.x = torch.from_numpy(self.table[b.token.numpy()]).float()
        return made

    def model(self, member, ways, dropout=KEYS['dropout'], path=None):
        weights, _ = cgs.tensors(path or self.files[member])
        return Model(member, weights, self.table, KEYS['heads'], dropout,
                     ways)

    def targets(self, member, rows, path=None):
        """Of the loss, with the standardisation in the model's file."""
        weights, _ = cgs.tensors(path or self.files[member])
        if member == 'kgnn':
            _, mean, sd = weights['kgnn.label'][0]
            a = self.data.labels[rows, 0] * (
                100 if np.nanmax(self.data.labels[:, 0]) <= 1 else 1)
            return torch.from_numpy((a - mean) / sd).float()
        x = np.log10(self.data.graph['flops'][rows] + 1)
        x = (x - weights['log_flops.mean'].item()) / weights[
            'log_flops.sd'].item()
        return (peer_torch.alpha(self.data.spectrum(rows),
                                 KEYS['alpha_temperature']),
                torch.from_numpy(np.concatenate([x, x])).float())

    def loss(self, model, member, b, target):
        if member == 'kgnn':
            return model.regressor_loss(b, target)
        return model.encoder_loss(b, target, KEYS['tau'],
                                  KEYS['flops_weight'])

    def step_rate(self, member, ways, threads, steps=None):
        torch.set_num_threads(threads)
        model = self.model(member, ways)
        batches = self.batches(ways)[:steps or STEPS[member]]
        targets = [self.targets(member, b.rows) for b in batches]
        work = list(zip(batches, targets))
        seconds = 0
        for k, (b, target) in enumerate(work[:1] + work):
            start = self.clock()
            model.step(lambda: self.loss(model, member, b, target),
                       KEYS['clip'], KEYS['lr'])
            seconds += (self.clock() - start) * (k > 0)  # 0: warm-up
        return len(work) * self.size / seconds

    def rate(self, member, ways, threads, size):
        torch.set_num_threads(threads)
        model = self.model(member, ways)
        batches = self.batches(ways, size)
        n = max(1, STEPS[member] * self.size // size)
        model.predict(batches[0])
        start = self.clock()
        for b in batches[:n]:
            model.predict(b)
        return n * size / (self.clock() - start)

    def best_ways(self, member):
        """The fastest for a step and, with a batch's size, for inference, with
        one thread."""
        choices = [Ways(messages=m) for m in ('csr', 'index_add')]
        if member == 'encoder':
            choices = [Ways(messages=m, attention=a, parts=p)
                       for m in ('csr',) for a in ('sdpa', 'matmul')
                       for p in (1, 4)]
        step = max(choices, key=lambda w: max(
            self.step_rate(member, w, 1, 2) for _ in range(2)))
        infer = max(((w, s) for w in choices for s in (self.size, 512)),
                    key=lambda c: self.rate(member, c[0], 1, c[1]))
        return step, infer


def check(ours, theirs, models):
    """Predictions of one model; loss of a step without dropout."""
    ways = Ways()
    rows = theirs.rows[0]
    b = Batch(theirs.data, rows)
    for member, path in models.items():
        lines = ours.run(ours.bench, 'print', ours.set, path, member
                         ).stdout.splitlines()
        mine = np.array([lines[row].split() for row in rows], float)
        other = theirs.model(member, ways).predict(b).numpy()
        far = np.abs(mine - other).max() / max(1, np.abs(other).max())
        trace = CACHE / 'trace.csv'
        start, _ = ours.train(member, epochs=0, limit=1000)
        ours.train(member, limit=1000, dropout=0, extra=('--trace', trace))
        line = trace.read_text().splitlines()[1].split(',')
        seen = np.array(line[3].split(), int)
        model = theirs.model(member, ways, 0, start)
        loss = theirs.loss(model, member, Batch(theirs.data, seen),
                           theirs.targets(member, seen, start)).item()
        off = abs(float(line[2]) / loss - 1)
        if not (far < 1e-4 and off < 1e-4):
            sys.exit(f'{member}: predictions off by {far:.1e}, loss by '
                     f'{off:.1e}: not the same mathematics')
        print(f'{member}: predictions agree to {far:.0e}, loss of a step to '
              f'{off:.0e}')


# -- where the time goes ------------------------------------------------------

def sgemm_rate():
    """GFLOP/s of OpenBLAS with 1024^3 on one core, the best of 20."""
    code = ('import ctypes, time, numpy as np\n'
            'f = ctypes.CDLL("libopenblas.so.0").cblas_sgemm\n'
            'n, best = 1024, 0\n'
            'a, b, c = (np.ones((n, n), np.float32) for _ in range(3))\n'
            'a, b, c = (ctypes.c_void_p(x.ctypes.data) for x in (a, b, c))\n'
            'one, zero = ctypes.c_float(1), ctypes.c_float(0)\n'
            'for _ in range(20):\n'
            '    t = time.perf_counter()\n'
            '    f(101, 111, 111, n, n, n, one, a, n, b, n, zero, c, n)\n'
            '    best = max(best, 2e-9 * n**3 / (time.perf_counter() - t))\n'
            'print(best)\n')
    out = subprocess.run([sys.executable, '-c', code], text=True,
                         capture_output=True,
                         env=os.environ | {'OPENBLAS_NUM_THREADS': '1'})
    return float(out.stdout) if out.returncode == 0 else math.nan


def torch_sgemm_rate():
    torch.set_num_threads(1)
    a = torch.ones(1024, 1024)
    best = 0
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        best = max(best, 2e-9 * 1024**3 / (time.perf_counter() - start))
    return best


def gemm_flops(member, path, shapes, batch):
    """FLOPs of the matrix products of a training step, per graph: forward,
    and twice that back (gradients of weights and of inputs; none of the
    network's inputs). Attention's products are counted like others."""
    weights, _ = cgs.tensors(path)
    rounds = len(shapes) - 4
    states, tokens, squares = (shapes[1:2 + rounds], shapes[2 + rounds],
                               shapes[3 + rounds])
    total = 0
    for name, w in weights.items():
        if not name.startswith(member + '.') or not name.endswith('weight'):
            continue
        part = name.split('.')[1:]
        if 'norm' in part[-2]:
            continue
        if part[0] == 'embed':
            rows, passes = states[0], 2
        elif part[0] == 'gnn':
            rows, passes = states[int(part[1])], 3
        elif part[0] == 'transformer':
            rows = states[0] if part[1] in ('up', 'qkv') else tokens
            passes = 3
        else:
            rows, passes = (2 if member == 'encoder' else 1), 3
        total += passes * 2 * rows * w.size
    if member == 'encoder':
        width = weights['encoder.transformer.out.weight'].shape[0]
        z = weights['encoder.project.1.weight'].shape[1]
        total += 2 * squares * width * 2 * 3     # q k^T and P v
        total += 2 * 4 * batch * z * 3           # z z^T
    return total


def sources(build):
    """Symbol -> source file, of the libraries in the build directory."""
    out = {}
    for lib in ('libgennape.a', 'libcpu.a'):
        text = subprocess.run(['nm', '-A', build / lib], text=True,
                              capture_output=True).stdout
        for m in re.finditer(r'(\w+)\.c\.o:\w* +[tTi] (\S+)$', text, re.M):
            path = m[1].replace('_', '/', 1).replace('cpu_', 'cpu/') + '.c'
            out.setdefault(m[2], []).append(path)
    return {name: ' or '.join(paths) for name, paths in out.items()}


def profile(ours, member):
    """Shares of the samples of cgtrain, one thread, by where the code is."""
    if not shutil.which('perf'):
        print('  no perf: where the rest goes is not known')
        return
    data, where = CACHE / 'perf.data', sources(ours.build)
    ours.run('perf', 'record', '-q', '-o', data, '-F', 2000, *ours.command(
        member, CACHE / 'perf.safetensors', ours.keys(member), 1))
    text = ours.run('perf', 'report', '-i', data, '--stdio', '--no-children',
                    '-F', 'overhead,dso,symbol', '-t', '|').stdout
    shares = {}
    for line in text.splitlines():
        m = re.match(r'\s*([\d.]+)%\s*\|([^|]*)\|\s*\[(.)\] (.*)', line)
        if not m:
            continue
        kind = ('OpenBLAS' if 'openblas' in m[2] else 'kernel'
                if m[3] == 'k' else where.get(m[4].strip(), m[2].strip()))
        shares[kind] = shares.get(kind, 0) + float(m[1])
    top = sorted(shares.items(), key=lambda x: -x[1])
    for kind, share in top[:12]:
        print(f'  {share:5.1f} %  {kind}')
    print(f'  {sum(share for _, share in top[12:]):5.1f} %  others')


# -- the run ------------------------------------------------------------------

def compare(ours, theirs, models, member, ways, threads, runs):
    step, (infer, size) = ways
    model, names = models[member], ('step', 'inference')
    mine, ready, best, plain = ({name: [] for name in names}
                                for _ in range(4))
    for _ in range(runs):
        mine['step'].append(ours.step_rate(member, threads))
        best['step'].append(theirs.step_rate(member, step, threads))
        plain['step'].append(theirs.step_rate(member, PLAIN, threads))
        mine['inference'].append(ours.rate(model, member, threads))
        best['inference'].append(theirs.rate(member, infer, threads, size))
        plain['inference'].append(theirs.rate(member, PLAIN, threads,
                                              theirs.size))
        if member == 'kgnn':
            for name, rate in zip(names, ours.ready(model, member, threads)):
                ready[name].append(rate)
    for name in names:
        b, slow = (statistics.median(x[name]) for x in (best, plain))
        least, aim = WANTED[f'{member} {name}']
        for label, rates in (name, mine[name]), (name + ', ready',
                                                 ready[name]):
            if not rates:
                continue
            a = statistics.median(rates)
            print(f'{member:8} {label:16} {threads:7} {a:8.0f} {b:8.0f} '
                  f'{a / b:6.1f} {slow:8.0f} {a / slow:6.1f} {least:7} '
                  f'{aim:4}', flush=True)
    return {name: statistics.median(mine[name]) for name in names}


def main():
    parser = arguments(__doc__, 3)
    parser.add_argument('set', type=Path, help='a packed set (cgzoo pack)')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--cpu', action='store_true', help='CPU time instead '
                        'of wall time, one thread: for a machine that is '
                        'busy')
    args = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    warnings.filterwarnings('ignore', 'Sparse')  # its state of maturity
    for name in [n for n in os.environ if n.startswith('OPENBLAS_')]:
        del os.environ[name]  # both sides choose their own kernels
    data = cgs.Set(args.set)
    ours = Ours(args)
    models = {m: ours.train(m, limit=GRAPHS[m] // 4)[0] for m in STEPS}
    theirs = Theirs(args, data, models)
    nodes = data.topology['n_nodes'][data.graph['topology']].mean()
    print(f'{machine()}; PyTorch {torch.__version__}; {data.n_graphs} '
          f'networks of {nodes:.0f} nodes, batches of {args.batch}')
    check(ours, theirs, models)
    ways = {m: theirs.best_ways(m) for m in models}
    for member, (step, (infer, size)) in ways.items():
        print(f'PyTorch, {member}: step {step}; inference {infer}, '
              f'batches of {size}')
    print(f'{"graphs/s" + " of CPU" * args.cpu:25} {"threads":>7} '
          f'{"ours":>8} {"PyTorch":>8} {"x":>6} {"plain":>8} {"x":>6} '
          f'{"wanted":>7} {"aim":>4}')
    reached = {}
    for member in models:
        for threads in (1,) if args.cpu else (1, 2):
            got = compare(ours, theirs, models, member, ways[member],
                          threads, args.runs)
            reached.setdefault(member, got['step'])
    peak = sgemm_rate()
    print(f'SGEMM 1024^3 on one core: OpenBLAS {peak:.0f} GFLOP/s, PyTorch '
          f'{torch_sgemm_rate():.0f}')
    for member, path in models.items():
        shapes = ours.shapes(path, member)
        flops = gemm_flops(member, path, shapes, args.batch)
        rate = flops * reached[member] * 1e-9
        print(f'{member}: {flops / 1e6:.2f} MFLOP of products a graph, '
              f'{rate:.1f} GFLOP/s, {100 * rate / peak:.0f} % of SGEMM; '
              'time by perf:')
        profile(ours, member)


if __name__ == '__main__':
    main()
