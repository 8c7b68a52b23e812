#!/usr/bin/env python3
"""The pictures of cgeval and cgpredict: SVG that parses and shows the networks
it should, several sets at once, and what can go wrong.

    plots.py CGZOO CGTRAIN CGEVAL CGPREDICT
"""
import math
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET

from learner_lab import Learner, table

SVG = '{http://www.w3.org/2000/svg}'
CELLS, OTHERS, FAR = 520, 120, 3
MOST = 500  # of a family in tsne.svg


class Picture:
    def __init__(self, path):
        self.root = ET.parse(path).getroot()
        self.text = ' '.join(self.root.itertext())
        self.legend = [e.text for e in self.group('legend').iter(SVG + 'text')]

    def group(self, name):
        return next(g for g in self.root.iter(SVG + 'g')
                    if g.get('class') == name)

    def points(self):
        return [(float(e.get('cx')), float(e.get('cy')))
                for e in self.group('points').iter(SVG + 'circle')]

    def scale(self):
        """Pixels of the horizontal axis to values, by the numbers there."""
        axis = next(g for g in self.root.iter(SVG + 'g')
                    if g.get('class') == 'axis')
        at = [(float(e.get('x')), float(e.text))
              for e in axis.iter(SVG + 'text')]
        (x0, v0), (x1, v1) = at[0], at[-1]
        return lambda x: v0 + (x - x0) * (v1 - v0) / (x1 - x0)


def make_sets(t):
    """Cells with accuracies that anyone can tell, a few of them far away; and
    a family half of which has one accuracy, half another."""
    rng = random.Random(1)
    codes = t.good('zoo', 'sample', 'nb101', '-n', 3 * CELLS, '--seed', 1)
    codes = sorted(set(codes.out.decode().splitlines()))[:CELLS]
    t.tally.check(len(codes) == CELLS, f'{len(codes)} distinct cells')
    t.accuracy = {c: round(rng.uniform(85, 95), 3) for c in codes}
    for code in codes[:FAR]:
        t.accuracy[code] = 10
    t.path('labels.csv', table([['code', 'accuracy'], *t.accuracy.items()]))
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '-o', t.set)
    codes = t.good('zoo', 'sample', 'nb201', '-n', OTHERS + 50, '--seed', 1)
    codes = sorted(set(codes.out.decode().splitlines()))[:OTHERS]
    t.other = t.folder / 'other.cgs'
    t.good('zoo', 'pack', 'nb201', '-o', t.other, '--labels', t.path(
        'other.csv', table([['code', 'accuracy'],
                            *((c, 70 + 20 * (i % 2))
                              for i, c in enumerate(codes))])))
    t.train(t.model, '--set', 'epochs=1', '--set', 'head_epochs=1')


def draws(t):
    t.pictures = t.folder / 'new folder'
    t.rows = t.judge(t.set, t.other, '--plot', t.pictures)
    names = {p.name for p in t.pictures.iterdir()}
    members = {r['member'] for r in t.rows if r['mae'] is not None}
    t.tally.check(names == {'accuracy.svg', 'flops.svg', 'tsne.svg',
                            *(f'predicted_{m}.svg' for m in members)},
                  f'pictures: {sorted(names)}')
    t.tally.check({'gennape', 'kgnn', 'cl_fcm_t'} < members, f'{members}')
    for name in names:
        legend = Picture(t.pictures / name).legend
        t.tally.check([x.split(',')[0] for x in legend] == ['nb101', 'nb201'],
                      f'{name}: legend {legend}')


