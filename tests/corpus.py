#!/usr/bin/env python3
"""Shapes, parameters and MACs of a corpus of real exports, against the truth.

    corpus.py ONNX2CG [MODELS]

MODELS (default: ../shared/models beside the project) holds NAME.onnx and
NAME.json, the ground truth made when the model was exported: see its README.
Without it the test is skipped. Checked, for every model:

shapes  Without options, each tensor listed has the dims that onnx's shape
        inference found. A name of its own making (unk__7, Conv5_dim_2) says
        nothing and is left open, a name that an input declares must be that
        name, or 1 where it is the batch. With the inputs of each case given,
        dims left open before are those that were seen when the model ran;
        a dim may stay open only in a model whose shapes depend on data.
macs    Those of each case.
params  Those of the module that was exported, up to what the export did to
        them: REASONS computes each lawful difference from the JSON.
"""
import collections
import json
import math
import pathlib
import re
import sys

from support import ROOT, Run, Tally, skip
from wire import ReadModel

SEEN = 'shapes_executed_where_inference_is_missing_or_symbolic'
FLOATS = {1, 10, 11, 16}  # f32, f16, f64, bf16
DATA_DEPENDENT = {'NonZero', 'NonMaxSuppression', 'Unique', 'Compress',
                  'Loop', 'Scan', 'If', 'SequenceEmpty'}


# -- parameters -------------------------------------------------------------

class Counts:
    """What of a file's float initializers is a parameter: all that a node
    reads but running statistics of BatchNorm, which are buffers, and limits
    of Clip."""

    def __init__(self, file, truth):
        self.params = truth['params']
        without = truth['exporter'].get('export_params') is False
        self.left_out = 0 if without else None
        sizes = {name: math.prod(dims) for name, (dtype, dims)
                 in file.tensors.items() if dtype in FLOATS}
        nodes = file.nodes + file.inner
        norms = [(ins, outs) for op, ins, outs in nodes
                 if op == 'BatchNormalization']
        running = {i for ins, _ in norms for i in ins[3:5]}
        limits = {i for op, ins, _ in nodes if op == 'Clip' for i in ins[1:]}
        read = {i for _, ins, _ in nodes for i in ins}
        self.in_file = sum(sizes[i] for i in
                           (read & set(sizes)) - running - limits)
        self.limits = sum(sizes.get(i, 0) for i in limits)
        # those that are initializers, and those that a node makes
        self.running = sum(sizes.get(i, 0) for i in running)
        self.running_made = sum(
            math.prod(truth['shapes'].get(i) or [0]) for i in running
            if i not in sizes)
        self.quantised = self.count_quantised(file, nodes)
        channels = sum(sizes.get(ins[1], 0) for ins, _ in norms)
        self.folded = max(0, truth['params_detail'].get(
            'torch_bn_channels', 0) - channels)

    @staticmethod
    def count_quantised(file, nodes):
        """Integer weights and biases, by the inputs that read them."""
        places = {'DequantizeLinear': (0,), 'QLinearConv': (3, 8),
                  'QLinearMatMul': (3,)}
        held = {**file.tensors, **file.constants}
        read = {ins[k] for op, ins, _ in nodes for k in places.get(op, ())
                if k < len(ins)}
        return sum(math.prod(held[i][1]) for i in read & set(held))


# reason: the count that it makes lawful
REASONS = {
    'as in the module': lambda c: c.params,
    'exported without parameters: they are inputs': lambda c: c.left_out,
    'BatchNorm folded into a Conv without bias: gamma and beta became its '
    'bias': lambda c: c.params - c.folded,
    'BatchNorm folded into a Conv with bias: gamma and beta are gone':
        lambda c: c.params - 2 * c.folded,
    'no module, the JSON counts all floats: running statistics of BatchNorm '
    'and limits of Clip are no parameters':
        lambda c: c.params - c.running - c.limits,
    'ConstantOfShape makes weights, the JSON counts nothing else: '
    'initializers are parameters too, statistics are not':
        lambda c: c.params + c.in_file - c.running_made,
    'quantised, BatchNorm folded: as many integer weights and biases as the '
    'file holds': lambda c: c.quantised,
    'the exporter duplicated, folded or dropped constants: as many as the '
    'file holds': lambda c: c.in_file,
}


