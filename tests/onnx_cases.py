#!/usr/bin/env python3
"""Imports of small ONNX files, against the graphs written beside them.

    onnx_cases.py ONNX2CG [--update] [NAME]...

Each folder of tests/onnx holds model.onnx, the expected graph.cg, and perhaps
`options`, a line of options. --update writes graph.cg anew; look at the diff
before you commit it.
"""
import difflib
import pathlib
import sys

from support import ROOT, Run, Tally

CASES = ROOT / 'tests' / 'onnx'


def options(folder):
    path = folder / 'options'
    return path.read_text().split() if path.exists() else []


def check(tally, tool, folder, update):
    run = Run([tool, '--format', 'cg', *options(folder),
               folder / 'model.onnx'])
    if not tally.check(run.status == 0, f'{folder.name}: {run.why()}'):
        return
    expected = folder / 'graph.cg'
    if update:
        expected.write_bytes(run.out)
        return
    want = expected.read_text().splitlines() if expected.exists() else []
    got = run.out.decode().splitlines()
    if not tally.check(want == got, f'{folder.name}: another graph'):
        for line in difflib.unified_diff(want, got, 'graph.cg', 'onnx2cg',
                                         lineterm='', n=1):
            print('   ', line)


def main():
    args = sys.argv[1:]
    update = '--update' in args
    tool, *names = [a for a in args if a != '--update']
    tally = Tally('ONNX cases')
    for folder in sorted(p.parent for p in CASES.glob('*/model.onnx')):
        if not names or folder.name in names:
            check(tally, pathlib.Path(tool).resolve(), folder, update)
    tally.done()


if __name__ == '__main__':
    main()
