#!/usr/bin/env python3
"""The learner from the command line: every member is trained on networks whose
labels can be learnt, judged and used; training is killed and goes on; bad
files get one sentence.

    learner.py CGZOO CGTRAIN CGEVAL CGPREDICT
"""
import csv
import fcntl
import io
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from learner_lab import (KEYS, MEMBERS, NETWORKS, RANKERS, TESTS, Learner,
                         small_files, srcc, table)
from learner_tune import tuned_for_good, tunes_not

KILLS = 20
MODEL = TESTS.parent / 'models' / 'gennape.safetensors'


# -- training -----------------------------------------------------------------

def make_set(t):
    """Cells, and labels that depend on FLOPs and on what a cell is made of."""
    codes = t.good('zoo', 'sample', 'nb101', '-n', NETWORKS, '--seed', 1)
    codes = sorted(set(codes.out.decode().splitlines()))
    stats = t.good('zoo', 'stats', 'nb101', '--codes',
                   t.path('codes.csv', table([['code'], *zip(codes)])))
    for row in csv.DictReader(io.StringIO(stats.out.decode())):
        ops = row['code'].partition(';')[0].split()
        cost = math.log10(int(row['flops']) / 1e8)
        t.accuracy[row['code']] = round(
            .84 + .05 * cost + .012 * ops.count('conv3x3') -
            .015 * ops.count('maxpool3x3'), 5)
    t.path('labels.csv', table([['code', 'accuracy'], *t.accuracy.items()]))
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '-o', t.set)


def trains(t):
    r = t.train(t.model)
    t.report = r.out
    rows = {line.split('  ')[0]: line.split()[-4:]
            for line in r.out.decode().splitlines()[1:]}
    t.tally.check(len(rows) == len(MEMBERS) + 2, f'report: {sorted(rows)}')
    t.tally.check(not t.model.with_name(t.model.name + '.checkpoint').exists(),
                  'a finished training leaves no checkpoint')


