#!/usr/bin/env python3
"""cgpredict as a person uses it: why, the best few, one network as a card, many
judged together, CSV, and what cannot be asked.

    explain.py CGZOO CGTRAIN CGEVAL CGPREDICT
"""
import csv
import io
import json
import math
import pathlib
import re
import sys
import tempfile

from learner_lab import Learner, srcc, table

# net1 has seen the largest family alone and speaks of no other
OPTIONS = ['--config', 'best', '--set', 'members=net1,net3,ridge', '--set',
           'structure=macs,depth', '--set', 'ridge=macs,layers', '--set',
           'limit=0', '--set', 'epochs=3', '--set', 'warmup=5', '--set',
           'batch=32', '--set', 'gnn_width=16', '--set', 'embed_width=16']
MANY = 20  # are judged together (CG_FAMILY_LEAST)
CELL = 'nb101:conv3x3 maxpool3x3;0-1 1-2 2-3'
STRANGE = 'ofa_mbv3'
UNLIKE = re.compile('unlike anything the model was trained on '
                    r'\(families nb[12]01, nb[12]01\): trust the order, not '
                    'the number')


def codes_of(t, family, n, seed):
    r = t.good('zoo', 'sample', family, '-n', n, '--seed', seed)
    return sorted(set(r.out.decode().splitlines()))


def pack(t, family, form):
    """Networks that are the better the more convolutions they have."""
    codes = codes_of(t, family, 150, 3)
    rows = [[c, round(80 + 2 * c.count('3x3') + c.count('1x1') -
                      c.count('pool'), 3)] for c in codes]
    t.accuracy |= {f'{family}:{c}': a for c, a in rows}
    labels = t.path(f'{family}.csv', table([['code', 'accuracy'], *rows]))
    out = t.folder / f'{family}.{form}.cgs'
    t.good('zoo', 'pack', family, '--labels', labels, '--form', form, '-o',
           out)
    return out


def trains(t):
    sets = [pack(t, family, 'fused') for family in ('nb101', 'nb201')]
    again = t.folder / 'again.safetensors'
    for out, threads in ((t.model, 1), (again, 2)):
        t.good('train', *sets, '-o', out, '-q', '--threads', threads, *OPTIONS)
    t.tally.check(t.model.read_bytes() == again.read_bytes(),
                  'two threads give the bytes of one')


def check_explanation(t, row, known=3):
    why = row['explain']
    members = why['members'].values()
    score = sum(x['weight'] * x['score'] for x in members)
    t.tally.check(math.isclose(score, row['score'], abs_tol=1e-6),
                  f'{row["file"]}: members say {score}, not {row["score"]}')
    t.tally.check(math.isclose(sum(x['weight'] for x in members), 1,
                               abs_tol=1e-6) and
                  math.isclose(sum(x['membership']
                                   for x in why['memberships']), 1,
                               abs_tol=1e-6), f'{why}: sums are not 1')
    said = [x for x in members if x['accuracy'] is not None]
    mean = (sum(x['weight'] * x['accuracy'] for x in said) /
            sum(x['weight'] for x in said))
    t.tally.check(math.isclose(mean, row['accuracy'], rel_tol=1e-6),
                  f'{row["file"]}: accuracy {row["accuracy"]}, members {mean}')
    near = [x['distance'] for x in why['known']]
    t.tally.check(near == sorted(near) and len(near) == known,
                  f'{row["file"]}: nearest {why["known"]}')
    sizes = [abs(x['change']) for x in why['moved']]
    t.tally.check(sizes == sorted(sizes, reverse=True),
                  f'{row["file"]}: moved {why["moved"]}')
    return why


