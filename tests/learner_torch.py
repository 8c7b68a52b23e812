#!/usr/bin/env python3
"""The learner against PyTorch, written plainly and in double precision: every
node of every network is a row, messages are index_add over all edges,
attention is over all nodes, both views are computed. From the same initial
weights and on the same batches, the loss of every step agrees to 1e-4 of its
value, embeddings and predictions after the last to 1e-3 (in units of the
largest number of an embedding, and of the label's standard deviation).

    learner_torch.py CGZOO CGTRAIN BENCH_LEARN

Double, because rounding grows: where a hidden unit wakes up a step earlier,
Adam moves its weights by the full rate, however small the gradient. PyTorch's
own float32 leaves its float64 by 1e-4 within 50 steps of the encoder. Heads
are given our embedding for the same reason, once it has been compared.
"""
import csv
import math
import pathlib
import random
import sys
import tempfile

from support import Run, Tally, need

need('torch', 'numpy')

import numpy as np  # noqa: E402
import torch  # noqa: E402
from cgs import Set, tensors  # noqa: E402

TOLERANCE = 1e-4  # of losses
AFTERWARDS = 1e-3  # of outputs: what training makes of the last bits
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# What all runs set, then name: family, form, networks, and what it sets; all
# that the peer looks at is here.
COMMON = {'limit': 0, 'batch': 16, 'epochs': 2, 'lr': 1e-4, 'cl_batch': 16,
          'cl_epochs': 2, 'cl_lr': 1e-4, 'head_batch': 16, 'head_epochs': 3,
          'head_lr': 1e-4, 'schedule': 'constant', 'warmup': 0, 'clip': 1,
          'decay': 0, 'seed': 9, 'residual': 'false', 'norm': 'false',
          'label': 'accuracy', 'loss': 'mse',
          'heads': 2, 'dropout': 0, 'tau': 0.05, 'alpha_temperature': 0.05,
          'flops_weight': 1, 'fcm_m': 2, 'class_m': 2}
RUNS = {
    'regressors': ('nb101', 'folded', 500, COMMON | {
        'members': 'kgnn,gcn,gin', 'lr': 1e-3, 'seed': 7}),
    'paper': ('nb201', 'folded', 500, COMMON | {
        'members': 'encoder,cl,cl_fcm,cl_t,cl_fcm_t,cl_pair,cl_fcm_pair'}),
    'other keys': ('nb201', 'fused', 250, COMMON | {
        'members': 'kgnn,gin,encoder,cl_fcm',
        'inputs': 'op,act,size,kernel,bias,relative', 'residual': 'true',
        'norm': 'true', 'gnn_layers': 3, 'gnn_width': 24, 'cl_width': 32,
        'ffn': 48, 'flops_weight': 0.5, 'epochs': 4, 'cl_epochs': 4,
        'head_epochs': 4, 'schedule': 'cosine', 'warmup': 10, 'decay': 0.01,
        'label': 'error_log', 'loss': 'huber', 'huber_delta': 0.2}),
}
MESSAGE = {'kgnn': 'graphconv', 'gcn': 'gcn', 'gin': 'gin'}


# -- networks -----------------------------------------------------------------

class Batch:
    """Networks side by side: x (nodes, width), edges, whose each node is."""

    def __init__(self, data, inputs, rows):
        x, src, dst, of = [], [], [], []
        at = 0
        for i, row in enumerate(rows):
            tokens = data.tokens_of(row)
            start, source = data.edges(row)
            x.append(inputs[tokens])
            src.append(source + at)
            dst.append(np.repeat(np.arange(len(tokens)), np.diff(start)) + at)
            of.append(np.full(len(tokens), i))
            at += len(tokens)
        self.n = len(rows)
        self.x = torch.from_numpy(np.concatenate(x))
        self.src = torch.from_numpy(np.concatenate(src))
        self.dst = torch.from_numpy(np.concatenate(dst))
        self.of = torch.from_numpy(np.concatenate(of))

    def mean(self, x):
        count = torch.bincount(self.of, minlength=self.n)
        out = torch.zeros(self.n, x.shape[1]).index_add(0, self.of, x)
        return out / count[:, None]

    def receive(self, x, weight=None):
        sent = x[self.src] if weight is None else x[self.src] * weight
        return torch.zeros_like(x).index_add(0, self.dst, sent)


def mlp(p, prefix, x):
    k = 0
    while f'{prefix}.{k}.weight' in p:
        if k > 0:
            x = torch.relu(x)
        x = x @ p[f'{prefix}.{k}.weight'] + p[f'{prefix}.{k}.bias']
        k += 1
    return x


