#!/usr/bin/env python3
"""The programs on a CUDA device against themselves on the CPU: the losses of
200 steps of every kind of training, predictions of the model in the box,
training that goes on, tuning, and devices that fail.

    cuda_programs.py CGZOO CGTRAIN CGEVAL CGPREDICT [on-cpu STEPS | CODES]

CODES: how many are predicted (300); on-cpu: programs with tests/cuda_on_cpu in
them, whose device is the CPU and fails as it is told.
"""
import csv
import json
import math
import os
import pathlib
import re
import sys
import tempfile
import time

from learner_lab import TESTS, Learner, table
from support import Run, skip

ROOT = TESTS.parent
NETWORKS, BATCH = 250, 10
EPOCH = NETWORKS * 8 // 10 // BATCH  # steps
LOSS, PREDICTION = 1e-4, 1e-5  # how far the two may be apart
# Training doubles a difference every few steps once a ReLU that is all but 0
# has fallen to the other side, on two processors as on two devices; a smooth
# loss and small steps keep 200 of them clear of that.
CONFIG = '''
members = kgnn,encoder,cl_fcm_t,cl_fcm_pair
limit = 0
gnn_layers = 3
gnn_width = 16
embed_width = 16
regressor_layers = 2
cl_layers = 2
cl_width = 8
cl_batch = 10
cl_lr = 0.0005
tau = 0.5
ffn = 16
project_width = 8
batch = 10
lr = 0.0005
pca = 4
fcm_clusters = 4
fcm_m = 2
class_clusters = 3
class_m = 2
head_layers = 2
head_width = 16
class_width = 16
class_out = 4
head_batch = 10
head_lr = 0.0002
finetune_epochs = 5
'''
# what makes the device fail: what is said then
FAILURES = {'none': 'no device', 'driver': 'the driver is for CUDA 11.0',
            'image': 'not compiled for compute capability 8.6',
            'pinned': 'pinned memory', 'cublas': 'cuBLAS',
            'cusparse': 'cuSPARSE', 'launch:1': 'illegal memory access',
            'launch:50': 'illegal memory access'}


class Devices(Learner):
    """One command on either device."""

    def __init__(self, tools, folder):
        super().__init__(tools, folder)
        self.tally.what = 'cuda'
        self.steps, self.n_codes = 200, 300
        self.config = self.path('steps.config', CONFIG)

    def lasting(self, steps):
        """Enough epochs; heads learn from 8 tenths of the others' part."""
        n = -(-steps // EPOCH)
        return ('--set', f'epochs={n}', '--set', f'cl_epochs={n}', '--set',
                f'head_epochs={-(-n * 5 // 4)}')

    def on(self, device, tool, *args, **environment):
        """`environment`: variables for this run."""
        old = dict(os.environ)
        os.environ.update(environment)
        r = self.run(tool, *args, '--device', device, '--threads', 1)
        os.environ.clear()
        os.environ.update(old)
        return r

    def works(self, device, tool, *args, **environment):
        r = self.on(device, tool, *args, **environment)
        self.tally.check(r.status == 0, f'{tool} {args} on {device}: '
                         f'{r.status}, {r.why()}')
        return r

    def train_on(self, device, output, *args, **environment):
        return self.works(device, 'train', self.set, '--config', self.config,
                          '-o', output, '-q', *args, **environment)


def make_sets(t):
    codes = t.good('zoo', 'sample', 'nb101', '-n', 2 * NETWORKS, '--seed', 1)
    t.codes = sorted(set(codes.out.decode().splitlines()))[:NETWORKS]
    t.path('labels.csv', table([['code', 'accuracy'], *(
        (c, 80 + 2 * c.count('conv3x3') - c.count('maxpool'))
        for c in t.codes)]))
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '-o', t.set)
    others = t.good('zoo', 'sample', 'nb201', '-n', 60, '--seed', 1)
    t.others = t.path('nb201.csv', table([['family', 'code', 'accuracy'], *(
        ('nb201', c, 70 + 4 * c.count('3x3') - c.count('none'))
        for c in sorted(set(others.out.decode().splitlines())))]))
    t.other_set = t.folder / 'nb201.cgs'
    t.good('zoo', 'pack', 'nb201', '--labels', t.others, '-o', t.other_set)