def explains_json(t):
    rows, _ = t.predict('--explain', CELL)
    why = check_explanation(t, rows[0])
    t.tally.check(set(why['members']) == {'net1', 'net3', 'ridge'} and
                  {x['structure'] for x in why['moved']} ==
                  {'macs', 'depth', 'layers'} and
                  {x['family'] for x in why['memberships']} ==
                  {'nb101', 'nb201'}, f'{why}')
    t.tally.check(rows[0]['family'] == 'nb101' and
                  rows[0]['distance'] > 0 and rows[0]['strange'] >= 0,
                  f'{rows[0]}')
    for x in why['known']:
        name = f'{x["family"]}:{x["name"]}'
        t.tally.check(t.accuracy.get(name) == x['accuracy'],
                      f'known network {x}')
    known = why['known'][0]
    again, _ = t.predict('--explain', f'{known["family"]}:{known["name"]}')
    nearest = again[0]['explain']['known'][0]
    # files of few digits: of equals the first, and it may be built the same
    t.tally.check(nearest['distance'] < 1e-4,
                  f'{known} is not the nearest to itself: {nearest}')


def explains_text(t):
    r = t.good('predict', '--model', t.model, '--explain', CELL)
    text = r.out.decode()
    for part in ('network ', 'memberships  nb', 'graph regressor 3',
                 'ridge on structure', 'nearest known networks',
                 'than usual\n', 'left for the graph itself',
                 'layers on the longest path: 20,'):
        t.tally.check(part in text, f'--explain lacks "{part}": {text}')
    folder = [f'nb101:{c}' for c in codes_of(t, 'nb101', 12, 5)]
    r = t.good('predict', '--model', t.model, '--explain', *folder)
    text = r.out.decode()
    best = text.splitlines()[1:11]
    t.tally.check(text.count('left for the graph') == 10,
                  'the ten best are explained')
    at = [text.rindex(line[:48].strip().removeprefix('...'))
          for line in best]
    t.tally.check(at == sorted(at), 'in the order of the table')
    rows, _ = t.predict('--explain', '--top', 3, *folder)
    t.tally.check(len(rows) == 3 and all('explain' in row for row in rows),
                  f'--top 3 --explain: {len(rows)} rows')


def one_network(t):
    text = t.good('predict', '--model', t.model, CELL).out.decode()
    for part in (f'network     {CELL}\n', ' %  as a network of family nb101 '
                 '(CIFAR-10 test accuracy)', 'score ', 'confidence ',
                 'deviations from its average'):
        t.tally.check(part in text, f'a card lacks "{part}": {text}')
    r = t.good('predict', '--model', t.model,
               f'{STRANGE}:{codes_of(t, STRANGE, 1, 1)[0]}')
    t.tally.check(UNLIKE.search(r.out.decode()) and not r.err,
                  f'a strange one: {r.out}, {r.err}')
    r = t.run('predict', '--model', t.model, CELL, 'nb101:x')
    t.tally.check(r.status == 1 and r.out.startswith(b'network  ') and
                  r.out.count(b'\n') == 2, f'one of two: {r.out}')


def verdict(t):
    some = [f'{STRANGE}:{c}' for c in codes_of(t, STRANGE, 2, 1)]
    r = t.good('predict', '--model', t.model, *some, CELL)
    said = r.lines()
    t.tally.check(len(said) == 1 and UNLIKE.search(said[0]) and
                  said[0].startswith('2 of 3 networks are unlike'),
                  f'verdict: {said}')
    for quiet in ('--json', '--csv'):
        r = t.good('predict', '--model', t.model, *some, quiet)
        t.tally.check(not r.err, f'{quiet}: {r.err}')


def many_networks(t):
    codes = codes_of(t, 'nb301', MANY + 5, 2)
    names = [f'nb301:{c}' for c in codes]
    many, _ = t.predict(*names, '--explain')
    few, _ = t.predict(*names[:MANY - 1])
    made_up = [80 + i * 7 % len(codes) / len(codes)
               for i in range(len(codes))]
    rows = t.judge('--family', 'nb301', '--bootstrap', 0, '--labels', t.path(
        'nb301.csv', table([['code', 'accuracy'], *zip(codes, made_up)])))
    ours = srcc([r['score'] for r in many], made_up)
    t.tally.check(math.isclose(ours, rows[-1]['srcc'], rel_tol=1e-6) and
                  rows[-1]['member'] == 'gennape',
                  f'many: SRCC {ours}, cgeval {rows[-1]}')
    alone, _ = t.predict(names[0])
    t.tally.check(math.isclose(alone[0]['score'], few[0]['score'],
                               abs_tol=1e-5) and
                  abs(alone[0]['score'] - many[0]['score']) > 1e-3,
                  f'alone {alone}, of few {few[0]}, of many {many[0]}')
    explained = [r for r in many if 'explain' in r]
    least = min(r['score'] for r in explained)
    t.tally.check(len(explained) == 10 and
                  sum(r['score'] > least for r in many) == 9,
                  'JSON: the ten best are explained')
    for row in explained:
        check_explanation(t, row)