def graphconv(p, at, batch, x):
    w = p[at + '.weight']
    half = w.shape[1] // 2
    return torch.relu(x @ w[:, :half] + batch.receive(x) @ w[:, half:]
                      + p[at + '.bias'])


def gcn(p, at, batch, x):
    degree = torch.bincount(batch.dst, minlength=len(x)) + 1.
    edge = (degree[batch.src] * degree[batch.dst]).rsqrt()[:, None]
    y = batch.receive(x, edge) + x / degree[:, None]
    return torch.relu(y @ p[at + '.weight'] + p[at + '.bias'])


def gin(p, at, batch, x):
    y = torch.relu((x + batch.receive(x)) @ p[at + '.weight']
                   + p[at + '.bias'])
    return torch.relu(y @ p[at + '.weight2'] + p[at + '.bias2'])


LAYER = {'graphconv': graphconv, 'gcn': gcn, 'gin': gin}


def norm(p, at, x):
    return torch.nn.functional.layer_norm(x, x.shape[1:],
                                          p[at + '.weight'][0],
                                          p[at + '.bias'][0])


def gnn(p, message, batch, x, residual=False, normed=False):
    k = 0
    while f'gnn.{k}.weight' in p:
        y = LAYER[message](p, f'gnn.{k}', batch, x)
        if residual and x.shape == y.shape:
            y = y + x
        if normed:
            y = norm(p, f'gnn.{k}.norm', y)
        x = y
        k += 1
    return batch.mean(x)


def attention(qkv, heads):
    """(nodes, width) of one network from its qkv (nodes, 3 width)."""
    q, k, v = (a.reshape(len(a), heads, -1).transpose(0, 1)
               for a in qkv.chunk(3, 1))
    weight = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]), 2)
    return (weight @ v).transpose(0, 1).reshape(len(qkv), -1)


def transformer(p, heads, batch, x):
    def linear(name, x):
        return (x @ p[f'transformer.{name}.weight']
                + p[f'transformer.{name}.bias'])

    x = linear('up', x)
    qkv = linear('qkv', x)
    y = torch.cat([attention(qkv[batch.of == i], heads)
                   for i in range(batch.n)])
    x = norm(p, 'transformer.norm1', x + linear('out', y))
    y = linear('ff2', torch.relu(linear('ff1', x)))
    return batch.mean(norm(p, 'transformer.norm2', x + y))


def regress(p, c, message, batch):
    x = batch.x @ p['embed.weight']
    x = gnn(p, message, batch, x, c['residual'] == 'true',
            c['norm'] == 'true')
    return mlp(p, 'head', x)


def encode(p, c, batch):
    x = batch.x @ p['embed.weight']
    return torch.cat([gnn(p, 'graphconv', batch, x),
                      transformer(p, c['heads'], batch, x)], 1)


def heads(p, h, u):
    """Perceptrons side by side, weighed by u (n, heads)."""
    count = p['0.bias'].shape[0]
    x, k = h.expand(count, -1, -1), 0
    while f'{k}.weight' in p:
        w, b = p[f'{k}.weight'], p[f'{k}.bias']
        x = torch.relu(x) if k > 0 else x
        x = x @ w.reshape(count, -1, w.shape[1]) + b[:, None, :]
        k += 1
    return torch.einsum('nj,jnc->nc', u, x)


# -- losses -------------------------------------------------------------------

def contrast(z, spectra, c):
    """Eq. 1, the mean over the views; view i and n + i are one network."""
    z = z / z.norm(dim=1, keepdim=True)
    distance = torch.cdist(spectra, spectra,
                           compute_mode='donot_use_mm_for_euclid_dist')
    diagonal = torch.eye(len(z), dtype=torch.bool)
    alpha = torch.softmax((-distance / c['alpha_temperature']).masked_fill(
        diagonal, -math.inf), 1)
    log_p = torch.log_softmax((z @ z.T / c['tau']).masked_fill(
        diagonal, -math.inf), 1).masked_fill(diagonal, 0)
    return -(alpha * log_p).sum(1).mean()


def regression(y, target, c):
    y = y[:, 0]
    if c['loss'] == 'huber':
        return torch.nn.functional.huber_loss(y, target,
                                              delta=c['huber_delta'])
    return torch.nn.functional.mse_loss(y, target)


# -- training -----------------------------------------------------------------

