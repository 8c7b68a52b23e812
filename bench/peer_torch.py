"""PyTorch's side of train.py: the k-GNN regressor and the contrastive encoder
on batches of whole networks, block-diagonal, all that does not depend on
weights made beforehand. Where there is more than one good way (Ways), train.py
takes the fastest.

What a batch needs once is done once: the set's distinct tokens are embedded,
and nodes look theirs up; parts without dropout run once for both views of a
network. States are not shared between nodes beyond that.
"""
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Ways:
    inputs: str = 'table'     # of distinct tokens, or of nodes
    messages: str = 'csr'     # or index_add
    attention: str = 'sdpa'   # or matmul
    parts: int = 1            # a batch is padded in so many parts, by size
    adam: str = 'fused'       # or foreach


def csr(rows, start, col, n_cols):
    return torch.sparse_csr_tensor(
        torch.from_numpy(start.astype(np.int64)),
        torch.from_numpy(col.astype(np.int64)),
        torch.ones(len(col)), (rows, n_cols))


class SparseProduct(torch.autograd.Function):
    """a x, with the transpose made beforehand."""

    @staticmethod
    def forward(ctx, a, a_t, x):
        ctx.a_t = a_t
        return a @ x

    @staticmethod
    def backward(ctx, dy):
        return None, None, ctx.a_t @ dy


class Batch:
    """Networks side by side. `data`: tests/cgs.py's Set."""

    def __init__(self, data, rows, parts=1):
        tokens = [data.tokens_of(row) for row in rows]
        sizes = np.array([len(t) for t in tokens])
        first = np.concatenate([[0], np.cumsum(sizes)])
        n_nodes = int(first[-1])
        start, source = [np.zeros(1, np.int64)], []
        for row, at in zip(rows, first):
            s, p = data.edges(row)
            source.append(p + at)
            start.append(s[1:] + start[-1][-1])
        start, source = np.concatenate(start), np.concatenate(source)
        target = np.repeat(np.arange(n_nodes), np.diff(start))
        order = np.argsort(source, kind='stable')
        back = np.concatenate([[0], np.cumsum(np.bincount(
            source, minlength=n_nodes))])
        self.rows, self.n, self.x = rows, len(rows), None
        self.token = torch.from_numpy(np.concatenate(tokens))
        self.source = torch.from_numpy(source)
        self.target = torch.from_numpy(target)
        self.a = csr(n_nodes, start, source, n_nodes)
        self.a_t = csr(n_nodes, back, target[order], n_nodes)
        self.of = torch.from_numpy(np.repeat(np.arange(self.n), sizes))
        self.share = (1 / torch.from_numpy(sizes).float())[:, None]
        self.pad(sizes, first, parts)

    def pad(self, sizes, first, parts):
        """For each part: node of each place (n_nodes: none), its mask, and
        where the nodes of all parts, one after another, come from."""
        self.parts, places = [], []
        for graphs in np.array_split(np.argsort(-sizes, kind='stable'),
                                     parts):
            width = sizes[graphs].max()
            place = np.arange(width)[None, :]
            real = place < sizes[graphs][:, None]
            node = np.where(real, first[graphs][:, None] + place, first[-1])
            mask = torch.zeros(len(graphs), 1, 1, width).masked_fill(
                torch.from_numpy(~real)[:, None, None, :], -math.inf)
            self.parts.append((torch.from_numpy(node), mask))
            places.append(np.where(real, node, -1).ravel())
        places = np.concatenate(places)
        back = np.empty(first[-1], np.int64)
        back[places[places >= 0]] = np.flatnonzero(places >= 0)
        self.back = torch.from_numpy(back)


