#!/usr/bin/env python3
"""PyTorch's and PyTorch Geometric's side of cuda.sh: graphs per second of a
training step and of inference on a GPU, lines "peer member what rate".

    cuda_torch.py SET.cgs KGNN.safetensors ENCODER.safetensors [--batch 128]

The mathematics are train.py's, which checks them against ours. Batches, masks
and targets are on the device before the clock starts; PyTorch takes the fastest
of its ways. PyTorch Geometric has GraphConv and mean pooling for the k-GNN, and
for the encoder the same transformer as PyTorch.
"""
import argparse
import itertools
import sys
import time
import warnings
from pathlib import Path

from common import ROOT  # noqa: F401: finds cgs

import torch

import cgs
import train
from peer_torch import Model, Ways

STEPS, INFER = 30, (512, 4096)


def moved(x, device):
    if isinstance(x, torch.Tensor):
        return x.to(device)
    if isinstance(x, (tuple, list)):
        return type(x)(moved(y, device) for y in x)
    return x


class OnDevice(train.Theirs):
    """train.py's peer with everything on the device."""

    def __init__(self, args, data, models):
        super().__init__(args, data, models)
        self.device = args.device
        rows = sum(len(r) for r in self.rows)
        order = torch.randperm(data.n_graphs, device='cpu').numpy()
        need = max(STEPS * self.size, max(INFER), rows)
        self.rows = [order[i:i + self.size] for i in
                     range(0, min(need, len(order) - self.size), self.size)]

    def clock(self):
        if self.device != 'cpu':
            torch.cuda.synchronize()
        return time.perf_counter()

    def batches(self, ways, size=None):
        with torch.device('cpu'):
            made = super().batches(ways, size)
        for b in made:
            for name, value in vars(b).items():
                if name != 'rows':
                    setattr(b, name, moved(value, self.device))
        return made

    def model(self, member, ways, dropout=train.KEYS['dropout'], path=None):
        m = super().model(member, ways, dropout, path)
        m.table = m.table.to(self.device)
        return m

    def targets(self, member, rows, path=None):
        with torch.device('cpu'):
            return moved(super().targets(member, rows, path), self.device)

    def step_rate(self, member, ways, threads=1, steps=None):
        model, batches = self.model(member, ways), self.batches(ways)
        work = [(b, self.targets(member, b.rows)) for b in batches]
        steps = steps or STEPS

        def run(n):
            for b, target in itertools.islice(itertools.cycle(work), n):
                model.step(lambda: self.loss(model, member, b, target),
                           train.KEYS['clip'], train.KEYS['lr'])
        run(5)  # kernels are chosen, memory is taken
        start = self.clock()
        run(steps)
        return steps * self.size / (self.clock() - start)

    def rate(self, member, ways, threads=1, size=512):
        model, batches = self.model(member, ways), self.batches(ways, size)
        if not batches:
            return 0
        for b in batches[:3]:
            model.predict(b)
        start = self.clock()
        for b in itertools.islice(itertools.cycle(batches), STEPS):
            model.predict(b)
        return STEPS * size / (self.clock() - start)

    def tried(self, rate, *args, **keys):
        """0 where there is no memory or no kernel for it."""
        try:
            return rate(*args, **keys)
        except (RuntimeError, NotImplementedError) as e:
            print(str(e).partition('\n')[0], file=sys.stderr)
            return 0

    def best(self, member):
        choices = [Ways(messages=m, attention=a, parts=p)
                   for m in ('csr', 'index_add')
                   for a in (('sdpa', 'matmul') if member == 'encoder'
                             else ('sdpa',))
                   for p in ((1, 4) if member == 'encoder' else (1,))]
        step = max(choices, key=lambda w: self.tried(self.step_rate, member, w,
                                                     steps=8))
        infer = max(((w, s) for w in choices for s in INFER),
                    key=lambda c: self.tried(self.rate, member, c[0],
                                             size=c[1]))
        return step, infer


def geometric(model_class):
    """The model with PyTorch Geometric's layers, None where it is missing."""
    try:
        from torch_geometric.nn import GraphConv, global_mean_pool
    except ImportError:
        return None

    class Geometric(model_class):
        def layers(self):
            """GraphConv with our weights: it keeps them the other way."""
            if not hasattr(self, 'convs'):
                self.convs = []
                while f'gnn.{len(self.convs)}.weight' in self.p:
                    k = len(self.convs)
                    own, other = self.p[f'gnn.{k}.weight'].chunk(2, 1)
                    conv = GraphConv(*own.shape)
                    conv.lin_root.weight.data = own.detach().T.contiguous()
                    conv.lin_rel.weight.data = other.detach().T.contiguous()
                    conv.lin_rel.bias.data = self.p[f'gnn.{k}.bias'
                                                    ].detach()[0].clone()
                    self.convs.append(conv)
                for k, conv in enumerate(self.convs):
                    del self.p[f'gnn.{k}.weight'], self.p[f'gnn.{k}.bias']
                    for name, value in conv.named_parameters():
                        self.p[f'conv.{k}.{name}'] = value
            return self.convs

        def gnn(self, b, x):
            edges = torch.stack([b.source, b.target])
            for conv in self.layers():
                x = torch.relu(conv(x, edges))
            return global_mean_pool(x, b.of, b.n)

        def step(self, loss_of, clip, lr):
            self.layers()  # before the optimiser is made
            return super().step(loss_of, clip, lr)
    return Geometric


def measure(peers, name):
    for member in train.STEPS:
        step, (infer, size) = peers.best(member)
        print(name, member, 'step', f'{peers.step_rate(member, step):.0f}',
              flush=True)
        print(name, member, 'inference',
              f'{peers.rate(member, infer, size=size):.0f}', flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('set', type=Path)
    parser.add_argument('kgnn', type=Path)
    parser.add_argument('encoder', type=Path)
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--device', default='cuda', help='cpu: a rehearsal')
    args = parser.parse_args()
    args.cpu = False
    warnings.filterwarnings('ignore', 'Sparse')  # its state of maturity
    torch.set_default_device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    data = cgs.Set(args.set)
    models = {'kgnn': args.kgnn, 'encoder': args.encoder}
    measure(OnDevice(args, data, models), 'pytorch')
    other = geometric(Model)
    if other is None:
        print('geometric - missing 0')
        return
    train.Model = other  # what Theirs makes
    measure(OnDevice(args, data, models), 'geometric')


if __name__ == '__main__':
    main()
