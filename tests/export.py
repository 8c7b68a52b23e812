#!/usr/bin/env python3
"""What --to-onnx writes comes back with the same hash, is valid, and runs.

    export.py ONNX2CG [MODEL...]

Models: those of tests/onnx, of examples, and one export of each network of
tests/invariance.
"""
import json
import pathlib
import sys
import tempfile

from support import ROOT, Run, Tally, need

# What ONNX cannot say: a branch on data.
REFUSED = {'branch': 'Control cannot be written as ONNX'}
# Written and read again, but with an operator that no runtime has.
NOT_RUN = {'unknown_operator'}
OPEN = 8  # what symbols are at run time; batches are 1


def models():
    nets = sorted((ROOT / 'tests/invariance').iterdir())
    one_each = [sorted(n.glob('*.onnx'))[:1] for n in nets if n.is_dir()]
    return [*sorted((ROOT / 'tests/onnx').glob('*/model.onnx')),
            *sorted((ROOT / 'examples').glob('*.onnx')),
            *sum(one_each, [])]


def export(tool, model, out, *options):
    return Run([tool, '-q', '--to-onnx', *options, '-o', out, model])


def stats(tool, model):
    run = Run([tool, '-q', '--stats', model])
    return json.loads(run.out) if run.status == 0 else {'error': run.why()}


def check_same(tally, name, before, after):
    same = before.get('hash') and before.get('hash') == after.get('hash')
    if not tally.check(same, f'{name}: came back as another graph'):
        print(before, after, sep='\n')
    return same


def feed(inputs):
    import numpy
    kinds = {'float': 'f4', 'double': 'f8', 'float16': 'f2', 'bool': '?',
             'int64': 'i8', 'int32': 'i4', 'uint8': 'u1'}
    random = numpy.random.default_rng(0)
    values = {}
    for i in inputs:
        shape = [d if isinstance(d, int) else OPEN for d in i.shape]
        kind = kinds[i.type[len('tensor('):-1]]
        values[i.name] = (random.random(shape) * 2).astype(kind)
    return values


def check_run(tally, name, path):
    import onnx
    import onnxruntime
    try:
        onnx.checker.check_model(str(path), full_check=name not in NOT_RUN)
        if name in NOT_RUN:
            return
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider'])
        results = session.run(None, feed(session.get_inputs()))
    except Exception as e:  # the checker's and the runtime's have no base
        tally.check(False, f'{name}: {e}')
        return
    for result, out in zip(results, session.get_outputs()):
        known = [(a, b) for a, b in zip(result.shape, out.shape)
                 if isinstance(b, int)]
        tally.check(len(result.shape) == len(out.shape) and
                    all(a == b for a, b in known),
                    f'{name}: {out.name} is {result.shape}, not {out.shape}')


def check_model(tally, tool, model, folder):
    name = model.parent.name
    out = folder / 'out.onnx'
    run = export(tool, model, out)
    if name in REFUSED:
        tally.check(run.status == 1 and REFUSED[name] in run.why(),
                    f'{name}: {run.why()}')
        tally.check(not out.exists(), f'{name}: refused, but there is a file')
        return
    if not tally.check(run.status == 0, f'{name}: {run.why()}'):
        return
    before = stats(tool, model)
    if check_same(tally, name, before, stats(tool, out)):
        check_run(tally, name, out)
    size = out.stat().st_size
    export(tool, model, out, '--no-weights')
    check_same(tally, f'{name}, no weights', before, stats(tool, out))
    tally.check(before.get('params', 0) in (0, None) or
                out.stat().st_size < size, f'{name}: weights are there')
    out.unlink()


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    need('onnx', 'onnxruntime', 'numpy')
    paths = [pathlib.Path(p).resolve() for p in sys.argv[2:]] or models()
    tally = Tally(f'export of {len(paths)} models')
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            check_model(tally, tool, path, pathlib.Path(folder))
    tally.done()


if __name__ == '__main__':
    main()