# -- training -----------------------------------------------------------------

def losses(path):
    """member -> (step, loss, networks) in the order of the steps."""
    rows = {}
    with open(path, newline='') as f:
        for row in csv.DictReader(f):
            seen = [v for k, v in row.items()
                    if k not in ('member', 'step', 'loss')]
            rows.setdefault(row['member'], []).append(
                (int(row['step']), float(row['loss']), seen))
    return rows


def steps_agree(t):
    trace = {d: t.folder / f'{d}.trace' for d in ('cpu', 'cuda')}
    for d in trace:
        t.train_on(d, t.folder / f'{d}.model', '--trace', trace[d],
                   *t.lasting(t.steps))
    cpu, cuda = (losses(trace[d]) for d in ('cpu', 'cuda'))
    t.tally.check(list(cpu) == list(cuda) and len(cpu) == 4,
                  f'members: {list(cpu)}, {list(cuda)}')
    for member, want in cpu.items():
        got = cuda[member][:t.steps]
        t.tally.check(len(want) >= t.steps and [
            (s, n) for s, _, n in got] == [
            (s, n) for s, _, n in want[:t.steps]],
            f'{member}: {len(want)} steps, other ones')
        apart = [abs(a[1] - b[1]) / max(1, abs(b[1]))
                 for a, b in zip(got, want)]
        most = max(apart)
        print(f'{member}: losses of {len(apart)} steps at most {most:.1e} '
              f'apart, the first {apart[0]:.1e}')
        t.tally.check(most <= LOSS, f'{member}: step {apart.index(most)}, '
                      f'{most:.2e} apart')