def judged(t):
    rows = {r['member']: r for r in t.judge(t.set, '--held-out')}
    t.tally.check(list(rows) == [*MEMBERS, 'flops', 'params', 'gennape'],
                  f'members judged: {list(rows)}')
    for name, r in rows.items():
        t.tally.check(r['family'] == 'nb101' and r['finetune'] == 0 and
                      r['n'] == len(t.accuracy) // 10, f'{name}: {r}')
        t.tally.check((r['mae'] is None) == (name in RANKERS),
                      f'{name}: mae {r["mae"]}')
        t.tally.check(r['srcc_low'] <= r['srcc'] <= r['srcc_high'] <= 1,
                      f'{name}: {r["srcc"]} not in its interval')
        line = f'{r["srcc"]:7.4f} {r["kt"]:7.4f}'
        t.tally.check(name == 'gennape' or line in t.report.decode(),
                      f'{name}: cgtrain does not report {line}')
    flops = rows['flops']['srcc']
    for name in ('kgnn', 'cl', 'cl_fcm', 'cl_pair', 'cl_fcm_pair'):
        t.tally.check(rows[name]['srcc'] > max(.9, flops),
                      f'{name}: SRCC {rows[name]["srcc"]}, FLOPs {flops}')
    for name, least in (('gcn', .8), ('gin', .8), ('cl_t', .3),
                        ('cl_fcm_t', .3), ('gennape', .8)):
        t.tally.check(rows[name]['srcc'] > least,
                      f'{name}: SRCC {rows[name]["srcc"]}')
    t.tally.check(rows['kgnn']['mae'] < 2, f'MAE {rows["kgnn"]["mae"]}')


def judged_in_parts(t):
    everyone = t.judge(t.set)
    source = ('--family', 'nb101', '--labels', t.labels)
    t.tally.check(t.judge(*source) == everyone, 'a table is its packed set')
    one = t.judge(*source, '--member', 'cl_t')
    t.tally.check(one == [r for r in everyone if r['member'] == 'cl_t'],
                  '--member')
    some = t.judge(*source, '--without', 'conv3x3', '--member', 'flops')
    n = sum('conv3x3' not in code for code in t.accuracy)
    t.tally.check(some[0]['n'] == n, f'--without: {some[0]["n"]}, not {n}')
    some = t.judge(t.set, '--without', 'conv3x3', '--member', 'flops')
    t.tally.check(some[0]['n'] == n, '--without, of a set')
    some = t.judge(t.set, '--without', 'conv', '--member', 'flops')
    t.tally.check(some[0]['n'] == len(t.accuracy), 'a part is no word')
    judged_models(t)
    r = t.good('eval', '--model', t.model, t.set, '--finetune', 20, '--seeds',
               2, '--threads', 1)
    t.tally.check(r.out.count(b'GENNAPE') == 2 and b'+-' in r.out,
                  'tables for people')


def judged_models(t):
    """ONNX files are judged as the codes they were made from."""
    folder = t.folder / 'judged'
    folder.mkdir()
    codes = list(t.accuracy)[::40]
    for i, code in enumerate(codes):
        t.good('zoo', 'export', 'nb101', code, '--no-weights', '-o',
               folder / f'{i}.onnx')
    rows = [[i, t.accuracy[code], f'{i}.onnx', code]
            for i, code in enumerate(codes)]
    some = t.path('some.csv', table([['i', 'accuracy', 'file', 'code'],
                                     *rows]))
    a = t.judge('--onnx', folder, '--labels', some)
    b = t.judge('--family', 'nb101', '--labels', some)
    for got, want in zip(a, b, strict=True):
        t.tally.check(got.pop('family') == 'onnx' and want.pop('family') and
                      got == want, f'{got} is not {want}')
    (folder / '3.onnx').unlink()
    opened = TESTS / 'onnx' / 'attention_dynamic' / 'model.onnx'
    (folder / '5.onnx').write_bytes(opened.read_bytes())
    r = t.run('eval', '--model', t.model, '--onnx', folder, '--labels', some,
              '--json', '--member', 'flops')
    t.tally.check(r.status == 1 and len(r.lines()) == 3 and
                  any('5.onnx: its FLOPs are not known' in line
                      for line in r.lines()) and
                  r.json()['n'] == len(codes) - 2,
                  f'one model is missing, one open: {r.lines()}, {r.out}')


def tuned(t):
    def tune(*args):
        rows = t.judge(t.set, '--finetune', 30, '--bootstrap', 0, *args)
        return {r['member']: r for r in rows if r['finetune']}
    both = tune('--seeds', 2)
    one, two = (tune('--seeds', 1, '--seed', s) for s in (1, 2))
    t.tally.check(list(both)[-1] == 'gennape' and len(both) == len(one) == 12,
                  f'tuned: {list(both)}')
    for name, r in both.items():
        t.tally.check(r['n'] == len(t.accuracy) - 30 and r['seeds'] == 2,
                      f'{name}: samples are not judged: {r["n"]}')
        for key in KEYS:
            a, b, mean = one[name][key], two[name][key], r[key]
            if mean is None:
                continue
            # also says that the first tuning left nothing behind
            t.tally.check(math.isclose(mean, (a + b) / 2, rel_tol=1e-7),
                          f'{name}: {key} of two seeds')
            t.tally.check(math.isclose(r[key + '_sd'], abs(a - b) / 2 ** .5,
                                       rel_tol=1e-5, abs_tol=1e-7),
                          f'{name}: {key}_sd')
    t.tally.check(both['gennape']['srcc'] > .8,
                  f'tuned GENNAPE: {both["gennape"]}')


# -- predicting ---------------------------------------------------------------

def predicts(t):
    codes = list(t.accuracy)
    rows, _ = t.predict('--codes', 'nb101', t.labels)
    t.tally.check([r['file'] for r in rows] == ['nb101:' + c for c in codes],
                  'predictions are in the order given')
    order = srcc([r['score'] for r in rows], [t.accuracy[c] for c in codes])
    t.tally.check(order > .8, f'SRCC of scores {order}')
    t.tally.check(all(0 < r['confidence'] <= 1 and 50 < r['accuracy'] <= 100
                      for r in rows), 'confidence and accuracy are in range')
    # so few that each is judged by itself
    few, _ = t.predict(*('nb101:' + c for c in codes[:10]))
    alone, _ = t.predict('nb101:' + codes[7])
    # sums of a batch are taken in another order than those of one network
    t.tally.check(len(alone) == 1 and alone[0]['file'] == few[7]['file'] and
                  all(math.isclose(alone[0][k], few[7][k], abs_tol=1e-4)
                      for k in ('accuracy', 'score', 'confidence')),
                  f'alone {alone}, with others {few[7]}')
    t.tally.check(all(math.isclose(a[k], b[k], abs_tol=1e-4)
                      for a, b in zip(few, rows)
                      for k in ('accuracy', 'confidence')),
                  f'few {few}, many {rows[:10]}')
    folder = t.folder / 'models'
    folder.mkdir()
    t.good('zoo', 'export', 'nb101', codes[7], '--no-weights', '-o',
           folder / 'a.onnx')
    text = t.good('zoo', 'show', 'nb101', codes[9], '--format', 'cg')
    (folder / 'b.cg').write_bytes(text.out)
    some, _ = t.predict(folder)
    for got, want in zip(some, (few[7], few[9]), strict=True):
        for key in ('accuracy', 'score', 'confidence'):
            t.tally.check(math.isclose(got[key], want[key], rel_tol=1e-4),
                          f'{got} is not {want}')
    compared, _ = t.predict('--compare', folder)
    t.tally.check(set(compared[0]['members']) ==
                  {*MEMBERS, 'flops', 'params'}, f'{compared[0]}')
    r = t.good('predict', '--model', t.model, '--codes', 'nb101', t.labels)
    scores = [float(line.split()[-2]) for line in r.out.splitlines()[1:]]
    t.tally.check(scores == sorted(scores, reverse=True) and
                  len(scores) == len(codes), 'the table is sorted')


def predicts_on(t):
    rows, errors = t.predict('nb101:;0-1', 'nb101:;0-9', 'nb99:x',
                             t.folder / 'absent.onnx', 'nb101:;0-1', status=1)
    t.tally.check(len(rows) == 2 and len(errors) == 3, f'{rows}, {errors}')
    for part, line in zip((';0-9', 'nb99', 'absent.onnx'), errors):
        t.tally.check(part in line, f'{line}: expected {part}')
    out = t.folder / 'out.npy'
    t.predict('nb101:;0-1', 'nb101:conv3x3;0-1 1-2', '--embedding', out)
    data = out.read_bytes()
    length, = struct.unpack('<H', data[8:10])
    t.tally.check(data[:8] == b'\x93NUMPY\1\0' and (10 + length) % 64 == 0 and
                  b"'shape': (2, 16)" in data[:10 + length] and
                  len(data) == 10 + length + 2 * 16 * 4, 'embedding')
    t.bad('absent: cannot open', 'predict', '--model', t.folder / 'absent',
          'nb101:;0-1')
    t.bad('--codes wants', 'predict', '--codes', 'nb101', status=2)


def predicts_families(t):
    """What is said of a code does not depend on the families beside it."""
    mine = ['nb101:;0-1', 'nb101:conv3x3;0-1 1-2', 'nb101:;0-1']
    other = ['nb201:' + '+'.join('|' + '|'.join(f'{op}~{i}' for i in range(n))
                                 + '|' for n in (1, 2, 3))
             for op in ('nor_conv_3x3', 'skip_connect')]
    names = [mine[0], other[0], 'nb101:;0-9', mine[1], other[1], mine[2]]
    rows, errors = t.predict(*names, status=1)
    del names[2]
    t.tally.check(len(errors) == 1 and ';0-9' in errors[0], f'{errors}')
    t.tally.check([r['file'] for r in rows] == names,
                  f'in the order given: {[r["file"] for r in rows]}')
    alone = {r['file']: r for some in (mine, other)
             for r in t.predict(*some)[0]}
    for r in rows:
        want = alone[r['file']]
        t.tally.check(all(math.isclose(r[k], want[k], abs_tol=1e-4)
                          for k in ('accuracy', 'score', 'distance',
                                    'strange')), f'{r}, alone {want}')


def default_model(t):
    """cgeval and cgpredict take the same model where none is given."""
    fused = t.folder / 'default.cgs'
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '--form', 'fused',
           '-o', fused)
    said = [t.good('eval', *model, fused, '--json', '--bootstrap', 0).out
            for model in ((), ('--model', MODEL))]
    t.tally.check(said[0] == said[1] and said[0], f'{said}')
    t.bad('either sets, --family or --onnx', 'eval', status=2)