def scatters(t):
    p = Picture(t.pictures / 'predicted_cl.svg')
    t.tally.check('true accuracy, %' in p.text and 'CL: predicted' in p.text,
                  f'texts: {p.text}')
    srcc = {r['family']: r['srcc'] for r in t.rows if r['member'] == 'cl'}
    for family, said in (x.split(', SRCC ') for x in p.legend):
        t.tally.check(math.isclose(float(said), srcc[family], abs_tol=.00501),
                      f'{family}: SRCC {said}, not {srcc[family]}')
    value = p.scale()
    shown = sorted(value(x) for x, _ in p.points())
    true = sorted([a for a in t.accuracy.values() if a != 10] +
                  [70] * (OTHERS // 2) + [90] * (OTHERS // 2))
    t.tally.check(f'{FAR} far away are not shown' in p.text, p.text)
    t.tally.check(len(shown) == len(true) and
                  all(math.isclose(a, b, abs_tol=.05)
                      for a, b in zip(shown, true)),
                  f'{len(shown)} points of {len(true)}, or elsewhere')


def histograms(t):
    p = Picture(t.pictures / 'accuracy.svg')
    t.tally.check(f'{FAR} far away are not shown' in p.text, p.text)
    cells, other = (e.get('d') for e in p.group('steps').iter(SVG + 'path'))
    runs = re.findall(r'M([\d.]+) \d+V([\d.]+)H([\d.]+)V\d+', other)
    value = p.scale()
    t.tally.check(len(runs) == 2 and other.count('M') == 2 and
                  runs[0][1] == runs[1][1], f'two bars alike: {other}')
    for (left, _, right), want in zip(runs, (70, 90)):
        t.tally.check(value(float(left)) - .05 <= want <=
                      value(float(right)) + .05, f'{want} is not in {other}')
    t.tally.check(value(float(cells[1:cells.index(' ')])) > 83.5,
                  f'cells begin at {cells[:20]}')
    p = Picture(t.pictures / 'flops.svg')
    t.tally.check(len(list(p.group('steps').iter(SVG + 'path'))) == 2 and
                  'log10 FLOPs' in p.text, 'FLOPs')


def planes(t):
    p = Picture(t.pictures / 'tsne.svg')
    t.tally.check(len(p.points()) == MOST + OTHERS,
                  f't-SNE shows {len(p.points())}')
    t.tally.check(f'at most {MOST} networks' in p.text, p.text)
    again = t.folder / 'again'
    args = ('--model', t.model, t.set, t.other, '--member', 'cl', '--plot',
            again, '--bootstrap', 0)
    t.good('eval', *args, '--threads', 2)
    t.tally.check(all(x.read_bytes() == (t.pictures / x.name).read_bytes()
                      for x in again.iterdir()) and
                  len(list(again.iterdir())) == 4,
                  'two threads draw what one does')
    t.good('eval', *args, '--seed', 2)
    t.tally.check((again / 'tsne.svg').read_bytes() !=
                  (t.pictures / 'tsne.svg').read_bytes(), 'another seed')


def sets(t):
    """Several sets are judged as each alone; bad ones are left out."""
    alone = t.judge(t.set) + t.judge(t.other)
    t.tally.check(t.rows == alone, 'two sets at once')
    bad = t.path('bad.cgs', 'x' * 500)
    folder = t.folder / 'some'
    r = t.run('eval', '--model', t.model, bad, t.other, t.folder / 'absent',
              '--plot', folder, '--member', 'flops')
    t.tally.check(r.status == 1 and len(r.lines()) == 3 and
                  'bad.cgs' in r.lines()[0] and 'absent' in r.lines()[1] and
                  'left out: 2 of 3 sets' in r.lines()[2] and
                  r.out.startswith(b'nb201') and r.out.count(b'FLOPs') == 1,
                  f'{r.lines()}, {r.out}')
    t.tally.check(Picture(folder / 'tsne.svg').legend == ['nb201'], 'the rest')
    args = ('--member', 'flops', '--held-out')
    n = [r['n'] for r in t.judge(t.set, t.other, *args)]
    t.tally.check(len(n) == 2 and sum(n) == (CELLS + OTHERS) // 10 and
                  min(n) > 0, f'held out: {n}')
    t.bad('bad.cgs', 'eval', '--model', t.model, t.set, bad, '--held-out')
    odd = t.folder / 'a&<b>.cgs'
    shutil.copy(t.other, odd)
    t.judge(t.other, odd, '--member', 'cl', '--plot', folder)
    t.tally.check(Picture(folder / 'flops.svg').legend ==
                  ['other.cgs', 'a&<b>.cgs'], 'sets of one family')


def without_encoder(t):
    model = t.folder / 'kgnn.safetensors'
    folder = t.folder / 'kgnn'
    t.train(model, '--set', 'epochs=1', '--set', 'members=kgnn')
    r = t.good('eval', '--model', model, t.other, '--plot', folder)
    names = sorted(p.name for p in folder.iterdir())
    t.tally.check(len(r.lines()) == 1 and 'no encoder' in r.lines()[0] and
                  names == ['accuracy.svg', 'flops.svg',
                            'predicted_gennape.svg', 'predicted_kgnn.svg'],
                  f'{r.lines()}, {names}')
    model = t.folder / 'pair.safetensors'
    t.train(model, '--set', 'epochs=1', '--set', 'head_epochs=1', '--set',
            'members=encoder,cl_pair')
    t.good('eval', '--model', model, t.other, '--plot', folder)
    p = Picture(folder / 'score_gennape.svg')
    t.tally.check(len(p.points()) == OTHERS and 'score' in p.text,
                  'no member predicts: scores')


def bad_folders(t):
    for place in ('/proc/pictures', t.labels, t.folder / 'no' / 'where'):
        t.bad('cannot ', 'eval', '--model', t.model, t.other, '--plot', place)
    t.bad('one network', 'predict', '--model', t.model, 'nb101:;0-1',
          'nb101:;0-1', '--plot', t.folder / 'two.svg', status=2)
    t.bad('a file', 'predict', '--model', t.model, 'nb101:;0-1', '--plot', '-',
          status=2)


# -- one network --------------------------------------------------------------

def drawings(t):
    code, out = 'conv3x3 maxpool3x3;0-1 0-2 1-3 2-3', t.folder / 'net.svg'
    t.predict('nb101:' + code, '--plot', out)
    picture = ET.parse(out).getroot()
    nodes = [g for g in picture.iter(SVG + 'g') if g.get('class') == 'node']
    text = t.good('zoo', 'show', 'nb101', code, '--format', 'dot').out.decode()
    boxes = re.findall(r'n\d+ \[label="(\w+)', text)
    t.tally.check(len(nodes) == len(boxes) - boxes.count('BatchNorm') > 10,
                  f'{len(nodes)} nodes of {len(boxes)}')
    colours = {next(iter(g.iter(SVG + 'path'))).get('fill') for g in nodes}
    labels = [' '.join(e.text for e in g.iter(SVG + 'text')) for g in nodes]
    t.tally.check(len(colours) >= 4 and 'Conv 3x3 32 x 32 x 128' in labels,
                  f'{colours}, {labels}')
    t.bad('cannot write', 'predict', '--model', t.model, 'nb101:;0-1',
          '--plot', '/proc/net.svg')
    fake = t.folder / 'fake'
    fake.mkdir()
    (fake / 'dot').write_text('#!/bin/sh\necho boom >&2\nexit 3\n')
    (fake / 'dot').chmod(0o755)
    undrawn(t, 'dot failed: boom', fake)


def undrawn(t, text, path):
    """With another PATH; nothing is left behind."""
    out, before = t.folder / 'undrawn.svg', os.environ['PATH']
    os.environ['PATH'] = str(path)
    t.bad(text, 'predict', '--model', t.model, 'nb101:;0-1', '--plot', out)
    os.environ['PATH'] = before
    t.tally.check(not list(t.folder.glob('undrawn*')), 'left behind')


def large(t):
    n = 2001
    chain = ['cg 1', 'graph "chain"', 'input %x0 : f32[1,8]',
             *(f'%x{i + 1} = Sigmoid(%x{i})' for i in range(n)),
             f'output %x{n}']
    t.bad('2001 operators are too many', 'predict', '--model', t.model,
          t.path('chain.cg', '\n'.join(chain) + '\n'), '--plot',
          t.folder / 'chain.svg')


def main():
    tools = [pathlib.Path(p).resolve() for p in sys.argv[1:5]]
    with tempfile.TemporaryDirectory() as folder:
        t = Learner(tools, pathlib.Path(folder))
        for part in (make_sets, draws, scatters, histograms, planes, sets,
                     without_encoder, bad_folders, large):
            part(t)
        undrawn(t, 'dot, which is not installed', t.folder)
        if shutil.which('dot'):
            drawings(t)
        else:
            print('no drawing of a network: graphviz is not installed')
    t.tally.what = 'plots'
    t.tally.done()


main()