def same_bytes(t):
    """A training that was stopped on its way gives the same file: the same
    calls give the same bits."""
    first, out = t.folder / 'whole.model', t.folder / 'stopped.model'
    few = t.lasting(t.steps * 3 // 10)
    t.train_on('cuda', first, *few)
    for seconds in (.5, 2, 4):  # however fast the machine is
        Run([t.tool['train'], t.set, '--config', t.config, '-o', out, '-q',
             '--device', 'cuda', '--threads', 1, '--resume', *few],
            timeout=seconds)
    t.train_on('cuda', out, '--resume', *few)
    t.tally.check(out.read_bytes() == first.read_bytes(),
                  'stopped and gone on: other bytes')


def tuned(t):
    """A model of nets is tuned by a Gaussian process, others by steps."""
    rows = {}
    for d in ('cpu', 'cuda'):
        out = t.folder / f'{d}-tuned.model'
        t.works(d, 'train', 'finetune', t.folder / 'cpu.model', t.other_set,
                '-o', out, '-q', '--samples', 30)
        rows[d] = predicted(t, d, '--model', out, '--codes', 'nb201',
                            t.others)
    close(t, 'tuned by steps', rows['cuda'], rows['cpu'], 1e-3)
    for d in ('cpu', 'cuda'):
        rows[d] = predicted(t, d, '--calibrate', t.others, '--codes', 'nb201',
                            t.others)
    close(t, 'calibrated', rows['cuda'], rows['cpu'], 1e-3)


# -- predictions --------------------------------------------------------------

def predicted(t, device, *args, **environment):
    r = t.works(device, 'predict', '--json', *args, **environment)
    return [json.loads(line) for line in r.out.splitlines()]


def close(t, what, got, want, most):
    """Accuracies as fractions, scores in deviations."""
    apart = [max(abs(a['accuracy'] - b['accuracy']) / 100,
                 abs(a['score'] - b['score'])) for a, b in zip(got, want)]
    names = [r['file'] for r in got] == [r['file'] for r in want]
    worst = max(apart, default=math.inf)
    print(f'{what}: {len(apart)} predictions at most {worst:.1e} apart')
    t.tally.check(names and worst <= most, f'{what}: {worst:.2e} apart')


def predictions_agree(t):
    codes = t.good('zoo', 'sample', 'nb101', '-n', t.n_codes, '--seed', 7)
    many = t.path('many.csv', table(
        [['code'], *([c] for c in codes.out.decode().splitlines())]))
    onnx = [*sorted((ROOT / 'examples').glob('*.onnx')),
            *sorted((ROOT / 'tests' / 'invariance').glob('*/ts11.onnx'))]
    for what, args in (('codes', ('--codes', 'nb101', many)),
                       ('ONNX files', onnx), ('one code', ('nb101:;0-1',))):
        cpu, cuda = (predicted(t, d, *args) for d in ('cpu', 'cuda'))
        close(t, what, cuda, cpu, PREDICTION)
    out = {d: t.folder / f'{d}.npy' for d in ('cpu', 'cuda')}
    for d, path in out.items():
        t.works(d, 'predict', '--model', t.folder / 'cpu.model', '--codes',
                'nb101', many, '--embedding', path)
    sizes = [len(path.read_bytes()) for path in out.values()]
    t.tally.check(sizes[0] == sizes[1] > 1000, f'embeddings: {sizes}')
    for p in ('tf32', 'bf16'):
        rough(t, p, many)


def rough(t, precision, many):
    """Asked for less than float32, the device gives less, but not much."""
    r = t.on('cuda', 'predict', '--json', '--codes', 'nb101', many,
             '--precision', precision)
    if r.status and b'compute capability' in r.err:
        return
    got = [json.loads(line)['accuracy'] for line in r.out.splitlines()]
    want = [x['accuracy'] for x in predicted(t, 'cuda', '--codes', 'nb101',
                                             many)]
    apart = max((abs(a - b) for a, b in zip(got, want)), default=math.inf)
    print(f'{precision}: accuracies at most {apart:.1e} points off')
    t.tally.check(r.status == 0 and 0 < apart < 1,
                  f'{precision}: {r.why()}, {apart} points off')


# -- a device that fails ------------------------------------------------------

def fails(t):
    one = ('predict', 'nb101:;0-1')
    for fail, text in FAILURES.items():
        r = t.on('cuda', *one, CUDA_ON_CPU_FAIL=fail)
        lines = r.lines()
        t.tally.check(r.status == 1 and len(lines) == 1 and text in lines[0]
                      and not r.out, f'{fail}: {r.status}, {lines}')
    r = t.on('cuda', *one, '--precision', 'tf32', CUDA_ON_CPU_FAIL='old')
    t.tally.check(r.status == 1 and 'compute capability 8.0' in r.why(),
                  f'an old device: {r.status}, {r.lines()}')
    few = ('--set', 'members=encoder,cl_fcm_t', '--set', 'cl_epochs=1',
           '--set', 'head_epochs=1')
    made = {fail: t.folder / f'{fail}.model' for fail in ('', 'capture')}
    for fail, path in made.items():
        t.train_on('cuda', path, *few, CUDA_ON_CPU_FAIL=fail)
    t.tally.check(made[''].read_bytes() == made['capture'].read_bytes(),
                  'a device that captures nothing: other bytes')
    for fail in ('launch:40', 'launch:1000'):
        out = t.folder / 'failed.model'
        r = t.on('cuda', 'train', t.set, '--config', t.config, '-o', out, '-q',
                 CUDA_ON_CPU_FAIL=fail)
        t.tally.check(r.status == 1 and len(r.lines()) == 1 and
                      'illegal memory access' in r.why() and not out.exists(),
                      f'training, {fail}: {r.status}, {r.lines()}')


def little_memory(t):
    """With too little memory a sentence, with enough the same predictions."""
    few = t.path('few.csv', table([['code'], *([c] for c in t.codes[:40])]))
    codes = ('--codes', 'nb101', few)
    want = predicted(t, 'cuda', *codes)
    refused = answered = 0
    for mib in (1, 20, 33, 34, 40, 64, 66, 70, 80, 100, 128, 256):
        r = t.on('cuda', 'predict', '--json', *codes,
                 CUDA_ON_CPU_MEMORY=str(mib << 20))
        if r.status == 0:
            answered += 1
            t.tally.check(len(r.out.splitlines()) == len(want),
                          f'{mib} MiB: {r.why()}')
        else:
            refused += 1
            t.tally.check(r.status == 1 and 'memory' in r.why() and all(
                              'memory' in line for line in r.lines()),
                          f'{mib} MiB: {r.status}, {r.lines()[-3:]}')
    t.tally.check(refused > 1 and answered > 1,
                  f'{refused} refused, {answered} answered')


# -- what a step costs --------------------------------------------------------

def counts(t, members, key, batch):
    r = t.train_on('cuda', t.folder / 'counted.model', '--set', 'epochs=2',
                   '--set', 'cl_epochs=2', '--set', 'head_epochs=2',
                   '--set', f'members={members}', '--set', f'{key}={batch}',
                   CUDA_ON_CPU_REPORT='1')
    return [int(n) for n in re.findall(r'(\d+) (?:kernels|products|copies|'
                                       r'graphs|allocations|waits)', r.why())]


def steps_are_lean(t):
    """As many networks in more steps: more steps neither wait nor ask for
    memory, and those that are alike are launched at one go."""
    for members, key in (('encoder', 'cl_batch'), ('kgnn', 'batch'),
                         ('encoder,cl_fcm_t', 'head_batch'),
                         ('encoder,cl_fcm_pair', 'head_batch')):
        few, many = (counts(t, members, key, batch) for batch in (20, 5))
        steps, member = 2 * EPOCH * 3 // 2, members.split(',')[-1]
        kernels, products, copies, graphs, blocks, waits = (
            b - a for a, b in zip(few, many))
        print(f'{member}: a step launches {(kernels + products) / steps:.0f} '
              f'kernels, of these {products / steps:.0f} of libraries, and '
              f'{graphs / steps:.1f} graphs, and makes {copies / steps:.1f} '
              f'copies; {steps} steps more wait {waits} times more, for '
              f'{blocks} blocks of memory more')
        if key == 'head_batch':
            # (cl_fcm_t leaves networks out: fewer steps)
            t.tally.check(graphs > .7 * steps and kernels + products <
                          8 * graphs, f'{member}: {graphs} graphs, {kernels} '
                          f'and {products} kernels')
        # batches of other sizes ask for more, once
        t.tally.check(blocks < steps / 10, f'{member}: {blocks} blocks')
        t.tally.check(waits < steps / 10, f'{member}: {waits} waits')


def main():
    on_cpu = sys.argv[5:6] == ['on-cpu']
    with tempfile.TemporaryDirectory() as folder:
        t = Devices(sys.argv[1:5], pathlib.Path(folder))
        if on_cpu:
            t.steps = int(sys.argv[6])
        elif sys.argv[5:]:
            t.n_codes = int(sys.argv[5])
        r = t.on('cuda', 'predict', 'nb101:;0-1')
        if r.status == 1 and not on_cpu and 'cuda: ' in r.why():
            skip(r.why())
        parts = [make_sets, steps_agree, same_bytes, tuned, predictions_agree]
        parts += on_cpu * [fails, little_memory]
        # a sanitizer takes minutes for what it cannot change
        for part in parts + (on_cpu and t.steps == 200) * [steps_are_lean]:
            start = time.monotonic()
            part(t)
            print(f'({part.__name__}: {time.monotonic() - start:.0f} s)')
    t.tally.done()


if __name__ == '__main__':
    main()
