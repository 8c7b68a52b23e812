#!/usr/bin/env python3
"""Models of nets are tuned to another family: cgeval --finetune, cgtrain
finetune and cgpredict --calibrate agree, and wrong tables get one sentence.

    calibrate.py CGZOO CGTRAIN CGEVAL CGPREDICT
"""
import math
import pathlib
import sys
import tempfile

from learner_lab import Learner, srcc, table

CELLS, OTHERS, MEASURED = 300, 100, 30
NETS = ('net1', 'net2', 'ridge')
SET = [x for s in ('members=' + ','.join(NETS), 'epochs=1', f'limit={CELLS}',
                   'gnn_width=16', 'embed_width=16', 'regressor_width=16',
                   'ridge=macs,params,layers', 'structure=macs,depth')
       for x in ('--set', s)]


def accuracy(code):
    """In this family the small ones are best."""
    return 92 - 4 * code.count('conv_3x3') - 2 * code.count('conv_1x1') + \
        code.count('pool')


def prepare(t):
    codes = t.good('zoo', 'sample', 'nb101', '-n', CELLS, '--seed', 2)
    codes = sorted(set(codes.out.decode().splitlines()))
    t.path('labels.csv', table([['code', 'accuracy'], *(
        (c, 80 + 2 * c.count('conv3x3') - c.count('maxpool'))
        for c in codes)]))
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '--form', 'fused',
           '-o', t.set)
    t.good('train', t.set, '--config', 'best', '-o', t.model, '-q',
           '--threads', 1, *SET)
    codes = t.good('zoo', 'sample', 'nb201', '-n', OTHERS + 20, '--seed', 1)
    codes = sorted(set(codes.out.decode().splitlines()))
    t.codes = [c for c in codes if '~0' in c][:OTHERS]
    t.others = t.folder / 'nb201.cgs'
    t.good('zoo', 'pack', 'nb201', '--form', 'fused', '-o', t.others,
           '--labels', t.path('nb201.csv', table(
               [['code', 'accuracy'], *((c, accuracy(c)) for c in t.codes)])))
    t.measured, t.rest = t.codes[::3][:MEASURED], [
        c for i, c in enumerate(t.codes) if i % 3]
    t.table = t.path('measured.csv', table(
        [['family', 'code', 'accuracy'],
         *(('nb201', c, accuracy(c)) for c in t.measured)]))
    t.rest_codes = t.path('rest.csv', table(
        [['code'], *([c] for c in t.rest)]))


def tuned(t):
    """What cgeval says of tuning is what cgtrain finetune comes to."""
    before = {r['member']: r for r in t.judge(t.others)}
    rows = {r['member']: r for r in t.judge(
        t.others, '--finetune', 25, '--seeds', 1, '--seed', 4)
        if r['finetune']}
    t.tally.check(rows['gennape']['srcc'] > before['gennape']['srcc'] + .1,
                  f'tuned {rows["gennape"]}, {before["gennape"]} before')
    for n in NETS: # stay as they are
        t.tally.check(abs(rows[n]['srcc'] - before[n]['srcc']) < .1,
                      f'{n}: {rows[n]}, {before[n]} before')
    ten = t.judge(t.others, '--finetune', 10, '--seeds', 3, '--member',
                  'gennape')
    t.tally.check(len(ten) == 2 and ten[1]['seeds'] == 3 and
                  ten[1]['srcc_sd'] > 0, f'10 samples: {ten}')
    out, again = (t.folder / f'tuned{i}.safetensors' for i in (1, 2))
    args = ('finetune', t.model, t.others, '--samples', 25, '--seed', 4, '-q',
            '-o')
    r = t.good('train', *args, out, '--threads', 1)
    t.good('train', *args, again, '--threads', 2)
    t.tally.check(out.read_bytes() == again.read_bytes(),
                  'tuned by two threads: the bytes of one')
    line = f'{rows["gennape"]["srcc"]:7.4f} {rows["gennape"]["kt"]:7.4f}'
    t.tally.check(line in r.out.decode(), f'{line} is not in {r.out}')
    first, t.model = t.model, out
    kept = {r['member']: r for r in t.judge(t.others)}
    t.model = first
    t.tally.check(kept['gennape']['srcc'] == kept['tuned']['srcc'] >
                  before['gennape']['srcc'], f'kept: {kept}')


def same(t, what, a, b):
    t.tally.check(len(a) == len(b) and all(
        math.isclose(x[k], y[k], rel_tol=1e-3, abs_tol=1e-3)
        for x, y in zip(a, b) for k in ('accuracy', 'score', 'confidence')),
        f'{what}: {a[:2]}, {b[:2]}')


def calibrated(t):
    out = t.folder / 'mine.safetensors'
    codes = ('--codes', 'nb201', t.rest_codes)
    true = [accuracy(c) for c in t.rest]
    before, _ = t.predict(*codes)
    rows, _ = t.predict('--calibrate', t.table, '-o', out, *codes)
    order = srcc([r['score'] for r in rows], true)
    was = srcc([r['score'] for r in before], true)
    t.tally.check(order > max(was + .1, .7),
                  f'SRCC {order} of the rest, {was} before')
    error = sum(abs(r['accuracy'] - a) for r, a in zip(rows, true)) / len(true)
    t.tally.check(error < 2.5, f'error {error}')
    first, t.model = t.model, out
    again, _ = t.predict(*codes)
    one, _ = t.predict('nb201:' + t.rest[5])
    t.model = first
    same(t, 'saved', rows, again)
    same(t, 'alone', rows[5:6], one)
    # fractions, other columns, no network to predict
    fractions = t.path('fractions.csv', table(
        [['accuracy', 'file'], *((accuracy(c) / 100, f'nb201:{c}')
                                 for c in t.measured)]))
    there, _ = t.predict('--calibrate', fractions, *codes)
    same(t, 'fractions', rows, there)
    r = t.good('predict', '--model', t.model, '--calibrate', t.table, '-o',
               t.folder / 'alone.safetensors')
    t.tally.check(not r.out and (t.folder / 'alone.safetensors').exists(),
                  f'no network to predict: {r.out}')