class Model:
    """`weights`: name -> array, of a model's file; `table` (tokens, width):
    what a network reads of each token."""

    def __init__(self, member, weights, table, heads, dropout, ways):
        prefix = member + '.'
        self.p = {name[len(prefix):]: torch.tensor(value).requires_grad_()
                  for name, value in weights.items()
                  if name.startswith(prefix) and not name.endswith('.label')}
        self.table = torch.from_numpy(table).float()
        self.heads, self.dropout, self.ways = heads, dropout, ways
        self.training = False
        self.optimizer = None

    def embed(self, b):
        if self.ways.inputs == 'nodes':  # b.x is set
            return b.x @ self.p['embed.weight']
        return F.embedding(b.token, self.table @ self.p['embed.weight'])

    def mlp(self, name, x):
        k = 0
        while f'{name}.{k}.weight' in self.p:
            x = torch.relu(x) if k > 0 else x
            x = torch.addmm(self.p[f'{name}.{k}.bias'], x,
                            self.p[f'{name}.{k}.weight'])
            k += 1
        return x

    def receive(self, b, x):
        if self.ways.messages == 'csr':
            return SparseProduct.apply(b.a, b.a_t, x)
        return torch.zeros_like(x).index_add(0, b.target, x[b.source])

    def mean(self, b, x):
        return torch.zeros(b.n, x.shape[1]).index_add(0, b.of, x) * b.share

    def gnn(self, b, x):
        k = 0
        while f'gnn.{k}.weight' in self.p:
            own, other = self.p[f'gnn.{k}.weight'].chunk(2, 1)
            x = torch.relu(torch.addmm(torch.addmm(
                self.p[f'gnn.{k}.bias'], x, own), self.receive(b, x), other))
            k += 1
        return self.mean(b, x)

    def linear(self, name, x):
        return torch.addmm(self.p[f'transformer.{name}.bias'], x,
                           self.p[f'transformer.{name}.weight'])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[1:],
                            self.p[f'transformer.{name}.weight'][0],
                            self.p[f'transformer.{name}.bias'][0])

    def drop(self, x):
        return F.dropout(x, self.dropout, self.training)

    def attend(self, q, k, v, mask):
        """(graphs, heads, places, dim)"""
        p = self.dropout if self.training else 0.
        if self.ways.attention == 'sdpa':
            return F.scaled_dot_product_attention(q, k, v, mask, p)
        weight = torch.softmax(
            q @ k.transpose(2, 3) / math.sqrt(q.shape[3]) + mask, 3)
        return F.dropout(weight, p, p > 0) @ v

    def attention(self, b, qkv):
        """(nodes, width) of one view."""
        width, out = qkv.shape[1] // 3, []
        qkv = F.pad(qkv, (0, 0, 0, 1))
        for node, mask in b.parts:
            q, k, v = qkv[node].reshape(
                *node.shape, 3, self.heads, width // self.heads
            ).permute(2, 0, 3, 1, 4)
            y = self.attend(q, k, v, mask)
            out.append(y.transpose(1, 2).reshape(-1, width))
        return torch.cat(out)[b.back]

    def transformer(self, b, x, views):
        x = self.linear('up', x)
        qkv = self.linear('qkv', x)
        y = torch.cat([self.attention(b, qkv) for _ in range(views)])
        x = x.repeat(views, 1)
        x = self.norm('norm1', x + self.drop(self.linear('out', y)))
        y = self.drop(torch.relu(self.linear('ff1', x)))
        x = self.norm('norm2', x + self.drop(self.linear('ff2', y)))
        return torch.cat([self.mean(b, part) for part in x.chunk(views)])

    def encode(self, b, views):
        x = self.embed(b)
        return torch.cat([self.gnn(b, x).repeat(views, 1),
                          self.transformer(b, x, views)], 1)

    # -- what is measured -----------------------------------------------------

    def predict(self, b):
        self.training = False
        with torch.inference_mode():
            if 'head.0.weight' in self.p:
                return self.mlp('head', self.gnn(b, self.embed(b)))
            return self.encode(b, 1)

    def regressor_loss(self, b, target):
        y = self.mlp('head', self.gnn(b, self.embed(b)))
        return F.mse_loss(y[:, 0], target)

    def encoder_loss(self, b, target, tau, flops_weight):
        """target: alpha of Eq. 1, standardised FLOPs of both views."""
        alpha, flops = target
        h = self.encode(b, 2)
        z = F.normalize(self.mlp('project', h))
        s = (z @ z.T / tau).fill_diagonal_(-math.inf)
        log_p = torch.log_softmax(s, 1).masked_fill(
            torch.eye(len(s), dtype=torch.bool), 0)
        return (-(alpha * log_p).sum(1).mean()
                + flops_weight * F.mse_loss(self.mlp('cost', h)[:, 0], flops))

    def step(self, loss_of, clip, lr):
        """One update; the loss before it."""
        self.training = True
        if self.optimizer is None:
            self.optimizer = torch.optim.Adam(
                self.p.values(), lr=lr, **{self.ways.adam: True})
        self.optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.p.values(), clip)
        self.optimizer.step()
        return loss


def alpha(spectra, temperature):
    """Of Eq. 1, from the spectra (n, 21) of n networks, for both views."""
    x = torch.from_numpy(np.concatenate([spectra, spectra]))
    d = torch.cdist(x, x, compute_mode='donot_use_mm_for_euclid_dist')
    return torch.softmax((-d / temperature).fill_diagonal_(-math.inf),
                         1).float()
