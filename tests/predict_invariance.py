#!/usr/bin/env python3
"""One network exported in many ways gets one prediction: with constants folded
or not, BatchNorm kept or folded, opsets 11 to 20, old and new exporters.

    predict_invariance.py CGZOO CGTRAIN CGEVAL CGPREDICT [FOLDER]

FOLDER (default: invariance/ beside this file) holds NET/WAY.onnx, made by
invariance/export.py. The models are small ones, trained here: every member of
the method on folded graphs, and configuration `best`; and the one in the box.
"""
import collections
import decimal
import json
import pathlib
import sys
import tempfile

from learner_lab import Learner, table
from support import skip

BOX = (pathlib.Path(__file__).resolve().parent.parent
       / 'models/gennape.safetensors')
CELLS = 300
ALIKE = decimal.Decimal('1e-5')
KEYS = ('accuracy', 'score', 'confidence')
# Of bert's table of 32 positions 16 are used. Exporters that fold constants
# write only those, so that its files differ in parameters: what is said of them
# is the same among those that have as many, and nearly so among all.
CUT, NEARLY = {'bert'}, decimal.Decimal('.02')
# Of `best` whatever it is made of, but only shortly trained.
SHORT = [x for key in ('epochs', 'cl_epochs', 'head_epochs')
         for x in ('--set', f'{key}=2')]


def make_sets(t):
    """Cells, the better the more convolutions, in both forms; form -> set."""
    codes = t.good('zoo', 'sample', 'nb101', '-n', CELLS, '--seed', 2)
    codes = sorted(set(codes.out.decode().splitlines()))
    rows = [[c, round(.8 + .02 * c.count('conv3x3') + .01 * c.count('conv1x1')
                      - .01 * c.count('maxpool'), 4)] for c in codes]
    t.path('labels.csv', table([['code', 'accuracy'], *rows]))
    sets = {}
    for form in ('folded', 'fused'):
        sets[form] = t.folder / f'{form}.cgs'
        t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '--form', form,
               '-o', sets[form])
    return sets


def train(t):
    """Name -> a model."""
    sets, out = make_sets(t), {}
    for name, form, options in (
            ('all members', 'folded', ['--config', t.config]),
            ('best', 'fused', ['--config', 'best'])):
        out[name] = t.folder / f'{form}.safetensors'
        t.good('train', sets[form], '-o', out[name], '-q', '--threads', 1,
               *options, '--set', 'limit=0', *SHORT)
    out['in the box'] = BOX
    return out


def number(x):
    """Printed to some digits: the value, and what its last one is worth."""
    return x, decimal.Decimal((0, (1,), x.as_tuple().exponent))


def predictions(t, model, paths):
    """Net -> way -> key -> (value, last digit)."""
    run = t.good('predict', '--model', model, '--json', '--compare',
                 '--threads', 1, *paths)
    nets = collections.defaultdict(dict)
    for line in run.out.decode().splitlines():
        row = json.loads(line, parse_float=decimal.Decimal,
                         parse_int=decimal.Decimal)
        path = pathlib.Path(row['file'])
        nets[path.parent.name][path.stem] = {
            k: number(row[k]) for k in KEYS if row[k] is not None}
        nets[path.parent.name][path.stem]['params'] = row['members']['params']
    return nets


def check_ways(t, where, ways, alike):
    first, wanted = next(iter(ways.items()))
    for way, got in ways.items():
        t.tally.check('score' in got and got.keys() == wanted.keys(),
                      f'{where}: {way} has {sorted(got)}')
        for key in got.keys() & wanted.keys() & set(KEYS):
            (x, a), (y, b) = got[key], wanted[key]
            t.tally.check(abs(x - y) <= alike + max(a, b),
                          f'{where}: {key} of {way} is {x}, of {first} {y}')


def check_net(t, model, net, ways):
    whole = collections.defaultdict(dict)
    for way, got in ways.items():
        whole[got['params']][way] = got
    t.tally.check(len(whole) == (2 if net in CUT else 1),
                  f'{net}: parameters differ, {sorted(whole)}')
    for some in whole.values():
        check_ways(t, f'{model}, {net}', some, ALIKE)
    if net in CUT:
        check_ways(t, f'{model}, {net}', ways, NEARLY)


def check_model(t, name, model, paths):
    nets = predictions(t, model, paths)
    t.tally.check(sum(map(len, nets.values())) == len(paths),
                  f'{name}: {len(paths)} models, predicted: '
                  f'{ {n: len(w) for n, w in nets.items()} }')
    for net, ways in nets.items():
        check_net(t, name, net, ways)
    scores = {net: next(iter(w.values()))['score'][0]
              for net, w in nets.items()}
    for a in scores:  # else it would not see them at all
        for b in scores:
            t.tally.check(a >= b or abs(scores[a] - scores[b]) > 10 * ALIKE,
                          f'{name}: {a} and {b} have score {scores[a]}')


def main():
    tools = [pathlib.Path(p).resolve() for p in sys.argv[1:5]]
    source = pathlib.Path(sys.argv[5] if len(sys.argv) > 5 else
                          pathlib.Path(__file__).parent / 'invariance')
    paths = sorted(source.resolve().glob('*/*.onnx'))
    if not paths:
        skip(f'no exports in {source}; invariance/export.py makes them')
    with tempfile.TemporaryDirectory() as folder:
        t = Learner(tools, pathlib.Path(folder))
        t.tally.what = f'predictions of {len(paths)} exports'
        for name, model in train(t).items():
            check_model(t, name, model, paths)
    t.tally.done()


if __name__ == '__main__':
    main()