def devices(t):
    """Which device is taken, and why; what the CPU does not do."""
    one = ('predict', '--model', t.model, 'nb101:;0-1')
    def verbose(*args):
        r = t.good(*args, '--verbose')
        t.tally.check(len(r.lines()) == 1, f'{args}: {r.lines()}')
        return (r.lines() or [''])[0]
    t.tally.check('works on cpu (a GPU pays from 20000 networks on, these are '
                  '1)' in verbose(*one), 'one network is for the CPU')
    t.tally.check('works on cpu (as' in verbose(*one, '--device', 'cpu'),
                  '--device cpu --verbose')
    many = t.path('many.csv', table([['code'], *[[';0-1']] * 20000]))
    line = verbose('predict', '--model', t.model, '--codes', 'nb101', many,
                   '--top', 1)
    t.tally.check('works on cuda' in line or 'works on cpu (cuda: ' in line,
                  f'many networks: {line}')
    plain = t.good(*one)
    t.tally.check(not plain.lines(), f'without --verbose: {plain.lines()}')
    for tool, args in (('predict', ('nb101:;0-1',)), ('eval', (t.set,)),
                       ('train', (t.set, '-o', t.folder / 'no.model'))):
        args = args if tool == 'train' else (*args, '--model', t.model)
        for p in ('tf32', 'bf16'):
            t.bad(f'not in {p}', tool, *args, '--device', 'cpu',
                  '--precision', p)
        t.bad("no precision 'fp8'", tool, *args, '--precision', 'fp8',
              '--device', 'cpu', status=2)
        t.bad("no device 'gpu'", tool, *args, '--device', 'gpu', status=2)
        same = t.run(tool, *args[:1], '--precision', 'float32', '--version')
        t.tally.check(b'gennape' in same.out, f'{tool} --version: {same.out}')


