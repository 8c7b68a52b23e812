#!/usr/bin/env python3
"""Data sets from the command line.

    pack.py CGZOO ONNX2CG
"""
import csv
import gzip
import io
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import results
from support import ROOT, Run, Tally


class Pack:
    def __init__(self, cgzoo, onnx2cg, folder):
        self.cgzoo, self.onnx2cg, self.folder = cgzoo, onnx2cg, folder
        self.tally = Tally('pack')

    def path(self, name, content=None):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        if content is not None:
            path.write_bytes(content)
        return path

    def run(self, *args, tool=None):
        return Run([tool or self.cgzoo, *map(str, args)], timeout=120)

    def expect(self, status, text, *args, tool=None):
        """Runs; checks the status and what the last line of stderr says."""
        r = self.run(*args, tool=tool)
        said = r.why() if r.err else ''
        self.tally.check(r.status == status and
                         (text in said if text else not r.err),
                         f'{" ".join(map(str, args))}: {r.status}: {said}')
        return r

    def rows(self, path):
        """Names and labels of a set, by cgzoo info --csv."""
        r = self.run('info', path, '--csv')
        self.tally.check(r.status == 0, f'info {path}: {r.why()}')
        return list(csv.DictReader(io.StringIO(r.out.decode())))

    def info(self, path):
        r = self.run('info', path)
        self.tally.check(r.status == 0, f'info {path}: {r.why()}')
        return r.out.decode()

    def codes(self, family, n):
        return self.run('sample', family, '-n', n).out.decode().split()

    def absent(self, path):
        left = [p.name for p in path.parent.glob(path.name + '*')]
        self.tally.check(not left, f'{path.name}: {left} left behind')


def table(columns, rows):
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return out.getvalue()


def from_tables(p):
    codes = [c for c in p.codes('hiaml', 60)]
    labels = [f'{0.5 + i / 1000:.4f}' for i in range(60)]
    labels[7] = ''
    text = table(['code', 'accuracy', 'seconds'],
                 [(c, x, 2 * i) for i, (c, x) in enumerate(zip(codes,
                                                               labels))])
    plain = p.path('hiaml.csv', text)
    packed = p.path('hiaml.csv.gz', gzip.compress(text.encode()))
    one, two, gz = (p.path(n) for n in ('one.cgs', 'two.cgs', 'gz.cgs'))
    p.expect(0, '', 'pack', 'hiaml', '--labels', plain, '-o', one, '-j', 1)
    p.expect(0, '', 'pack', 'hiaml', '--labels', plain, '-o', two, '-j', 2)
    p.expect(0, '', 'pack', 'hiaml', '--labels', packed, '-o', gz, '-j', 7)
    p.tally.check(one.read_bytes() == two.read_bytes() == gz.read_bytes(),
                  'bytes depend on --jobs or gzip')
    rows = p.rows(one)
    p.tally.check([r['name'] for r in rows] == codes, 'names are the codes')
    p.tally.check([r['accuracy'] for r in rows] != labels and
                  [r['accuracy'] and float(r['accuracy']) for r in rows] ==
                  [x and float(x) for x in labels], 'labels come back')
    text = p.info(one)
    for want in ('family      hiaml', 'form        folded',
                 'networks    60', 'with spectrum'):
        p.tally.check(want in text, f'info does not say: {want}\n{text}')
    p.tally.check(re.search(r'accuracy +59 +0.5 +0.529881 +0.559', text),
                  f'info about the label:\n{text}')
    p.expect(0, '', 'pack', 'hiaml', '--labels', plain, '-o', two, '--form',
             'fused', '--label-column', 'seconds,accuracy', '--limit', 10,
             '--no-spectrum')
    rows = p.rows(two)
    p.tally.check(len(rows) == 10 and list(rows[3]) ==
                  ['name', 'seconds', 'accuracy'] and
                  float(rows[3]['seconds']) == 6, 'chosen labels, in order')
    text = p.info(two)
    p.tally.check('form        fused' in text and '0 with spectrum' in text,
                  f'fused without spectra:\n{text}')
    r = p.run('pack', 'hiaml', '--labels', plain, '-o', '-')
    p.tally.check(r.out == one.read_bytes(), 'standard output has the set')


