#!/usr/bin/env python3
"""One network exported in many ways must give one computation graph.

    invariance.py ONNX2CG [FOLDER]

FOLDER (default: invariance/ beside this file) holds NET/WAY.onnx, made by
invariance/export.py. The hash of the CG with folded BatchNorm must be the
same within NET and differ between any two.
"""
import collections
import json
import pathlib
import sys

from support import Run, Tally, skip


def hashes(tool, paths):
    """path -> statistics; a file without a line is missing."""
    run = Run([tool, '--fold-batchnorm', '--stats', *paths], timeout=300)
    for line in run.lines():
        print(line)
    stats = map(json.loads, run.out.decode().splitlines())
    return {pathlib.Path(s['file']).resolve(): s for s in stats}


def differences(a, b):
    """What two graphs differ in, in one line."""
    keys = [k for k in ('nodes', 'edges', 'params', 'macs', 'flops')
            if a[k] != b[k]]
    parts = [f'{k} {a[k]}/{b[k]}' for k in keys]
    for op in sorted(set(a['ops']) | set(b['ops'])):
        x, y = a['ops'].get(op, 0), b['ops'].get(op, 0)
        if x != y:
            parts.append(f'{op} {x}/{y}')
    return ', '.join(parts) or 'only the hash differs'


def check_net(tally, net, stats):
    """All ways of a net against the hash that most of them have."""
    count = collections.Counter(s['hash'] for s in stats.values())
    common = count.most_common(1)[0][0]
    model = next(w for w, s in stats.items() if s['hash'] == common)
    for way, s in stats.items():
        tally.check(s['hash'] == common, f'{net}: {way} is not {model}: '
                    f'{differences(s, stats[model])}')
    print(f'{net}: {count[common]} of {len(stats)} ways give {common}')
    return set(count)


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else
                          pathlib.Path(__file__).parent / 'invariance')
    paths = sorted(folder.resolve().glob('*/*.onnx'))
    if not paths:
        skip(f'no exports in {folder}; invariance/export.py makes them')
    known = hashes(tool, paths)
    tally = Tally(f'invariance of {len(paths)} exports')
    nets = collections.defaultdict(dict)
    for path in paths:
        if tally.check(path in known, f'{path}: no result'):
            nets[path.parent.name][path.stem] = known[path]
    owner = {}
    for net, stats in nets.items():
        for h in check_net(tally, net, stats):
            tally.check(h not in owner, f'{net} and {owner.get(h)}: the same '
                        f'hash {h}')
            owner[h] = net
    tally.done()


if __name__ == '__main__':
    main()
