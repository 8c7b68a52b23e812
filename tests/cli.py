#!/usr/bin/env python3
"""The command line: exit statuses, what goes to which stream, files.

    cli.py ONNX2CG
"""
import json
import pathlib
import subprocess
import sys
import tempfile

from support import ROOT, Tally

MODEL = ROOT / 'examples' / 'mobilenet_v3_small.onnx'
DYNAMIC = ROOT / 'tests' / 'onnx' / 'attention_dynamic' / 'model.onnx'
UNKNOWN = ROOT / 'tests' / 'onnx' / 'unknown_operator' / 'model.onnx'


class Cli:
    def __init__(self, tool):
        self.tool = tool
        self.tally = Tally('command line')

    def run(self, *args, stdin=None):
        return subprocess.run([self.tool, *map(str, args)], timeout=60,
                              capture_output=True, input=stdin, check=False)

    def expect(self, status, *args, out=None, err=None, stdin=None):
        """Checks the status and that texts are in (None: nothing is) the
        streams; gives the run."""
        r = self.run(*args, stdin=stdin)
        what = ' '.join(map(str, args))
        self.tally.check(r.returncode == status,
                         f'{what}: status {r.returncode}: {r.stderr!r}')
        for name, text, stream in (('stdout', out, r.stdout),
                                   ('stderr', err, r.stderr)):
            ok = text.encode() in stream if text else not stream
            self.tally.check(ok, f'{what}: {name} is {stream[:200]!r}')
        return r


def usage(c):
    c.expect(0, '--version', out='onnx2cg (gennape) ')
    c.expect(0, '--help', out='--input-shape')
    c.expect(2, err='no model given')
    c.expect(2, '--nonsense', MODEL, err='--help')
    c.expect(2, '--format', 'xml', MODEL, err='cg, json, dot')
    c.expect(2, '--jobs', '0', MODEL, err='--jobs')
    c.expect(2, '--dim', 'seq', MODEL, err='NAME=N')
    c.expect(2, '--dim', 'seq=-3', MODEL, err="'-3'")
    c.expect(2, '--input-shape', 'input=1,,3', MODEL, err='is not a')
    c.expect(2, '--print-after', 'magic', MODEL, err='simplify')
    c.expect(2, '--format', 'cg', MODEL, DYNAMIC, err='-o DIRECTORY')


def streams(c):
    c.expect(0, MODEL, out='FLOPs')
    c.expect(0, '-', stdin=MODEL.read_bytes(), out='HardSwish')
    c.expect(0, '--time', '--stats', MODEL, out='"hash"', err='simplify')
    c.expect(0, '--print-after=import', MODEL, out='Conv',
             err='%input : f32[1,3,224,224]')
    c.expect(0, UNKNOWN, out='not known', err='my.own::Mystery')
    c.expect(0, '-q', UNKNOWN, out='not known')
    c.expect(1, '--strict', UNKNOWN, err='my.own::Mystery')
    c.expect(1, '--strict', DYNAMIC, err='seq')


def failures(c, folder):
    c.expect(1, folder / 'absent.onnx', err='absent.onnx: cannot open')
    c.expect(1, folder, err='no .onnx file')
    c.expect(1, '-', stdin=b'', err='(stdin)')
    c.expect(1, '-o', folder / 'no' / 'such' / 'x.cg', MODEL, err='x.cg')
    r = c.expect(1, '--stats', folder / 'absent.onnx', MODEL, out='"hash"',
                 err='absent.onnx')
    c.tally.check(r.stdout.count(b'\n') == 1, 'one line of statistics')
    with open('/dev/full', 'wb') as full:
        r = subprocess.run([c.tool, '--stats', MODEL], stdout=full,
                           stderr=subprocess.PIPE, check=False)
    c.tally.check(r.returncode == 1 and b'standard output' in r.stderr,
                  f'a full disk: {r.stderr!r}')


def shapes(c):
    def of(*args):
        return json.loads(c.run('--shapes', *args, DYNAMIC).stdout)
    c.tally.check(of()['input'] == [1, 'seq', 32], 'the batch is 1')
    c.tally.check(of('--dim', 'batch=?')['input'] == ['batch', 'seq', 32],
                  '--dim batch=?')
    c.tally.check(of('--dim', 'seq=7')['output'] == [1, 7, 32], '--dim')
    c.tally.check(of('--dim', '*=5')['output'] == [5, 5, 32], "--dim '*=5'")
    c.tally.check(of('--input-shape', 'input=2,9,32')['output'] == [2, 9, 32],
                  '--input-shape')
    c.tally.check(of('--input-shape', 'input:2x9x32')['output'] == [2, 9, 32],
                  '--input-shape with other signs')
    c.expect(1, '--input-shape', 'nobody=1', DYNAMIC, err='input')
    c.expect(1, '--input-shape', 'input=1,2', DYNAMIC, err='rank')


def files(c, folder):
    graph = folder / 'graph.cg'
    c.expect(0, '-o', graph, '--spectrum', MODEL)
    again = folder / 'again.cg'
    c.expect(0, '-o', again, graph)
    c.tally.check(graph.read_bytes() == again.read_bytes(),
                  'a .cg text that is read and written is the same')
    stats = [json.loads(c.run('--stats', f).stdout) for f in (MODEL, graph)]
    for s in stats:
        del s['file']
    c.tally.check(stats[0] == stats[1], 'a .cg text has the same statistics')
    data = json.loads(c.run('--format', 'json', graph).stdout)
    c.tally.check(len(data['nodes']) == stats[0]['nodes'] and
                  len(data['edges']) == stats[0]['edges'] and
                  len(data['spectrum']) == 21, 'JSON holds the graph')
    c.expect(0, '--format', 'dot', MODEL, out='digraph')
    leftovers = {p.name for p in folder.iterdir()} - {'graph.cg', 'again.cg'}
    c.tally.check(not leftovers, f'left behind: {leftovers}')


def main():
    c = Cli(pathlib.Path(sys.argv[1]).resolve())
    usage(c)
    streams(c)
    shapes(c)
    for part in (failures, files):
        with tempfile.TemporaryDirectory() as folder:
            part(c, pathlib.Path(folder))
    c.tally.done()


main()