def code_columns(p):
    path = p.path('nb101.csv', 'ops,edges,test_accuracy\n'
                  'conv3x3,0-1 0-2 1-2,0.91\nconv1x1,0-1 1-2,0.90\n')
    out = p.path('columns.cgs')
    p.expect(0, '', 'pack', 'nb101', '--labels', path, '--code-columns',
             'ops,edges', '-o', out)
    p.tally.check([r['name'] for r in p.rows(out)] ==
                  ['conv3x3;0-1 0-2 1-2', 'conv1x1;0-1 1-2'], 'joined codes')


def bad_tables(p):
    good = 'conv3x3;0-1 1-2'
    out = p.path('bad.cgs')

    def refused(status, text, content, *more, name='bad.csv'):
        path = p.path(name, content)
        p.expect(status, text, 'pack', 'nb101', '--labels', path, '-o', out,
                 *more)
        p.absent(out)

    refused(1, "row 2, column 'accuracy': 'good' is not a number",
            f'code,accuracy\n{good},0.9\n{good},good\n')
    refused(1, "row 1, column 'accuracy': 'inf' is not a number",
            f'code,accuracy\n{good},inf\n')
    refused(1, 'line 3 has 3 fields', f'code,accuracy\n{good},1\n{good},1,2\n')
    refused(1, 'none of its 1 rows has a code of nb101',
            'code,accuracy\nconv9x9;0-1,1\n')
    refused(1, 'has no rows', 'code,accuracy\n')
    refused(1, 'no header line', '')
    refused(1, 'cannot open', None, name='absent.csv')
    refused(2, "no column 'code'", f'cell,accuracy\n{good},1\n')
    refused(2, 'give --label-column', f'code,points\n{good},1\n')
    refused(2, "no column 'minutes'", f'code,points\n{good},1\n',
            '--label-column', 'points,minutes')
    refused(2, 'folded or fused', f'code,accuracy\n{good},1\n', '--form', 'x')
    refused(2, '--jobs', f'code,accuracy\n{good},1\n', '--jobs', '0')
    p.expect(2, '--labels FILE', 'pack', 'nb101', '-o', out)
    p.expect(2, '-o SET', 'pack', 'nb101', '--labels', out)

    path = p.path('some.csv', f'code,accuracy\n{good},1\nconv9x9;0-1,2\n'
                  f';0-1,3\n{good}!,4\n')
    r = p.expect(1, f'left out: 2 of 4 networks; {out} has the other 2',
                 'pack', 'nb101', '--labels', path, '-o', out)
    p.tally.check("code 'conv9x9;0-1': position 1" in r.lines()[0] and
                  len(r.lines()) == 3, f'bad codes are named: {r.lines()}')
    p.tally.check([r['accuracy'] for r in p.rows(out)] == ['1', '3'],
                  'the others are there')


def nothing_left(p):
    path = p.path('good.csv', 'code,accuracy\n;0-1,1\n')
    p.expect(1, 'No such file', 'pack', 'nb101', '--labels', path, '-o',
             p.folder / 'nowhere' / 'a.cgs')
    p.expect(1, 'No space left', 'pack', 'nb101', '--labels', path, '-o',
             '/dev/full')
    # a disk that fills up: as far as the limit on files lets it
    big = p.path('big.csv', 'code,accuracy\n' + ';0-1,1\n' * 3000)
    out = p.path('big.cgs')
    r = subprocess.run(['sh', '-c', 'trap "" XFSZ; ulimit -f 100; exec "$@"',
                        'sh', p.cgzoo, 'pack', 'nb101', '--labels', big, '-o',
                        out], capture_output=True, check=False, timeout=120)
    p.tally.check(r.returncode == 1 and b'cannot write' in r.stderr and
                  r.stderr.count(b'\n') == 1, f'no room: {r.stderr!r}')
    p.absent(out)
    if os.geteuid() != 0:
        shut = p.folder / 'shut'
        shut.mkdir(mode=0o500)
        p.expect(1, 'Permission denied', 'pack', 'nb101', '--labels', path,
                 '-o', shut / 'a.cgs')


CELL = 'conv3x3 maxpool3x3 conv1x1;0-1 0-2 1-4 2-3 3-4'
PLAIN = 'conv3x3;0-1 1-2'


