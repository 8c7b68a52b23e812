#!/usr/bin/env python3
"""The families' networks against rows of exact counts.

    zoo.py CGZOO [VECTORS.csv.gz]

tests/zoo.csv has a few rows of each family. ../shared/vectors.csv.gz, or the
file given, has more: where there is one its rows are checked as well. The
counts are those before simplification.
"""
import csv
import gzip
import io
import pathlib
import sys
import tempfile

from support import ROOT, Run, Tally

COUNTS = ('params', 'macs', 'ops', 'n_nodes', 'n_edges', 'adds_binary',
          'slices', 'params_full', 'macs_full')


def rows(path):
    opened = gzip.open(path, 'rt') if path.suffix == '.gz' else open(path)
    with opened as f:
        return list(csv.DictReader(f))


def stats(tool, family, codes, folder):
    path = folder / 'codes.csv'
    with open(path, 'w', newline='') as f:
        csv.writer(f).writerows([['code'], *[[c] for c in codes]])
    run = Run([tool, 'stats', family, '--codes', path], timeout=300)
    return run, list(csv.DictReader(io.StringIO(run.out.decode())))


def check(tally, tool, table, folder):
    for family in dict.fromkeys(r['family'] for r in table):
        want = [r for r in table if r['family'] == family]
        run, got = stats(tool, family, [r['code'] for r in want], folder)
        tally.check(run.status == 0, f'{family}: {run.why()}')
        got = {r['code']: r for r in got}
        for r in want:
            line = got.get(r['code'], {})
            for k in COUNTS:
                tally.check(line.get(k) == r[k], f'{family} {r["code"]}: {k} '
                            f'is {line.get(k)}, not {r[k]}')
            if r.get('hash'):
                tally.check(line.get('hash') == r['hash'],
                            f'{family} {r["code"]}: another hash')


def commands(tally, tool):
    """The program around the numbers."""
    def run(*args):
        return Run([tool, *args], timeout=120)

    def refused(status, text, *args):
        r = run(*args)
        tally.check(r.status == status and text in r.why() and not r.out,
                    f'{" ".join(args)}: {r.status}, {r.why()}')

    families = [line for line in run('list').out.decode().splitlines()
                if not line.startswith(' ')]
    tally.check(len(families) == 9, f'list has {families}')
    for family in families:
        codes = run('sample', family, '-n', '20', '--seed', '3').out
        tally.check(codes == run('sample', family, '-n', '20', '--seed',
                                 '3').out != run('sample', family, '-n', '20',
                                                 '--seed', '4').out,
                    f'{family}: a seed is a sample')
        first = codes.decode().splitlines()[0]
        mutants = run('mutate', family, first, '-n', '10').out.decode().split(
            '\n')[:-1]
        tally.check(len(mutants) == 10 and
                    run('stats', family, *mutants).status == 0,
                    f'{family}: ten mutants are networks')
        refused(1, 'position ', 'show', family, first + '!')
    refused(2, 'nb101, nb201', 'sample', 'resnet')
    refused(2, 'ofa_mbv3: option width: expected', 'sample',
            'ofa_mbv3:width=99')
    refused(2, 'too many codes', 'enumerate', 'ofa_rn')
    refused(2, 'no command', 'dance')
    refused(1, 'does not depend on the input', 'show', 'nb201',
            '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|')
    for family, count in (('nb101', 423624), ('nb201', 15625),
                          ('hiaml', 38416)):
        lines = run('enumerate', family).out.splitlines()[1:]
        keys = {line.split(b',', 1)[0] for line in lines}
        tally.check(len(lines) == len(keys) == count,
                    f'{family}: {len(keys)} keys, not {count}')


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    more = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else \
        ROOT.parent / 'shared' / 'vectors.csv.gz'
    table = rows(ROOT / 'tests' / 'zoo.csv')
    if more.exists():
        table += rows(more)
    else:
        print(f'only tests/zoo.csv: there is no {more}')
    tally = Tally(f'zoo, {len(table)} rows')
    with tempfile.TemporaryDirectory() as folder:
        check(tally, tool, table, pathlib.Path(folder))
    commands(tally, tool)
    tally.done()


main()