def explain_params(counts, got):
    for reason, count in REASONS.items():
        if got == count(counts):
            return reason
    return None


# -- shapes -----------------------------------------------------------------

def declared_symbols(truth):
    """Names that inputs declare, and those of them that are a batch."""
    names, batch = set(), set()
    for i in truth['inputs']:
        for k, d in enumerate(i['shape'] or []):
            if isinstance(d, str) and d != '?':
                names.add(d)
                if k == 0:
                    batch.add(d)
    return names, batch


def dim_matches(want, got, names, batch):
    if isinstance(want, int):
        return got == want
    if want in names:
        return got == want or (want in batch and got == 1)
    return True


def elements_of(shape):
    """Dims of a sequence's elements where they agree, else None."""
    if not isinstance(shape, dict):
        return shape
    of = shape.get('seq_of', shape.get('optional_of'))
    if of is None and 'seq' in shape:
        seen = shape['seq']
        if not seen or any(len(s) != len(seen[0]) for s in seen):
            return None
        return [d[0] if len(set(d)) == 1 else '?' for d in zip(*seen)]
    return of


def shape_matches(want, got, names, batch):
    want = elements_of(want)
    if want is None:
        return True
    if got is None:
        return False
    return (len(want) == len(got) and
            all(dim_matches(w, g, names, batch) for w, g in zip(want, got)))


def is_open(shape):
    return shape is None or any(not isinstance(d, int) for d in shape)


