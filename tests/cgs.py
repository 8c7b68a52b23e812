"""Reads data sets (.cgs, docs/dataset.md) with numpy, from the mapped file.

    s = Set('nb101.cgs')
    start, source = s.edges(7)      # in-edges of node v: source[start[v]:...]
    x = s.inputs(names)[s.tokens_of(7)]

and files of tensors: `tensors(path)` gives (name -> array, metadata).
"""
import json
import mmap

import numpy as np

HEADER = np.dtype([
    ('magic', 'S8'), ('version', '<u4'), ('n_sections', '<u4'),
    ('size', '<u8'), ('n_graphs', '<u4'), ('n_tokens', '<u4'),
    ('n_topologies', '<u4'), ('n_labels', '<u4'), ('form', '<u4'),
    ('n_ops', '<u4'), ('reserved', '<u8'), ('crc', '<u4', 2)])
SECTION = np.dtype([('name', 'S8'), ('offset', '<u8'), ('size', '<u8'),
                    ('crc', '<u4'), ('reserved', '<u4')])
TOKEN = np.dtype([
    ('op', '<u2'), ('act', '<u2'), ('bias', '<u2'), ('rank', '<u2'),
    ('in', '<u4', 3), ('out', '<u4', 3), ('weight', '<u4', 4),
    ('kernel', '<u4', 2), ('stride', '<u4', 2), ('dilation', '<u4', 2),
    ('groups', '<u4'), ('hw_max', '<u4'), ('c_max', '<u4'), ('macs', '<f4')])
TOPOLOGY = np.dtype([('edges', '<u8'), ('n_nodes', '<u4'), ('n_edges', '<u4'),
                     ('reserved', '<u8')])
GRAPH = np.dtype([('nodes', '<u8'), ('name', '<u8'), ('topology', '<u4'),
                  ('token_bytes', '<u4'), ('hash', '<u8', 2),
                  ('params', '<f8'), ('macs', '<f8'), ('flops', '<f8')])
SPECTRUM_LEN = 21
NO_ACT = 65535


def index_type(width):
    return np.dtype({1: 'u1', 2: '<u2', 4: '<u4'}[width])


def index_width(n):
    return 1 if n <= 256 else 2 if n <= 65536 else 4


class Set:
    def __init__(self, path):
        with open(path, 'rb') as f:
            self.map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        head = np.frombuffer(self.map, HEADER, 1)[0]
        if head['magic'] != b'\x89CGS\r\n\x1a\n' or head['version'] != 1:
            raise ValueError(f'{path}: not a data set of version 1')
        table = np.frombuffer(self.map, SECTION, int(head['n_sections']),
                              HEADER.itemsize)
        self.at = {row['name'].decode(): (int(row['offset']),
                                          int(row['size'])) for row in table}
        self.n_graphs = int(head['n_graphs'])
        self.fused = bool(head['form'])
        offset, size = self.at['texts']
        texts = self.map[offset:offset + size].decode().split('\0')[:-1]
        n_ops = int(head['n_ops'])
        self.family, self.ops = texts[0], texts[1:1 + n_ops]
        self.label_names = texts[1 + n_ops:]
        self.token = self.section('tokens', TOKEN)
        self.topology = self.section('topology', TOPOLOGY)
        self.spectra = self.section('spectra', np.dtype('<f8')).reshape(
            -1, SPECTRUM_LEN)
        self.graph = self.section('graphs', GRAPH)
        self.labels = self.section('labels', np.dtype('<f8')).reshape(
            self.n_graphs, len(self.label_names))

    def section(self, name, dtype):
        offset, size = self.at[name]
        return np.frombuffer(self.map, dtype, size // dtype.itemsize, offset)

    def name(self, i):
        at = self.at['names'][0] + int(self.graph[i]['name'])
        return self.map[at:self.map.find(b'\0', at)].decode()

    def tokens_of(self, i):
        """(nodes) rows of .token."""
        g = self.graph[i]
        n = int(self.topology[g['topology']]['n_nodes'])
        return np.frombuffer(self.map, index_type(int(g['token_bytes'])), n,
                             self.at['nodes'][0] + int(g['nodes'])
                             ).astype(np.int64)

    def edges(self, i):
        """start (nodes + 1), source (edges): in-edges of each node."""
        t = self.topology[self.graph[i]['topology']]
        n, m = int(t['n_nodes']), int(t['n_edges'])
        raw = np.frombuffer(self.map, index_type(index_width(n)), n + m,
                            self.at['edges'][0] + int(t['edges'])
                            ).astype(np.int64)
        return np.concatenate([[0], np.cumsum(raw[:n])]), raw[n:]

    def spectrum(self, rows):
        """(len(rows), 21)"""
        return self.spectra[self.graph['topology'][rows]]

    def inputs(self, names):
        """(tokens, len(names)): what a network reads of each token. `names`
        are those of a model's metadata: 'op:Conv', 'size:2', ..."""
        columns = {}
        for name in names:
            block, k = name.split(':')
            columns.setdefault(block, []).append(k)
        return np.hstack([getattr(self, 'input_' + block)(keys)
                          for block, keys in columns.items()])

    def one_hot(self, index, keys, names):
        rank = {name: i for i, name in enumerate(keys)}
        x = np.zeros((len(self.token), len(keys)))
        x[np.arange(len(x)), [rank[names(i)] for i in index]] = 1
        return x

    def input_op(self, keys):
        return self.one_hot(self.token['op'], keys, lambda i: self.ops[i])

    def input_act(self, keys):
        return self.one_hot(self.token['act'], keys, lambda i:
                            'none' if i == NO_ACT else self.ops[i])

    def input_size(self, keys):
        unit = np.array([256, 256, 512])
        return np.hstack([self.token['in'] / unit, self.token['out'] / unit])

    def has_weights(self):
        return self.token['weight'][:, 3] > 0

    def input_kernel(self, keys):
        sizes = len(keys) // 2
        x = np.zeros((len(self.token), len(keys)))
        for i in np.flatnonzero(self.has_weights()):
            for side in range(2):
                k = int(self.token['weight'][i, side])
                x[i, side * sizes + min(max(k, 1), sizes) - 1] = 1
        return x

    def input_bias(self, keys):
        has, bias = self.has_weights(), self.token['bias'] != 0
        return np.stack([has & ~bias, has & bias], 1).astype(float)

    def input_relative(self, keys):
        t = self.token

        def ratio(x, most, unit):
            known = (x > 0) & (most > 0)
            return np.log2(np.where(known, x, 1) / np.where(known, most, 1)
                           ) / unit

        return np.stack([ratio(t[side][:, axis], t[most], unit)
                         for side in ('in', 'out')
                         for axis, most, unit in ((0, 'hw_max', 5),
                                                  (2, 'c_max', 4))], 1)


def tensors(path):
    """A safetensors file: name -> array, and its metadata."""
    types = {'F32': '<f4', 'F64': '<f8', 'I32': '<i4', 'I64': '<i8',
             'U8': 'u1'}
    with open(path, 'rb') as f:
        data = f.read()
    size = int.from_bytes(data[:8], 'little')
    head = json.loads(data[8:8 + size])
    meta = head.pop('__metadata__', {})
    out = {}
    for name, t in head.items():
        first, last = t['data_offsets']
        out[name] = np.frombuffer(data[8 + size + first:8 + size + last],
                                  types[t['dtype']]).reshape(t['shape'])
    return out, meta
