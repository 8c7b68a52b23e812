#!/usr/bin/env python3
"""The zoo against PyTorch: the same network, written as a module from its
description and exported by torch.onnx, must have the same hash.

    zoo_torch.py CGZOO ONNX2CG [N]

N codes (4) of nb101, nb201 and ofa_mbv3 each.
"""
import csv
import io
import json
import pathlib
import sys
import tempfile
import warnings

from support import Run, Tally, need

need('torch', 'onnx')

import torch  # noqa: E402
from torch import nn  # noqa: E402


def cbr(cin, cout, k, stride=1, act=nn.ReLU, groups=1):
    layers = [nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups,
                        bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, *([act()] if act else []))


# -- nb101 --------------------------------------------------------------------

class Cell101(nn.Module):
    def __init__(self, cin, cout, ops, edges):
        super().__init__()
        self.n = n = len(ops) + 2
        self.edge = edge = {e for e in edges}
        outs = [v for v in range(1, n - 1) if (v, n - 1) in edge]
        self.outs, ch = outs, {}
        for i, v in enumerate(outs):
            ch[v] = cout // len(outs) + (i < cout % len(outs))
        for v in range(n - 3, 0, -1):
            if v not in ch:
                ch[v] = max(ch[w] for w in range(v + 1, n - 1)
                            if (v, w) in edge)
        self.ch = ch
        kinds = {'conv3x3': lambda c: cbr(c, c, 3),
                 'conv1x1': lambda c: cbr(c, c, 1),
                 'maxpool3x3': lambda c: nn.MaxPool2d(3, 1, 1)}
        self.ops = nn.ModuleList(kinds[op](ch[v + 1])
                                 for v, op in enumerate(ops))
        self.proj = nn.ModuleDict(
            {str(v): cbr(cin, ch[v], 1) for v in range(1, n - 1)
             if (0, v) in edge})
        if (0, n - 1) in edge:
            self.proj[str(n - 1)] = cbr(cin, cout, 1)

    def forward(self, x):
        out = {}
        for v in range(1, self.n - 1):
            terms = [out[u][:, :self.ch[v]] if self.ch[u] > self.ch[v]
                     else out[u] for u in range(1, v) if (u, v) in self.edge]
            if (0, v) in self.edge:
                terms.append(self.proj[str(v)](x))
            out[v] = self.ops[v - 1](sum(terms[1:], terms[0]))
        parts = [out[v] for v in self.outs]
        if not parts:
            return self.proj[str(self.n - 1)](x)
        y = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        if (0, self.n - 1) in self.edge:
            y = y + self.proj[str(self.n - 1)](x)
        return y


def nb101(code):
    ops, edges = code.split(';')
    ops = ops.split()
    edges = [tuple(map(int, e.split('-'))) for e in edges.split()]
    layers, c = [cbr(3, 128, 3)], 128
    for stack in range(3):
        if stack:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(3):
            layers.append(Cell101(c, 128 << stack, ops, edges))
            c = 128 << stack
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, *head), 32


# -- nb201 --------------------------------------------------------------------

def rcb(cin, cout, k, stride=1):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, k, stride, k // 2,
                                              bias=False),
                         nn.BatchNorm2d(cout))


class Cell201(nn.Module):
    def __init__(self, c, code):
        super().__init__()
        kinds = {'nor_conv_1x1': lambda: rcb(c, c, 1),
                 'nor_conv_3x3': lambda: rcb(c, c, 3),
                 'avg_pool_3x3': lambda: nn.AvgPool2d(
                     3, 1, 1, count_include_pad=False),
                 'skip_connect': nn.Identity}
        self.nodes = nn.ModuleList()
        self.read = []
        for node in code.split('+'):
            pairs = [p.split('~') for p in node.strip('|').split('|')]
            self.nodes.append(nn.ModuleList(kinds[op]() for op, _ in pairs))
            self.read.append([int(j) for _, j in pairs])

    def forward(self, x):
        out = [x]
        for ops, read in zip(self.nodes, self.read):
            terms = [op(out[j]) for op, j in zip(ops, read)]
            out.append(sum(terms[1:], terms[0]))
        return out[3]