def key_of(p, code):
    """A module hash: of the enumeration, which has each cell once under one of
    its codes; small cells come early."""
    for line in p.run('enumerate', 'nb101').out.decode().splitlines():
        key, _, rest = line.partition(',')
        if rest == code:
            return key
    return None


def nb101_records(p):
    plain = key_of(p, PLAIN)
    p.tally.check(plain is not None, f'{PLAIN} is enumerated')
    # The record says itself what the hash of a cell is: by its refusal.
    path = p.path('probe.tfrecord',
                  results.nb101_record('0' * 32, 108, CELL, .9, .9, 1., 10.))
    out = p.path('records.cgs')
    r = p.run('pack', 'nb101', '--labels', path, '-o', out)
    m = re.search(r'has module hash (\w{32}), not 0{32}', r.err.decode())
    p.tally.check(r.status == 1 and m, f'another hash: {r.why()}')
    p.absent(out)
    cell = m.group(1) if m else ''
    runs = [(plain, 108, PLAIN, .90, .91, 1.0, 100.), # two runs, averaged
            (cell, 108, CELL, .80, .81, .99, 200.),
            (plain, 36, PLAIN, .60, .61, .70, 30.),
            (plain, 108, PLAIN, .92, .95, .98, 140.)]
    good = b''.join(results.nb101_record(*r) for r in runs)
    path = p.path('nasbench_full.tfrecord', good)

    def labels():
        return [(r['name'], *(round(float(r[k]), 9) for k in (
            'test_accuracy', 'validation_accuracy', 'train_accuracy',
            'training_time'))) for r in p.rows(out)]

    p.expect(0, '', 'pack', 'nb101', '--labels', path, '-o', out)
    p.tally.check(labels() == [(PLAIN, .91, .93, .99, 120.),
                               (CELL, .80, .81, .99, 200.)],
                  f'means at the last epoch: {labels()}')
    p.expect(0, '', 'pack', 'nb101', '--labels', path, '--epochs', 36, '-o',
             out)
    p.tally.check(labels() == [(PLAIN, .60, .61, .70, 30.)],
                  f'36 epochs: {labels()}')
    p.expect(0, '', 'pack', 'nb101', '--labels', path, '-o', out,
             '--label-column', 'validation_accuracy')
    p.tally.check(list(p.rows(out)[0]) == ['name', 'validation_accuracy'],
                  'one label of a record')
    out.unlink()
    p.expect(1, 'no results of 12 epochs, but of 108', 'pack', 'nb101',
             '--labels', path, '--epochs', 12, '-o', out)
    p.expect(2, "no label 'loss'", 'pack', 'nb101', '--labels', path, '-o',
             out, '--label-column', 'loss')
    damaged_records(p, good, out)
    odd_records(p, plain, out)


def damaged_records(p, good, out):
    """Cut anywhere but between records, or with a byte changed: refused."""
    ends, at = {0}, 0
    while at < len(good):
        at += 16 + struct.unpack_from('<Q', good, at)[0]
        ends.add(at)
    path = p.path('damaged.tfrecord')
    for n in range(0, len(good), 61):
        path.write_bytes(good[:n])
        if n not in ends:
            p.expect(1, 'cut short', 'pack', 'nb101', '--labels', path, '-o',
                     out)
    for at in [*range(0, 40), *range(40, len(good), 97)]:
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:])
        p.expect(1, 'wrong checksum', 'pack', 'nb101', '--labels', path, '-o',
                 out)
    p.absent(out)
    path.write_bytes(b'')
    p.expect(1, 'has no results', 'pack', 'nb101', '--labels', path, '-o', out)


