#!/usr/bin/env python3
"""Shapes of the ONNX backend test suite, as Debian's libonnx-testdata has it.

    backend_suite.py ONNX2CG [DATA]

Judged on copies whose stored shapes are erased (value_info, and the dims of
graph outputs, bodies included): the output shapes that --shapes finds must be
those of the suite's output files. Where a shape depends on the elements of an
input, a symbol is right, but is not taken on trust: in a second copy small
inputs have become constants, and a shape that is still open there must come
from an operator whose output size depends on its data. At least 99 % must
pass; the rest is listed by name.
"""
import pathlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from support import Run, need, skip

need('onnx')
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

DATA = pathlib.Path('/usr/share/libonnx-testdata/data')
SETS = ('node', 'simple', 'pytorch-operator', 'pytorch-converted')
WANTED = 0.99
SMALL = 64  # elements of an input that becomes a constant in the second copy
# output sizes that no constant input of a few elements makes known
DATA_DEPENDENT = {'NonZero', 'NonMaxSuppression', 'Unique', 'Compress',
                  'StringNormalizer', 'TfIdfVectorizer', 'Loop', 'If', 'Scan',
                  'SequenceMap', 'OptionalGetElement', 'SequenceAt',
                  'Bernoulli'}


def erase_type(t):
    kind = t.WhichOneof('value')
    if kind == 'tensor_type':
        t.tensor_type.ClearField('shape')
    elif kind == 'sparse_tensor_type':
        t.sparse_tensor_type.ClearField('shape')
    elif kind in ('sequence_type', 'optional_type'):
        erase_type(getattr(t, kind).elem_type)


def erase(graph):
    del graph.value_info[:]
    for o in graph.output:
        erase_type(o.type)
    for node in graph.node:
        for a in node.attribute:
            for g in [a.g] if a.HasField('g') else a.graphs:
                erase(g)


def element_count(dims):
    n = 1
    for d in dims:
        n *= d
    return n


def value_shape(path, kind):
    """Dims in a data file; of a sequence or optional those of its elements
    where they agree, None where there are none."""
    data = path.read_bytes()
    if kind == 'sequence_type':
        seq = onnx.SequenceProto.FromString(data)
        shapes = [list(t.dims) for t in seq.tensor_values]
    elif kind == 'optional_type':
        opt = onnx.OptionalProto.FromString(data)
        if opt.elem_type == onnx.OptionalProto.TENSOR:
            shapes = [list(opt.tensor_value.dims)]
        else:
            shapes = [list(t.dims) for t in opt.sequence_value.tensor_values]
    else:
        return list(onnx.TensorProto.FromString(data).dims)
    if not shapes or any(len(s) != len(shapes[0]) for s in shapes):
        return None
    return [d[0] if len(set(d)) == 1 else None for d in zip(*shapes)]


class Case:
    def __init__(self, folder):
        self.folder = folder
        self.name = f'{folder.parent.name}/{folder.name}'
        self.model = onnx.load(str(folder / 'model.onnx'))
        erase(self.model.graph)
        self.want = [self.output(k) for k in
                     range(len(self.model.graph.output))]

    def output(self, k):
        path = self.folder / 'test_data_set_0' / f'output_{k}.pb'
        kind = self.model.graph.output[k].type.WhichOneof('value')
        return value_shape(path, kind) if path.exists() else None

    def fixed(self):
        """The copy whose small tensor inputs are constants."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        known = {t.name for t in graph.initializer}
        free = [i for i in graph.input if i.name not in known]
        for k, i in enumerate(free):
            path = self.folder / 'test_data_set_0' / f'input_{k}.pb'
            if i.type.WhichOneof('value') != 'tensor_type' or \
                    not path.exists():
                continue
            t = onnx.TensorProto.FromString(path.read_bytes())
            if element_count(t.dims) > SMALL:
                continue
            t = numpy_helper.from_array(numpy_helper.to_array(t), i.name)
            graph.initializer.append(t)
            graph.input.remove(i)
        return model

    def operators(self):
        def walk(nodes):
            for n in nodes:
                yield n.op_type
                for a in n.attribute:
                    if a.HasField('g'):
                        yield from walk(a.g.node)
        return set(walk(self.model.graph.node))

    def blind(self):
        """A sequence comes in whose elements have no declared shape."""
        kinds = {i.type.WhichOneof('value') for i in self.model.graph.input}
        return bool(kinds & {'sequence_type', 'optional_type'})

    def shapes(self, tool, model, folder):
        path = folder / (self.name.replace('/', '-') + '.onnx')
        path.write_bytes(model.SerializeToString())
        return Run([tool, '--shapes', path])

    def compare(self, got):
        """'right', 'open' (a symbol or unknown rank) or what is wrong."""
        verdict = 'right'
        for out, want in zip(self.model.graph.output, self.want):
            if out.name not in got:
                return f'{out.name} is not listed'
            shape = got[out.name]
            if isinstance(shape, dict):  # {"seq_of": dims}
                shape, = shape.values()
            if want is None:
                continue
            if shape is None:
                verdict = 'open'
                continue
            wrong = len(shape) != len(want) or any(
                isinstance(g, int) and w is not None and g != w
                for g, w in zip(shape, want))
            if wrong:
                return f'{out.name}: want {want}, got {shape}'
            if any(not isinstance(d, int) for d in shape):
                verdict = 'open'
        return verdict

    def judge(self, tool, folder):
        run = self.shapes(tool, self.model, folder)
        if run.status != 0:
            return run.why()
        verdict = self.compare(run.json())
        if verdict != 'open':
            return verdict
        run = self.shapes(tool, self.fixed(), folder)
        if run.status != 0:
            return f'small inputs as constants: {run.why()}'
        again = self.compare(run.json())
        if again == 'right':
            return 'open'
        if again == 'open' and (self.operators() & DATA_DEPENDENT
                                or self.blind()):
            return 'data'
        shapes = run.json()
        shown = {o.name: shapes.get(o.name) for o in self.model.graph.output}
        return (f'small inputs as constants: want {self.want}, got {shown}'
                if again == 'open' else again)


def judge(folder, tool, temp):
    try:
        case = Case(folder)
        return case.name, case.judge(tool, temp)
    except Exception as e:
        return f'{folder.parent.name}/{folder.name}', \
            f'{type(e).__name__}: {e}'


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    data = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    folders = [p.parent for s in SETS
               for p in sorted((data / s).glob('*/model.onnx'))]
    if not folders:
        skip(f'no ONNX backend test data at {data} '
             '(Debian: libonnx-testdata)')
    with tempfile.TemporaryDirectory() as temp, \
            ThreadPoolExecutor(2) as pool:
        results = list(pool.map(
            lambda f: judge(f, tool, pathlib.Path(temp)), folders))
    count = {'right': 0, 'open': 0, 'data': 0}
    for name, verdict in results:
        if verdict in count:
            count[verdict] += 1
        else:
            print(f'FAILED {name}: {verdict}')
    passed = sum(count.values())
    print(f'{count["right"]} as they are; {count["open"]} with a symbol, and '
          f'exact once small inputs are constants; {count["data"]} with a '
          'symbol that depends on data')
    print(f'backend suite: {passed} of {len(results)} passed '
          f'({100 * passed / len(results):.2f} %), '
          f'{len(results) - passed} failed')
    sys.exit(0 if passed >= WANTED * len(results) else 1)


if __name__ == '__main__':
    main()