class Reduction201(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Sequential(rcb(c, 2 * c, 3, 2), rcb(2 * c, 2 * c, 3))
        self.b = nn.Sequential(nn.AvgPool2d(2, 2),
                               nn.Conv2d(c, 2 * c, 1, bias=False))

    def forward(self, x):
        return self.b(x) + self.a(x)


def nb201(code):
    layers = [cbr(3, 16, 3, act=None)]
    for stage, c in enumerate((16, 32, 64)):
        layers += [Reduction201(c // 2)] if stage else []
        layers += [Cell201(c, code) for _ in range(5)]
    head = [nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers, *head), 32


# -- ofa_mbv3 -----------------------------------------------------------------

def divisible(v):
    n = max(8, int(v + 4) // 8 * 8)
    return n + 8 if n < 0.9 * v else n


class Squeeze(nn.Module):
    def __init__(self, c):
        super().__init__()
        mid = divisible(c // 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, mid, 1), nn.ReLU(),
            nn.Conv2d(mid, c, 1), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.gate(x)


class MBConv(nn.Module):
    def __init__(self, cin, cout, k, e, stride, act, se):
        super().__init__()
        mid = divisible(round(cin * e))
        layers = [cbr(cin, mid, 1, act=act)] if e > 1 else []
        layers.append(cbr(mid, mid, k, stride, act, groups=mid))
        layers += [Squeeze(mid)] if se else []
        self.body = nn.Sequential(*layers, cbr(mid, cout, 1, act=None))
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        return self.body(x) + x if self.residual else self.body(x)


def ofa_mbv3(code):
    depth, kernel, expand = code.split('-')
    act = nn.Hardswish
    layers = [cbr(3, 16, 3, 2, act), MBConv(16, 16, 3, 1, 1, nn.ReLU, False)]
    stages = [(24, 2, nn.ReLU, False), (40, 2, nn.ReLU, True),
              (80, 2, act, False), (112, 1, act, True), (160, 2, act, True)]
    c = 16
    for s, (width, stride, a, se) in enumerate(stages):
        for i in range(int(depth[s])):
            at = 4 * s + i
            layers.append(MBConv(c, width, int(kernel[at]), int(expand[at]),
                                 1 if i else stride, a, se))
            c = width
    layers += [cbr(160, 960, 1, act=act), nn.AdaptiveAvgPool2d(1),
               nn.Conv2d(960, 1280, 1, bias=False), act(), nn.Flatten(),
               nn.Linear(1280, 1000)]
    return nn.Sequential(*layers), 224


# -- comparing ----------------------------------------------------------------

def export(net, size, path):
    with torch.no_grad():  # the exporter shares parameters that are equal
        for p in net.parameters():
            p.uniform_(0.5, 1.5)
        for name, b in net.named_buffers():
            if 'running' in name:
                b.uniform_(0.5, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(net.eval(), torch.zeros(1, 3, size, size),
                          str(path), dynamo=False, opset_version=17,
                          training=torch.onnx.TrainingMode.PRESERVE,
                          do_constant_folding=False)


def main():
    cgzoo, onnx2cg = (pathlib.Path(p).resolve() for p in sys.argv[1:3])
    n = sys.argv[3] if len(sys.argv) > 3 else '4'
    tally = Tally('zoo against PyTorch')
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'net.onnx'
        for name, module in (('nb101', nb101),
                             ('nb201:none=0', nb201), ('ofa_mbv3', ofa_mbv3)):
            codes = Run([cgzoo, 'sample', name, '-n', n, '--seed', '2']
                        ).out.decode().splitlines()
            table = Run([cgzoo, 'stats', name, *codes]).out.decode()
            for row in csv.DictReader(io.StringIO(table)):
                export(*module(row['code']), path)
                got = json.loads(Run([onnx2cg, '--stats', path]).out)
                tally.check(got['hash'] == row['hash'] and
                            str(got['params']) == row['params'],
                            f'{name} {row["code"]}: params {got["params"]} '
                            f'and {row["params"]}, ops {got["ops"]}')
    tally.done()


main()