# -- killed, and with other threads -------------------------------------------

def threads(t):
    two = t.folder / 'two.safetensors'
    r = t.good('train', t.set, '--config', t.config, '-o', two, '-q',
               '--threads', 2)
    t.tally.check(two.read_bytes() == t.model.read_bytes(),
                  'two threads give the bytes of one')
    t.tally.check(r.out == t.report, 'two threads give the report of one')


def killed(t):
    """Starts, kills after a random time, goes on; the files must be those of
    the training that nobody killed."""
    rng = random.Random(1)
    start = time.monotonic()
    t.train(t.folder / 'timed.safetensors')
    whole = time.monotonic() - start
    kills = trainings = 0
    while kills < KILLS and trainings < 10:
        out = t.folder / f'killed{trainings}.safetensors'
        trainings += 1
        while not out.exists():
            child = subprocess.Popen(
                [t.tool['train'], t.set, '--config', t.config, '-o', out, '-q',
                 '--threads', '1', '--resume'], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE)
            patience = kills < KILLS
            try:
                child.wait(rng.uniform(0, .4) * whole if patience else None)
            except subprocess.TimeoutExpired:
                kills += 1
                child.kill()
            error = child.stderr.read().decode()
            child.wait()
            if not t.tally.check(not error, f'after a kill: {error}'):
                return
        t.tally.check(out.read_bytes() == t.model.read_bytes(),
                      f'training {trainings}, {kills} kills so far: other '
                      'bytes than undisturbed')
    t.tally.check(kills >= KILLS, f'only {kills} kills')
    left = list(t.folder.glob('killed*.part'))
    t.tally.check(not left, f'left behind: {left}')


def swept(t):
    """What killed programs left of this model goes, but for what is being
    written, and what others call a file."""
    out = t.folder / 'swept.safetensors'
    names = ('.abcdef.part', '.checkpoint.ABC123.part',
             '.checkpoint.zzzzzz.part', '.checkpoint.backup', '.abcdefg.part',
             '.old.part')
    left = [out.with_name(out.name + name) for name in names]
    for path in left:
        path.write_text('x')
    with open(left[2], 'rb') as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        t.train(out)
    t.tally.check([path.exists() for path in left] ==
                  [False, False, True, True, True, True],
                  f'swept: {[p.name for p in left if p.exists()]}')


# -- what can go wrong --------------------------------------------------------

def full_disk(t):
    """A limit on the size of files; Python ignores its signal, and a child
    that keeps that gets an error as from a full disk."""
    out = t.folder / 'full.safetensors'
    r = subprocess.run([t.tool['train'], t.set, '--config', t.config, '-o',
                        out, '-q'], preexec_fn=small_files, check=False,
                       restore_signals=False, capture_output=True, timeout=60)
    t.tally.check(r.returncode == 1 and r.stderr.count(b'\n') == 1 and
                  b'cannot write' in r.stderr, f'full disk: {r}')
    t.tally.check(not list(t.folder.glob('full.*')),
                  f'left behind: {list(t.folder.glob("full.*"))}')