class Model:
    def __init__(self, tool, path, tally):
        self.tool, self.path, self.tally = tool, path, tally
        self.truth = json.loads(path.with_suffix('.json').read_text())
        self.open_dims = 0
        # the JSON lists tensors of bodies too, --shapes only the main graph's
        file = ReadModel(path.read_bytes())
        main = {out for _, _, outputs in file.nodes for out in outputs}
        self.counts = Counts(file, self.truth)
        self.shapes = {t: s for t, s in self.truth['shapes'].items()
                       if t in main}
        self.missing = main & set(self.truth['shapes_missing'])
        self.values = {}  # of dims that depend on data
        ops = set(self.truth.get('op_counts_incl_subgraphs')
                  or self.truth['op_counts'])
        self.data_dependent = bool(ops & DATA_DEPENDENT) or \
            any('::' in op and 'microsoft' not in op for op in ops)

    def fail(self, text):
        self.tally.check(False, f'{self.path.stem}: {text}')

    def run(self, mode, case=None):
        command = [self.tool, mode]
        for name, dims in (case or {}).get('inputs', {}).items():
            dims = ','.join(map(str, dims))
            command += ['--input-shape', f'{name}={dims}']
        run = Run(command + [self.path])
        if run.status != 0:
            self.fail(f'{mode}: {run.why()}')
            return None
        try:
            got = run.json()
        except ValueError as e:
            return self.fail(f'{mode}: no JSON: {e}')
        if mode == '--shapes':
            got = {t: elements_of(dims) for t, dims in got.items()}
        return got

    def check_plain_shapes(self):
        got = self.run('--shapes')
        if got is None:
            return
        names, batch = declared_symbols(self.truth)
        for tensor, want in self.shapes.items():
            self.check_shape('', got, tensor, want, names, batch)
        for tensor in self.missing:
            self.tally.check(tensor in got,
                             f'{self.path.stem}: {tensor}: not listed')

    def check_shape(self, what, got, tensor, want, names=(), batch=()):
        if tensor not in got:
            self.fail(f'{tensor}: not listed')
            return
        ok = shape_matches(want, got[tensor], names, batch)
        self.tally.check(ok, f'{self.path.stem}: {tensor}{what}: want {want}, '
                         f'got {got[tensor]}')

    def check_case_shapes(self, index, case):
        got = self.run('--shapes', case)
        if got is None:
            return
        what = f' (case {index})'
        seen = self.truth[SEEN] if index == 0 else {}
        for tensor, want in self.shapes.items():
            self.check_shape(what, got, tensor, want)
        for tensor, want in seen.items():
            self.check_seen(what, got, tensor, want)
        for out, want in zip(self.truth['outputs'],
                             case.get('outputs_exec') or []):
            self.check_seen(what, got, out['name'], want)
        for tensor, shape in got.items():
            if is_open(shape) and not self.data_dependent:
                self.fail(f'{tensor}{what}: {shape} is not known')
            self.open_dims += is_open(shape)

    def check_seen(self, what, got, tensor, want):
        """What was seen when the model ran; an open dim is no error here."""
        shape = got.get(tensor)
        want = elements_of(want)
        if shape is None or want is None:
            return
        if self.data_dependent and is_open(shape) and \
                len(shape) == len(want):
            want = [w if isinstance(g, int) else g
                    for w, g in zip(want, shape)]
        self.tally.check(shape_matches(want, shape, (), ()),
                         f'{self.path.stem}: {tensor}{what}: seen {want}, '
                         f'got {shape}')

    def lawful_macs(self, index, case, got):
        """The JSON has one number, or several with a reason, or names one in
        its notes (of com.microsoft's operators, unknown to onnx)."""
        t = self.truth
        noted = {int(n) for n in re.findall(
            r'\d+', t['notes'] + t['macs_explain'])} & {got}
        if case.get('macs') is not None:
            return {case['macs']} | noted
        values = set((case.get('macs_values') or {}).values())
        if index == 0:
            values |= {t['macs_graph_static']} | set(t['macs_values'].values())
        return (values | noted) - {None}

    def evaluated(self, macs, case):
        """Symbolic macs with the dims that were seen for this case."""
        if isinstance(macs, int) or not self.data_dependent:
            return macs
        shapes = self.run('--shapes', case) or {}
        for tensor, seen in self.truth[SEEN].items():
            dims = shapes.get(tensor)
            if not isinstance(seen, list) or dims is None:
                continue
            for dim, value in zip(dims, seen):
                if isinstance(dim, str):
                    self.values.setdefault(dim, value)
        for dim in sorted(self.values, key=len, reverse=True):
            macs = macs.replace(dim, str(self.values[dim]))
        try:
            return eval(macs, {'__builtins__': {}, 'min': min, 'max': max})
        except (NameError, SyntaxError):
            return macs

    def check_stats(self, index, case):
        """The reason of the parameter count."""
        got = self.run('--stats', case)
        if got is None:
            return None
        macs = self.evaluated(got['macs'], case) if index == 0 \
            else got['macs']
        lawful = self.lawful_macs(index, case, macs)
        if isinstance(macs, str) and self.data_dependent:
            print(f'{self.path.stem}: macs (case {index}) depend on data: '
                  f'{macs}')
        elif lawful:
            self.tally.check(macs in lawful,
                             f'{self.path.stem}: macs (case {index}): '
                             f'want {sorted(lawful)}, got {got["macs"]}')
        reason = explain_params(self.counts, got['params'])
        self.tally.check(reason is not None,
                         f'{self.path.stem}: params: want '
                         f'{self.truth["params"]}, got {got["params"]}; '
                         f'{self.truth["params_detail"].get("explain")}')
        return reason

    def check(self):
        self.check_plain_shapes()
        reason = None
        for index, case in enumerate(self.truth['cases']):
            self.check_case_shapes(index, case)
            reason = self.check_stats(index, case)
        return reason


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    folder = (pathlib.Path(sys.argv[2]) if len(sys.argv) > 2
              else ROOT.parent / 'shared' / 'models')
    models = sorted(p for p in folder.glob('*.onnx')
                    if p.with_suffix('.json').exists())
    if not models:
        skip(f'no corpus of models at {folder}')
    tally = Tally(f'corpus of {len(models)} models')
    reasons = collections.defaultdict(list)
    clean = 0
    for path in models:
        failed = tally.failed
        model = Model(tool, path, tally)
        reasons[model.check()].append(path.stem)
        clean += tally.failed == failed
        if model.open_dims:
            print(f'{path.stem}: {model.open_dims} tensors with a dim that '
                  'depends on data')
    for reason, names in reasons.items():
        print(f'params of {len(names)}: {reason or "not explained"}')
        if reason != 'as in the module':
            print('   ', ' '.join(names))
    print(f'{clean} of {len(models)} models without a failure')
    tally.done()


if __name__ == '__main__':
    main()
