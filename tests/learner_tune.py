"""cgtrain finetune, a part of learner.py: what it prints, what it keeps, what
it refuses."""
import csv
import json
import math
import struct
import subprocess

from learner_lab import MEMBERS, NETWORKS, small_files, srcc, table

ENSEMBLE = ('cl_fcm_t', 'cl_t', 'cl_fcm_pair', 'cl_pair', 'kgnn', 'flops')


def numbers(path):
    """Tensors of one float64, by name."""
    data = path.read_bytes()
    size, = struct.unpack('<Q', data[:8])
    head = json.loads(data[8:8 + size])
    return {name: struct.unpack_from('<d', data, 8 + size +
                                     x['data_offsets'][0])[0]
            for name, x in head.items()
            if name != '__metadata__' and x['dtype'] == 'F64' and
            x['shape'] == [1, 1]}


def other_family(t):
    """Networks of another family; more convolutions of 3x3, more accuracy."""
    codes = t.good('zoo', 'sample', 'nb201', '-n', 120, '--seed', 1)
    codes = sorted(set(codes.out.decode().splitlines()))
    t.others = t.path('nb201.csv', table(
        [['code', 'value'], *((c, 70 + 4 * c.count('3x3') - c.count('none'))
                              for c in codes)]))
    t.other_set = t.folder / 'nb201.cgs'
    t.good('zoo', 'pack', 'nb201', '--labels', t.others, '--label-column',
           'value', '-o', t.other_set)


def tuned_for_good(t):
    other_family(t)
    out, again = (t.folder / f'tuned{i}.safetensors' for i in (1, 2))
    args = ('finetune', t.model, t.other_set, '-q', '--samples', 40, '--seed',
            3, '--set', 'label_column=value', '-o')
    r = t.good('train', *args, out, '--threads', 1)
    t.good('train', *args, again, '--threads', 2)
    t.tally.check(out.read_bytes() == again.read_bytes(),
                  'tuned by two threads: the bytes of one')
    rows = t.judge(t.other_set, '--label-column', 'value', '--finetune', 40,
                   '--seed', 3, '--seeds', 1, '--bootstrap', 0)
    text = r.out.decode()
    for row in rows:
        line = f'{row["srcc"]:7.4f} {row["kt"]:7.4f}'
        t.tally.check(not row['finetune'] or line in text,
                      f'{row["member"]}: cgtrain finetune lacks {line}')
    t.tally.check(len(text.splitlines()) == 2 + len(MEMBERS) + 3, text)
    tuned_scores(t, out)
    # all networks, on top of what was learnt; over the model itself
    r = t.good('train', 'finetune', again, t.other_set, '-o', again, '--set',
               'label_column=value', '--set', 'finetune_epochs=1')
    t.tally.check(again.read_bytes() != out.read_bytes() and
                  r.out.count(b'-\n') == len(MEMBERS) + 3 and
                  len(r.lines()) == 2 * len(MEMBERS),
                  f'all networks: {r.out}, {r.lines()}')


def tuned_scores(t, out):
    """Weights and scales that are kept are those that are used."""
    kept = numbers(out)
    weight = {n: kept.get(f'gennape.weight.{n}', 0) for n in ENSEMBLE}
    t.tally.check(math.isclose(sum(weight.values()), 1, rel_tol=1e-12) and
                  min(weight.values()) > 0 and
                  max(weight.values()) > 1.1 * min(weight.values()),
                  f'weights: {weight}')
    first, t.model = t.model, out
    rows, _ = t.predict('--codes', 'nb201', t.others, '--compare')
    whole = t.judge(t.other_set, '--label-column', 'value', '--member',
                    'gennape')
    t.model = first
    regressors = ('cl_fcm_t', 'cl_t', 'kgnn')
    for r in rows[::10]:
        z = {n: (r['members'][n] - kept[f'{n}.said.mean']) /
             kept[f'{n}.said.sd'] for n in ENSEMBLE if n != 'kgnn'}
        rest = (r['score'] - sum(weight[n] * z[n] for n in z)) / \
            weight['kgnn'] # k-GNN's, the label of which is standardised
        z['kgnn'] = rest
        spread = sum(weight[n] * (z[n] - r['score']) ** 2 for n in z) ** .5
        t.tally.check(math.isclose(r['confidence'], 1 / (1 + spread),
                                   rel_tol=1e-3), f'confidence: {r}, {z}')
        accuracy = (sum(weight[n] * r['members'][n] for n in regressors) /
                    sum(weight[n] for n in regressors))
        t.tally.check(math.isclose(r['accuracy'], accuracy, rel_tol=1e-4),
                      f'accuracy: {r}, by the weights {accuracy}')
    mean = sum(r['score'] for r in rows) / len(rows)
    t.tally.check(abs(mean) < 1e-4, f'the family has the mean score {mean}')
    labels = [float(x['value']) for x in csv.DictReader(t.others.open())]
    order = srcc([r['score'] for r in rows], labels)
    before, _ = t.predict('--codes', 'nb201', t.others)
    was = srcc([r['score'] for r in before], labels)
    t.tally.check(order > was + .1 and whole[0]['srcc'] > was + .1,
                  f'SRCC {order}, {whole[0]["srcc"]} tuned, {was} before')


def tunes_not(t):
    out = t.folder / 'untuned.safetensors'
    to = ('-o', out, '-q')
    own = ('finetune', t.model, t.set, *to)
    fused = t.folder / 'fused.cgs'
    t.good('zoo', 'pack', 'nb101', '--labels', t.labels, '--form', 'fused',
           '-o', fused)
    one, none = (t.folder / f'{name}.cgs' for name in
                 ('one', 'none'))
    code = list(t.accuracy)[0]
    t.good('zoo', 'pack', 'nb101', '-o', one, '--labels',
           t.path('one.csv', table([['code', 'accuracy'], [code, .9]])))
    t.good('zoo', 'pack', 'nb101', '-o', none, '--labels',
           t.path('no.csv', table([['code', 'accuracy'], [code, '']])))
    bare = t.folder / 'bare.safetensors'
    t.train(bare, '--set', 'members=encoder', '--set', 'cl_epochs=0')
    for args, text, status in (
            (('finetune', t.model, fused, *to), 'form fused', 1),
            (('finetune', t.model, one, *to), '1 networks cannot be', 2),
            (('finetune', t.model, none, *to), 'no network with a label', 1),
            (('finetune', bare, t.set, *to), 'no trained member', 1),
            (('finetune', t.set, t.set, *to), 'safetensors', 1),
            (('finetune', t.model, t.model, *to), 'not a data set', 1),
            (('finetune', t.model, *to), 'a model, sets and -o', 2),
            ((*own, '--samples', 1), '--samples wants', 2),
            ((*own, '--samples', NETWORKS + 1), 'cannot be samples', 2),
            ((*own, '--set', 'heads=1'), '--set heads', 2),
            ((*own, '--set', 'head=1'), "no key 'head'", 2),
            ((*own, '--set', 'label_column=x'), "no label 'x'", 2),
            (('finetune', t.model, t.set, '-o', '/proc/no'), 'cannot write',
             1)):
        t.bad(text, 'train', *args, status=status)
    r = subprocess.run([t.tool['train'], *own, '--samples', '3'],
                       preexec_fn=small_files, check=False, timeout=60,
                       restore_signals=False, capture_output=True)
    t.tally.check(r.returncode == 1 and b'cannot write' in r.stderr and
                  not list(t.folder.glob('untuned*')), f'full disk: {r}')