def checkpoints(t):
    """A checkpoint of a training that was stopped by an unwritable trace."""
    out = t.folder / 'stop.safetensors'
    checkpoint = t.folder / 'stop.safetensors.checkpoint'
    again = (t.set, '--config', t.config, '-q', '--threads', 1, '-o', out)
    child = subprocess.Popen([t.tool['train'], *map(str, again)])
    while not checkpoint.exists() and child.poll() is None:
        time.sleep(.001)
    child.kill()
    child.wait()
    data = checkpoint.read_bytes()
    for what, content in (('cut short', data[:len(data) // 2]),
                          ('safetensors', b''), ('safetensors', b'x' * 5000),
                          ('', data[:-9] + b'\xff' + data[-8:])):
        checkpoint.write_bytes(content)
        t.bad(what, 'train', *again, '--resume')
    checkpoint.write_bytes(data)
    t.bad("another 'lr'", 'train', *again, '--set', 'lr=0.5', '--resume',
          status=2)
    rows = [[code, a if i else a + .001]
            for i, (code, a) in enumerate(t.accuracy.items())]
    other = t.folder / 'other.cgs'
    t.good('zoo', 'pack', 'nb101', '-o', other, '--labels', t.path(
        'other.csv', table([['code', 'accuracy'], *rows[:-1]])))
    t.bad('other networks or labels', 'train', other, *again[1:], '--resume')
    checkpoint.write_bytes(t.model.read_bytes())
    t.bad('finished model', 'train', *again, '--resume', status=2)
    checkpoint.unlink()


def labels(t):
    def write(name, change):
        rows = [[c, a] for c, a in t.accuracy.items()]
        change(rows)
        return t.path(name, table([['code', 'accuracy'], *rows]))

    def set_label(value):
        def change(rows):
            rows[5][1] = value
        return change
    cases = (('nan.csv', set_label('nan'), 'row 6'),
             ('text.csv', set_label('good'), 'row 6'),
             ('below.csv', set_label(-.5), 'no accuracy'),
             ('none.csv', lambda rows: [r.__setitem__(1, '') for r in rows],
              'no network with a label'),
             ('empty.csv', lambda rows: rows.clear(), 'no rows'))
    for name, change, text in cases:
        t.bad(text, 'eval', '--model', t.model, '--family', 'nb101',
              '--labels', write(name, change))
    t.bad('row 6', 'zoo', 'pack', 'nb101', '--labels', t.folder / 'nan.csv',
          '-o', t.folder / 'nan.cgs')
    for args in (('eval', '--model', t.model, '--family', 'nb201'),
                 ('zoo', 'pack', 'nb201', '-o', t.folder / 'nb201.cgs')):
        t.bad('has a code of nb201', *args, '--labels', t.labels)
    t.good('zoo', 'pack', 'nb101', '--labels', t.folder / 'none.csv', '-o',
           t.folder / 'none.cgs')
    t.bad('no network with a label', 'train', t.folder / 'none.cgs', '-o',
          t.folder / 'none.safetensors')


def files(t):
    fused = t.folder / 'fused.cgs'
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '--form', 'fused',
           '-o', fused)
    out = t.folder / 'no.safetensors'
    t.bad('form fused', 'train', fused, '--config', t.config, '-o', out)
    t.bad('form fused', 'eval', '--model', t.model, fused)
    for place in ('/proc/no.safetensors', t.labels / 'no.safetensors'):
        t.bad('cannot write', 'train', t.set, '--config', t.config, '-o',
              place)
        t.bad('cannot write', 'predict', '--model', t.model, 'nb101:;0-1',
              '--embedding', place)
    empty = t.path('empty', '')
    half = t.folder / 'half.safetensors'
    half.write_bytes(t.model.read_bytes()[:3000])
    for model, text in ((half, 'cut short'), (empty, 'safetensors'),
                        (t.set, 'safetensors'), (t.folder, ''),
                        (t.folder / 'absent', 'cannot open')):
        t.bad(text, 'eval', '--model', model, t.set)
        t.bad(text, 'predict', '--model', model, 'nb101:;0-1')
    for data in (empty, t.labels, t.model):
        t.bad('not a data set', 'eval', '--model', t.model, data)
        t.bad('not a data set', 'train', data, '-o', out)
    t.bad('no header', 'eval', '--model', t.model, '--family', 'nb101',
          '--labels', empty)
    t.bad("no column 'x'", 'eval', '--model', t.model, '--family', 'nb101',
          '--labels', t.labels, '--label-column', 'x', status=2)
    t.bad('cannot be samples', 'eval', '--model', t.model, t.set, '--finetune',
          len(t.accuracy) - 1, '--member', 'flops', status=2)


def main():
    tools = [pathlib.Path(p).resolve() for p in sys.argv[1:5]]
    with tempfile.TemporaryDirectory() as folder:
        t = Learner(tools, pathlib.Path(folder))
        for part in (make_set, trains, judged, judged_in_parts, tuned,
                     tuned_for_good, tunes_not, predicts, predicts_on,
                     predicts_families, default_model, devices,
                     threads, killed, swept, full_disk, checkpoints, labels,
                     files):
            start = time.monotonic()
            part(t)
            print(f'{part.__name__}: {time.monotonic() - start:.1f} s')
    t.tally.done()


main()
