#!/usr/bin/env python3
"""A hundred models in one call, one of them broken.

    batch.py ONNX2CG

The broken one is named, the others are done, and the exit status is 1. The
output must be the same for one job and for two.
"""
import pathlib
import sys
import tempfile

from support import ROOT, Run, Tally

COUNT, BAD = 100, 'model_042.onnx'
PLACES = ('examples', 'tests/onnx', 'tests/invariance')


def fill(folder):
    models = [p for place in PLACES
              for p in sorted((ROOT / place).rglob('*.onnx'))
              if p.stat().st_size < 100_000]
    for k in range(COUNT):
        source = models[k % len(models)]
        (folder / f'model_{k:03}.onnx').write_bytes(source.read_bytes())
    path = folder / BAD
    path.write_bytes(path.read_bytes()[:-7])


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    tally = Tally('batch')
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        (temp / 'in').mkdir()
        fill(temp / 'in')
        outs = []
        for jobs in ('2', '1'):
            out = temp / f'out{jobs}'
            out.mkdir()
            run = Run([tool, '--jobs', jobs, '-o', out, temp / 'in'])
            named = [line for line in run.lines() if BAD in line]
            tally.check(run.status == 1, f'--jobs {jobs}: exit {run.status}')
            tally.check(len(named) == 1,
                        f'--jobs {jobs}: stderr {run.lines()[:3]}')
            outs.append(contents(out))
            tally.check(len(outs[-1]) == COUNT - 1,
                        f'--jobs {jobs}: {len(outs[-1])} files')
        tally.check(outs[0] == outs[1], 'outputs depend on --jobs')
        stats = Run([tool, '--jobs', '2', '--stats', temp / 'in'])
        tally.check(len(stats.out.splitlines()) == COUNT - 1,
                    f'--stats: {len(stats.out.splitlines())} lines')
    tally.done()


if __name__ == '__main__':
    main()