def odd_records(p, key, out):
    """Right frames around wrong data: named, and the rest is packed."""
    import json
    right = results.nb101_json(key, 108, PLAIN, .9, .9, 1., 10.)

    def broken(i, value):
        return json.dumps([*right[:i], value, *right[i + 1:]])

    cases = [
        ('[]', 'JSON array'), ('{}', 'JSON array'), ('', 'JSON array'),
        (json.dumps(right) + ' x', 'JSON array'),
        (json.dumps(right)[:-3], 'JSON array'),
        (broken(1, '108'), 'JSON array'), (broken(1, -3), 'JSON array'),
        (broken(0, '\ud800'), 'JSON array'),
        (broken(0, 'abc'), '3 digits'),
        (broken(2, '0100'), 'operation'), (broken(2, '01' * 40), 'no matrix'),
        (broken(2, '012000000'), 'no matrix'),
        (broken(2, '010001100'), 'not behind'),
        (broken(2, '010000000'), 'vertex'),
        (broken(3, 'input,conv5x5-bn-relu,output'), 'conv5x5'),
        (broken(3, 'input,conv3x3-bn-relu'), 'end with output'),
        (broken(3, 'conv3x3-bn-relu,output,input'), 'first operation'),
        (broken(4, 'a'), 'base64'), (broken(4, 'ab=c'), 'base64'),
        (broken(4, ''), 'no evaluation'), (broken(4, '/w=='), 'protobuf'),
        (broken(4, 'CgT/////'), 'protobuf'), (broken(4, 'CgIJAA=='),
                                              'protobuf'),
    ]
    path = p.path('odd.tfrecord', results.framed(json.dumps(right).encode()) +
                  b''.join(results.framed(text.encode())
                           for text, _ in cases))
    r = p.expect(1, f'left out: {len(cases)} of', 'pack', 'nb101',
                 '--labels', path, '-o', out)
    said = r.lines()
    p.tally.check(len(said) == len(cases) + 1, f'{len(said)} lines')
    for i, (line, (text, why)) in enumerate(zip(said, cases)):
        p.tally.check(f'record {i + 2}: ' in line and why in line,
                      f'{text[:60]}: {line}')
    p.tally.check(len(p.rows(out)) == 1, 'the good one is packed')
    # what other writers of JSON and base64 do
    text = json.dumps(right).replace('/', '\\/')
    half = right[4][:20] + '\\n' + right[4][20:]
    text = text.replace(right[4].replace('/', '\\/'), half).replace(
        '"input', ' \\u0022input'.replace('\\u0022', '"'))
    path.write_bytes(results.framed(text.encode()))
    p.expect(0, '', 'pack', 'nb101', '--labels', path, '-o', out)


CODE = '|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|' \
    'nor_conv_1x1~1|skip_connect~2|'
OTHER = CODE.replace('none', 'nor_conv_3x3')


def nb201_text(p):
    out = p.path('nb201.cgs')
    text = ('NASBench201API(2/15625 architectures, file=)\n\n'
            '---------- The (    1/15625) 000003-th architecture! ------\n'
            f'arch : {CODE}\n' +
            results.nb201_block(CODE, 200, 93.5) +
            results.nb201_block(CODE, 12, 85.25) + '<' * 40 + '\n' +
            results.nb201_block(OTHER, 12, 86.5, ' & ') +
            results.nb201_block(OTHER, 200, 94.25, ' & '))
    path = p.path('nb201.txt', text)

    def labels(column):
        return [(r['name'], r[column] and round(float(r[column]), 9))
                for r in p.rows(out)]

    p.expect(0, '', 'pack', 'nb201', '--labels', path, '-o', out)
    for column, less in (('cifar10_test', 0), ('cifar10_valid', 3),
                         ('cifar100_valid', 20), ('cifar100_test', 21),
                         ('imagenet16_valid', 40), ('imagenet16_test', 41)):
        want = [(CODE, round(.935 - less / 100, 9)),
                (OTHER, round(.9425 - less / 100, 9))]
        p.tally.check(labels(column) == want,
                      f'{column}: {labels(column)}, not {want}')
    p.tally.check(labels('cifar10_valid_test') == [(CODE, ''), (OTHER, '')],
                  'a figure that is not there')
    gz = p.path('nb201.txt.gz', gzip.compress(text.encode()))
    p.expect(0, '', 'pack', 'nb201', '--labels', gz, '-o', out, '--epochs', 12,
             '--label-column', 'cifar10_test')
    p.tally.check(labels('cifar10_test') == [(CODE, .8525), (OTHER, .865)],
                  f'12 epochs: {labels("cifar10_test")}')
    out.unlink()
    for old, new, why in (
            ('top1 = 93.50%', 'top1 = 193.50%', 'line 11: '),
            ('top1 = 93.50%', 'top1 = x%', 'no percentage'),
            ('top1 = 93.50%]', 'top2 = 93.50%]', "behind 'test'"),
            (CODE + '\n', '\n', 'figures before any code')):
        bad = p.path('bad.txt', text.replace(old, new))
        p.expect(1, why, 'pack', 'nb201', '--labels', bad, '-o', out)
        p.absent(out)
    path.write_text(results.nb201_block('|none~0|', 200, 90.))
    p.expect(1, 'none of its 1 rows has a code of nb201', 'pack', 'nb201',
             '--labels', path, '-o', out)
    path.write_text('nothing\n')
    p.expect(1, 'has no results', 'pack', 'nb201', '--labels', path, '-o', out)