def models(t):
    """ONNX files beside the table, bad rows, and a network nobody measured."""
    folder = t.folder / 'models'
    folder.mkdir()
    for i, code in enumerate(t.measured[:12]):
        t.good('zoo', 'export', 'nb201', code, '--no-weights', '-o',
               folder / f'{i}.onnx')
    rows = [(f'{i}.onnx', accuracy(c))
            for i, c in enumerate(t.measured[:12])]
    good = folder / 'good.csv'
    good.write_text(table([['file', 'accuracy'], *rows]))
    codes = t.path('few.csv', table(
        [['family', 'code', 'accuracy'],
         *(('nb201', c, accuracy(c)) for c in t.measured[:12])]))
    network = 'nb201:' + t.rest[0]
    by_file, _ = t.predict('--calibrate', good, network)
    by_code, _ = t.predict('--calibrate', codes, network)
    same(t, 'files and codes', by_file, by_code)
    bad = folder / 'bad.csv'
    bad.write_text(table([['file', 'accuracy'], *rows, ('none.onnx', 90),
                          ('0.onnx', 'good'), ('1.onnx', ''), ('', 90),
                          ('2.onnx', 101), ('nb201:x', 90)]))
    left, lines = t.predict('--calibrate', bad, network, status=1)
    same(t, 'bad rows', by_file, left)
    t.tally.check(len(lines) == 6 and all(
        any(text in line for line in lines)
        for text in ('none.onnx', "row 14: 'good'", "row 15: ''",
                     'row 16 names no', "row 17: '101'", 'nb201')),
        f'bad rows: {lines}')


def refused(t):
    network = 'nb201:' + t.rest[0]
    some = t.codes[:4]
    tables = {name: t.path(f'{name}.csv', table(rows)) for name, rows in {
        'four': [['file', 'accuracy'], *((f'nb201:{c}', 80) for c in some)],
        'nolabel': [['file', 'y'], ['a.onnx', 80]],
        'nofile': [['code', 'accuracy'], [some[0], 80]],
        'empty': [['file', 'accuracy']]}.items()}
    bare = t.folder / 'bare.safetensors'
    t.good('train', t.set, '--config', 'best', '-o', bare, '-q', '--set',
           'members=encoder', '--set', 'cl_epochs=0', '--set', 'limit=50')
    for model, args, text, status in (
            (t.model, ('--calibrate', tables['four']), '4 measured', 1),
            (t.model, ('--calibrate', tables['empty']), '0 measured', 1),
            (t.model, ('--calibrate', tables['nolabel']), 'column accuracy',
             1),
            (t.model, ('--calibrate', tables['nofile']), 'column file', 1),
            (t.model, ('--calibrate', t.folder / 'no.csv'), 'no.csv', 1),
            (t.model, ('--calibrate', t.table, '-o', '/proc/no'),
             'cannot write', 1),
            (t.model, ('-o', t.folder / 'x'), '--calibrate', 2),
            (bare, ('--calibrate', t.table), 'no trained member', 1)):
        t.bad(text, 'predict', '--model', model, *args, network,
              status=status)
    t.bad('no network given', 'predict', '--model', t.model, '--calibrate',
          t.table, status=2)


def constant(t):
    """Of networks that are all as good the model says just that."""
    same_all = t.path('same.csv', table(
        [['file', 'accuracy'], *((f'nb201:{c}', 91.5) for c in t.measured)]))
    rows, _ = t.predict('--calibrate', same_all, '--codes', 'nb201',
                        t.rest_codes)
    t.tally.check(all(r['accuracy'] == 91.5 and r['score'] == 0
                      for r in rows), f'constant: {rows[:2]}')


def by_steps(t):
    """A model without nets learns by steps, as it did before."""
    first, t.model = t.model, t.folder / 'steps.safetensors'
    t.good('train', t.set, '--config', 'best', '-o', t.model, '-q', '--set',
           'members=kgnn', '--set', 'epochs=1', '--set', f'limit={CELLS}',
           '--set', 'finetune_epochs=3', '--set', 'gnn_width=16')
    codes = ('--codes', 'nb201', t.rest_codes)
    before, _ = t.predict(*codes)
    rows, _ = t.predict('--calibrate', t.table, *codes)
    t.model = first
    true = [accuracy(c) for c in t.rest]
    errors = [sum(abs(r['accuracy'] - a) for r, a in zip(rows_, true))
              for rows_ in (before, rows)]
    t.tally.check(errors[1] < .7 * errors[0], f'by steps: errors {errors}')


def main():
    with tempfile.TemporaryDirectory() as folder:
        t = Learner(sys.argv[1:5], pathlib.Path(folder))
        for part in (prepare, tuned, calibrated, models, refused, constant,
                     by_steps):
            part(t)
    t.tally.done()


main()