def rate(c, peak, step, steps):
    if step < c['warmup']:
        return peak * (step + 1) / c['warmup']
    if c['schedule'] == 'constant':
        return peak
    done = (step - c['warmup']) / (steps - c['warmup'])
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def train(p, c, peak, batches, loss_of):
    """Losses before each step; p is trained."""
    values = list(p.values())
    kind = torch.optim.AdamW if c['decay'] else torch.optim.Adam
    optimizer = kind(values, lr=peak, weight_decay=c['decay'])
    losses = []
    for step, rows in enumerate(batches):
        optimizer.zero_grad()
        loss = loss_of(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(values, c['clip'])
        for group in optimizer.param_groups:
            group['lr'] = rate(c, peak, step, len(batches))
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


class Peer:
    """A run in PyTorch, from the files of initial and of trained weights."""

    def __init__(self, data, c, initial, trained, trace):
        self.data, self.c, self.trace = data, c, trace
        self.initial, meta = tensors(initial)
        self.trained, _ = tensors(trained)
        self.inputs = data.inputs(meta['inputs'].splitlines())
        self.accuracy = data.labels[:, 0].copy()
        self.flops = data.graph['flops']
        self.train_rows = None
        self.h = None

    def params(self, member):
        """Of the file, without what is no parameter."""
        prefix = member + '.'
        return {name[len(prefix):]:
                torch.tensor(value.astype(np.float64), requires_grad=True)
                for name, value in self.initial.items()
                if name.startswith(prefix) and name != prefix + 'label'}

    def kind(self, member):
        return 'flops_transform' if member.endswith('_t') else self.c['label']

    def labels(self, member, accuracy=None):
        """Standardised by the networks seen in training."""
        def raw(a):
            if self.kind(member) == 'error_log':
                return -np.log(100.5 - a)
            if self.kind(member) == 'flops_transform':
                return a / (np.log10(self.flops / 1e9 + 1) + 1)
            return a

        known = raw(self.accuracy)[self.seen(member)]
        a = self.accuracy if accuracy is None else accuracy
        return torch.from_numpy((raw(a) - known.mean()) / known.std())

    def flops_score(self):
        x = np.log10(self.flops + 1)
        rows = self.train_rows
        return torch.from_numpy((x - x[rows].mean()) / x[rows].std())

    def seen(self, member):
        return np.unique(np.concatenate(self.trace[member][1]))

    def run(self, member):
        """Losses of the steps, and what the member says of all networks."""
        if member in MESSAGE:
            return self.run_graph(member)
        return self.run_encoder() if member == 'encoder' else self.run_head(
            member)

    def run_graph(self, member):
        p, c = self.params(member), self.c
        label = self.labels(member)

        def loss_of(rows):
            y = regress(p, c, MESSAGE[member], self.batch(rows))
            return regression(y, label[rows], c)

        losses = train(p, c, c['lr'], self.trace[member][1], loss_of)
        return losses, self.of_all(lambda b: regress(p, c, MESSAGE[member],
                                                     b))

    def run_encoder(self):
        p, c = self.params('encoder'), self.c
        self.train_rows = self.seen('encoder')
        score = self.flops_score()

        def loss_of(rows):
            both = np.concatenate([rows, rows])
            h = encode(p, c, self.batch(both))
            spectra = torch.from_numpy(self.data.spectrum(both))
            cost = mlp(p, 'cost', h)[:, 0]
            return (contrast(mlp(p, 'project', h), spectra, c)
                    + c['flops_weight'] * ((cost - score[both])**2).mean())

        losses = train(p, c, c['cl_lr'], self.trace['encoder'][1], loss_of)
        self.h = self.of_all(lambda b: encode(p, c, b))
        return losses, self.h

    def memberships(self, which):
        """Eq. 2 in the trained file's components and centroids."""
        if which is None:
            return torch.ones(self.data.n_graphs, 1)
        t = self.trained
        x = torch.cat([self.h, self.flops_score()[:, None]], 1)
        mean, component, centroid = (torch.tensor(t[name]) for name in (
            'pca.mean', 'pca.component', f'fcm.{which}.centroid'))
        z = (x - mean) @ component.T
        d = ((z[:, None] - centroid[None])**2).sum(2)
        m = t[f'fcm.{which}.m'].item()
        ratio = (d[:, :, None] / d[:, None, :])**(1 / (m - 1))
        return 1 / ratio.sum(2)

    def run_head(self, member):
        p, c = self.params(member), self.c
        ranks = member.endswith('pair')
        u = self.memberships(None if 'fcm' not in member else
                             'ranker' if ranks else 'regressor')
        label = self.labels(member)
        a = torch.from_numpy(self.accuracy)

        def loss_of(rows):
            y = heads(p, self.h[rows], u[rows])
            if not ranks:
                return regression(y, label[rows], c)
            pair = torch.cat([y, y.roll(-1, 0)], 1)
            logit = (pair @ p['pair.weight'] + p['pair.bias'])[:, 0]
            other = a[rows].roll(-1)
            better = ((a[rows] > other) + 0. + 0.5 * (a[rows] == other))
            return torch.nn.functional.binary_cross_entropy_with_logits(
                logit, better)

        losses = train(p, c, c['head_lr'], self.trace[member][1], loss_of)
        with torch.no_grad():
            return losses, None if ranks else heads(p, self.h, u)

    def batch(self, rows):
        return Batch(self.data, self.inputs, rows)

    def of_all(self, f):
        n = self.data.n_graphs
        with torch.no_grad():
            return torch.cat([f(self.batch(range(i, min(i + 50, n))))
                              for i in range(0, n, 50)])


# -- ours ---------------------------------------------------------------------

def must(command):
    r = Run(command, timeout=250)
    if r.status != 0:
        raise SystemExit(f'{command[0]}: {r.why()}')
    return r.out.decode()


def pack(cgzoo, folder, family, form, n):
    """Networks drawn at random, with labels drawn at random."""
    draw = random.Random(3)
    codes = must([cgzoo, 'sample', family, '-n', 3 * n, '--seed', 5])
    codes = [code for code in dict.fromkeys(codes.splitlines())][:n]
    table, path = folder / 'codes.csv', folder / 'set.cgs'
    with open(table, 'w', newline='') as f:
        w = csv.writer(f)
        w.writerow(['code', 'accuracy'])
        w.writerows((code, f'{draw.uniform(75, 95):.3f}')
                    for code in codes)
    must([cgzoo, 'pack', family, '--labels', table, '--form', form, '-j', 1,
          '-o', path])
    return path


def settings(c):
    return [word for key, value in c.items()
            for word in ('--set', f'{key}={value}')]


def read_trace(path, members):
    """member -> losses, rows of each step; members come in their order."""
    out, last, names = {}, None, iter(members)
    with open(path, newline='') as f:
        for row in csv.DictReader(f):
            if row['member'] != last:
                last, member = row['member'], next(names)
                out[member] = [], []
            out[member][0].append(float(row['loss']))
            out[member][1].append(np.array(row['networks'].split(), int))
    return out


def compare(tally, what, ours, theirs, scale, tolerance=TOLERANCE):
    """scale: what the difference is relative to."""
    worst = float(np.max(np.abs(ours - theirs) / scale))
    print(f'{what}: {ours.shape[0]} values, off by {worst:.1e}')
    tally.check(worst <= tolerance, f'{what}: off by {worst:.1e}')


def check(tally, tools, folder, name):
    cgzoo, cgtrain, bench_learn = tools
    family, form, n, c = RUNS[name]
    members = c['members'].split(',')
    packed = pack(cgzoo, folder, family, form, n)
    initial, trained = folder / 'a.safetensors', folder / 'b.safetensors'
    c = c | {'form': form}
    common = [cgtrain, packed, '-q', '--threads', 1, *settings(c)]
    must([*common, '-o', initial, '--set', 'epochs=0', '--set', 'cl_epochs=0',
          '--set', 'head_epochs=0'])
    must([*common, '-o', trained, '--trace', folder / 'trace.csv'])
    trace = read_trace(folder / 'trace.csv', members)
    peer = Peer(Set(packed), c, initial, trained, trace)
    for member in members:
        what = f'{name}, {member}'
        losses, said = peer.run(member)
        ours = np.array(trace[member][0])
        tally.check(len(ours) >= 50, f'{what}: {len(ours)} steps only')
        compare(tally, what + ', losses', ours, losses, np.abs(losses))
        if said is None:
            continue
        lines = must([bench_learn, 'print', packed, trained,
                      member]).splitlines()
        ours = np.array([line.split() for line in lines], float)
        if peer.kind(member) == 'flops_transform':  # says accuracies
            ours = peer.labels(member, ours[:, 0]).numpy()[:, None]
        compare(tally, what + ', all networks', ours, said.numpy(),
                max(1, said.abs().max().item()), AFTERWARDS)
        if member == 'encoder':
            peer.h = torch.from_numpy(ours)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    tally = Tally('learner against PyTorch')
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            check(tally, sys.argv[1:], pathlib.Path(folder), name)
    tally.done()


main()