def from_models(p):
    models = p.folder / 'models'
    for name, source in (('a.onnx', 'examples/mobilenet_v3_small.onnx'),
                         ('sub/b.onnx', 'tests/onnx/qdq/model.onnx')):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, models / name)
    out = p.path('models.cgs')
    beside = p.path('models/labels.csv', 'file,test_accuracy\n'
                    'sub/b.onnx,0.5\na.onnx,0.7\n')
    apart = p.path('apart.csv', beside.read_bytes())

    def names():
        return [(r['name'], float(r['test_accuracy'])) for r in p.rows(out)]

    def pack(status, text, *args):
        return p.expect(status, text, '--pack', '-o', out, *args,
                        tool=p.onnx2cg)

    both = [('sub/b.onnx', .5), ('a.onnx', .7)]
    for labels in (beside, apart):
        pack(0, '', models, '--labels', labels, '--jobs', 2)
        p.tally.check(names() == both, f'{labels.name}: {names()}')
    p.tally.check('family      onnx' in p.info(out), 'the family is onnx')
    pack(0, '', models / 'a.onnx', '--labels', apart)
    p.tally.check(names() == both[1:], 'one model')
    other = models / 'c.onnx'
    shutil.copy(models / 'a.onnx', other)
    r = pack(1, 'left out: 1 of', models / 'a.onnx', other,
             '--labels', beside)
    p.tally.check('c.onnx: ' in r.lines()[0] and 'no row' in r.lines()[0],
                  f'a model without label: {r.lines()}')
    other.write_bytes(b'no model')
    bad = p.path('models/bad.csv', 'file,accuracy\nc.onnx,1\nd.onnx,2\n'
                 'a.onnx,3\n')
    r = pack(1, 'left out: 2 of 3', models, '--labels', bad)
    p.tally.check('c.onnx: ' in r.lines()[0] and
                  'd.onnx: cannot open' in r.lines()[1], f'{r.lines()}')
    pack(2, '--pack wants --labels', models)
    pack(2, 'no other format', models, '--labels', bad, '--stats')
    p.expect(2, '--labels goes with --pack', '--labels', bad, models / 'a.onnx',
             tool=p.onnx2cg)
    unknown = ROOT / 'tests' / 'onnx' / 'unknown_operator' / 'model.onnx'
    shutil.copy(unknown, other)
    one = p.path('models/one.csv', 'file,accuracy\nc.onnx,1\na.onnx,3\n')
    pack(0, '', models, '--labels', one)
    r = pack(1, 'left out: 1 of', models, '--labels', one,
             '--strict')
    p.tally.check('Mystery' in r.lines()[0], f'--strict: {r.lines()}')


def damaged_sets(p):
    """A few through the program; tests/test_dataset.c has them all."""
    out = p.path('one.cgs')
    good = out.read_bytes()
    for content, why in ((b'', 'not a data set'), (b'code,accuracy\n',
                                                   'not a data set'),
                         (good[:40], 'cut short'), (good[:-1], 'cut short'),
                         (good + b'\0', 'behind the end'),
                         (good[:-3] + b'?' + good[-2:], 'wrong checksum')):
        path = p.path('damaged.cgs', content)
        r = p.expect(1, why, 'info', path)
        p.tally.check(len(r.lines()) == 1 and not r.out, 'one sentence')
    p.expect(1, 'cannot open', 'info', p.folder / 'absent.cgs')
    p.expect(1, 'is a directory', 'info', p.folder)
    p.expect(2, 'one data set', 'info')


def main():
    tools = [pathlib.Path(a).resolve() for a in sys.argv[1:3]]
    with tempfile.TemporaryDirectory() as folder:
        p = Pack(*tools, pathlib.Path(folder))
        for test in (from_tables, code_columns, bad_tables, nothing_left,
                     nb101_records, nb201_text, from_models, damaged_sets):
            test(p)
    p.tally.done()


if __name__ == '__main__':
    main()