def formats(t):
    names = [f'nb101:{c}' for c in codes_of(t, 'nb101', 9, 7)]
    odd = t.folder / 'a,"b".cg'
    odd.write_bytes(t.good('zoo', 'show', 'nb201', codes_of(
        t, 'nb201', 1, 1)[0], '--format', 'cg').out)
    names.append(str(odd))
    rows, _ = t.predict(*names)
    order = sorted(rows, key=lambda r: -r['score'])
    r = t.good('predict', '--model', t.model, '--csv', '--threads', 1, *names)
    got = list(csv.DictReader(io.StringIO(r.out.decode())))
    t.tally.check([x['file'] for x in got] == [x['file'] for x in order],
                  f'CSV is best first: {r.out}')
    for a, b in zip(got, order):
        t.tally.check(list(a) == ['file', 'accuracy', 'score', 'confidence',
                                  'family', 'distance'] and
                      a['family'] == b['family'] and
                      all(float(a[k]) == b[k] for k in a
                          if k not in ('file', 'family')), f'{a} is not {b}')
    r = t.good('predict', '--model', t.model, '--top', 4, *names)
    scores = [line.split()[-2] for line in r.out.decode().splitlines()[1:]]
    t.tally.check(scores == [f'{x["score"]:.3f}' for x in order[:4]],
                  f'--top: {scores}')
    r = t.good('predict', '--model', t.model, '--top', 2, '--csv', *names)
    t.tally.check(r.out.count(b'\n') == 3, '--top --csv')
    top, _ = t.predict('--top', 4, *names)
    t.tally.check(top == [x for x in rows if x in order[:4]],
                  '--top --json keeps the order given')
    r = t.good('predict', '--model', t.model, '--compare', '--top', 3, *names)
    t.tally.check(r.out.count(b'\n') == 4, '--compare --top')


def plain_models(t):
    """The paper's members: no known structure, but the rest."""
    sets = [pack(t, family, 'folded') for family in ('nb101', 'nb201')]
    t.good('train', *sets, '-o', t.model, '-q', '--threads', 1, '--config',
           t.config, '--set', 'members=kgnn,encoder,cl,cl_pair', '--set',
           'epochs=1', '--set', 'head_epochs=1')
    rows, _ = t.predict('--explain', CELL)
    why = check_explanation(t, rows[0])
    t.tally.check(why['moved'] == [] and
                  math.isclose(why['graph'], rows[0]['score']) and
                  set(why['members']) == {'kgnn', 'cl_pair', 'flops'},
                  f'{why}')
    text = t.good('predict', '--model', t.model, '--explain', CELL).out
    t.tally.check(b'nearest known' in text and b'moved' not in text,
                  f'{text}')
    many = [f'nb201:{c}' for c in codes_of(t, 'nb201', 40, 9)]
    rows, _ = t.predict(*many, '--explain')
    for row in rows:
        if 'explain' in row:
            check_explanation(t, row)


def bad_input(t):
    for args, text in ((['--top', '0'], '--top'), (['--top', 'x'], '--top'),
                       (['--csv', '--json'], '--csv'),
                       (['--csv', '--explain'], '--csv'),
                       (['--csv', '--compare'], '--csv')):
        t.bad(text, 'predict', '--model', t.model, *args, CELL, status=2)


def main():
    tools = [pathlib.Path(p).resolve() for p in sys.argv[1:5]]
    with tempfile.TemporaryDirectory() as folder:
        t = Learner(tools, pathlib.Path(folder))
        t.tally.what = 'explanations'
        for part in (trains, explains_json, explains_text, one_network,
                     verdict, many_networks, formats, plain_models,
                     bad_input):
            part(t)
    t.tally.done()


main()
