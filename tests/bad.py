#!/usr/bin/env python3
"""Malformed and hostile files: one sentence, quickly, in little memory.

    bad.py ONNX2CG [MODELS/bad]

Files are made here, byte by byte, so that no library has to agree. What is no
model must give exit 1, nothing on stdout and exactly one line on stderr that
names the file; what is legal but odd must be read. Each within a second and
256 MB. A folder with MANIFEST.csv (default: ../shared/models/bad beside the
project, if it is there) is checked by its column `expect` likewise.
"""
import csv
import pathlib
import sys
import tempfile

from support import ROOT, Run, Tally
from wire import (DOUBLE, FLOAT, INT64, attr, field, graph, info, model, node,
                  tensor, varint)

SECONDS, MEGABYTES = 1.0, 256

X = info('x', [2, 3])
Y = info('y', [2, 3])
RELU = node('Relu', ['x'], ['y'])
GOOD = model(graph([RELU], [X], [Y]))


def chain(n):
    nodes = [node('Relu', [f't{k}'], [f't{k + 1}']) for k in range(n)]
    return model(graph(nodes, [info('t0', [1])], [info(f't{n}', [1])]))


def nested_if(depth):
    """If in If in If: a message inside a message, three levels each."""
    body = graph([node('Relu', ['x'], ['b'])], [], [info('b', [2, 3])])
    for _ in range(depth):
        n = node('If', ['c'], ['b'], attr('then_branch', g=body),
                 attr('else_branch', g=graph([node('Neg', ['x'], ['b'])], [],
                                             [info('b', [2, 3])])))
        body = graph([n], [], [info('b', [2, 3])])
    top = field(1, node('If', ['c'], ['y'], attr('then_branch', g=body),
                        attr('else_branch', g=body)))
    return model(top + field(11, info('c', [], dtype=9)) + field(11, X)
                 + field(12, Y))


def nested_groups(depth):
    """Length-delimited fields of nothing but nesting, in place of a graph."""
    data = b''
    for _ in range(depth):
        data = field(1, field(5, field(6, data)))
    return model(data)


def functions(levels, recursive):
    """Each level calls the one below twice; or the lowest the highest."""
    def function(k, callee):
        call = [node(callee, ['a'], ['t'], domain='f'),
                node(callee, ['t'], ['b'], domain='f')]
        return field(25, field(1, f'f{k}') + field(4, 'a') + field(5, 'b')
                     + b''.join(field(7, c) for c in call)
                     + field(9, field(1, 'f') + field(2, 1))
                     + field(9, field(2, 17)) + field(10, 'f'))
    last = field(25, field(1, 'f0') + field(4, 'a') + field(5, 'b')
                 + field(7, node('Relu', ['a'], ['b']))
                 + field(9, field(2, 17)) + field(10, 'f'))
    if recursive:
        last = function(0, f'f{levels - 1}')
    call = node(f'f{levels - 1}', ['x'], ['y'], domain='f')
    return (model(graph([call], [X], [Y])) + field(8, field(1, 'f')
            + field(2, 1)) + last
            + b''.join(function(k, f'f{k - 1}') for k in range(1, levels)))


def one(op, ins, shapes, *attributes, **constants):
    """A model of one node; constants are int64 initializers."""
    inputs = [info(n, s) for n, s in shapes.items()]
    inits = [tensor(n, [len(v)], INT64, v) for n, v in constants.items()]
    return model(graph([node(op, ins, ['y'], *attributes)], inputs,
                       [info('y', None)], inits))


def external(location):
    entry = field(1, 'location') + field(2, location)
    t = (field(1, 4) + field(2, INT64) + field(8, 's') + field(13, entry)
         + field(14, 1))
    return model(graph([node('Reshape', ['x', 's'], ['y'])], [X],
                       [info('y', None)]) + field(5, t))


ERRORS = {
    'empty': b'',
    'text': b'this is a text file\n' * 40,
    'json': b'{"ir_version": 8, "graph": {"node": []}}\n',
    'png': b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' + bytes(200),
    'zeros': bytes(4096),
    'ones': b'\xff' * 4096,
    'gzip': b'\x1f\x8b\x08\0\0\0\0\0\0\x03' + b'\x4b\x4c\x4a' * 30,
    'no_graph': field(1, 8) + field(8, field(2, 17)),
    'truncated_half': GOOD[:len(GOOD) // 2],
    'truncated_byte': GOOD[:-1],
    'truncated_tag': GOOD + b'\xba',
    'huge_length': field(1, 8) + b'\x3a' + varint(1 << 62) + b'abc',
    'length_past_end': field(1, 8) + b'\x3a' + varint(1000) + b'abc',
    'endless_varint': field(1, 8) + b'\x38' + b'\xff' * 64,
    'graph_is_varint': field(1, 8) + field(7, 5),
    'name_is_fixed32': model(field(1, b'\x1d\0\0\0\0') + graph([], [X], [Y])),
    'field_number_zero': b'\x02\x01a' + GOOD,
    'wire_type_seven': b'\x0f' + GOOD,
    'group_without_end': b'\x0b' + GOOD,
    'cycle': model(graph([node('Add', ['x', 'b'], ['a']),
                          node('Relu', ['a'], ['b']),
                          node('Relu', ['b'], ['y'])], [X], [Y])),
    'self_cycle': model(graph([node('Add', ['x', 'y'], ['y'])], [X], [Y])),
    'undefined_input': model(graph([node('Relu', ['nowhere'], ['y'])],
                                   [X], [Y])),
    'undefined_output': model(graph([node('Relu', ['x'], ['z'])], [X], [Y])),
    'duplicate_output': model(graph([RELU, node('Neg', ['x'], ['y'])],
                                    [X], [Y])),
    'output_is_input': model(graph([node('Relu', ['x'], ['x']), RELU],
                                   [X], [Y])),
    'dims_negative': model(graph([node('Add', ['x', 'w'], ['y'])], [X], [Y],
                                 [tensor('w', [-3], FLOAT)])),
    'data_too_short': model(graph([node('Reshape', ['x', 's'], ['y'])], [X],
                                  [info('y', None)],
                                  [tensor('s', [9], INT64, [6])])),
    'dtype_99': model(graph([node('Add', ['x', 'w'], ['y'])], [X], [Y],
                            [tensor('w', [2, 3], 99)])),
    'add_mismatch': one('Add', ['x', 'z'], {'x': [2, 3], 'z': [2, 4]}),
    'matmul_mismatch': one('MatMul', ['x', 'z'], {'x': [2, 3], 'z': [4, 5]}),
    'concat_mismatch': one('Concat', ['x', 'z'],
                           {'x': [8, 8], 'z': [9, 8]}, attr('axis', i=1)),
    'concat_no_axis': one('Concat', ['x', 'x'], {'x': [8, 8]}),
    'axis_out_of_range': one('Softmax', ['x'], {'x': [2, 3]},
                             attr('axis', i=9)),
    'reshape_count': one('Reshape', ['x', 's'], {'x': [2, 3]}, s=[4, 4]),
    'reshape_two_minus1': one('Reshape', ['x', 's'], {'x': [2, 3]},
                              s=[-1, -1]),
    'transpose_perm': one('Transpose', ['x'], {'x': [2, 3]},
                          attr('perm', ints=[0, 0])),
    'conv_stride_zero': one('Conv', ['x', 'w'],
                            {'x': [1, 2, 8, 8], 'w': [4, 2, 3, 3]},
                            attr('strides', ints=[0, 1])),
    'conv_stride_min': one('Conv', ['x', 'w'],
                           {'x': [1, 2, 8, 8], 'w': [4, 2, 3, 3]},
                           attr('strides', ints=[-(1 << 63), 1])),
    'conv_dilation_huge': one('Conv', ['x', 'w'],
                              {'x': [1, 2, 8, 8], 'w': [4, 2, 3, 3]},
                              attr('dilations', ints=[(1 << 63) - 1] * 2)),
    'conv_group': one('Conv', ['x', 'w'],
                      {'x': [1, 4, 8, 8], 'w': [6, 1, 3, 3]},
                      attr('group', i=3)),
    'conv_group_zero': one('Conv', ['x', 'w'],
                           {'x': [1, 4, 8, 8], 'w': [6, 1, 3, 3]},
                           attr('group', i=0)),
    'conv_kernel_too_large': one('Conv', ['x', 'w'],
                                 {'x': [1, 2, 5, 5], 'w': [4, 2, 9, 9]}),
    'conv_scalar_weight': one('Conv', ['x', 'w'],
                              {'x': [1, 2, 5, 5], 'w': []}),
    'conv_strides_string': one('Conv', ['x', 'w'],
                               {'x': [1, 2, 5, 5], 'w': [4, 2, 3, 3]},
                               attr('strides', s='two')),
    'split_sum': one('Split', ['x', 's'], {'x': [8]}, s=[3, 3]),
    'split_negative': one('Split', ['x', 's'], {'x': [8]}, s=[-8]),
    'gather_index': model(graph([node('Shape', ['x'], ['s']),
                                 node('Gather', ['s', 'k'], ['g']),
                                 node('ConstantOfShape', ['g'], ['y'])],
                                [X], [info('y', None)],
                                [tensor('k', [1], INT64, [7])])),
    'mod_zero': model(graph([node('Shape', ['x'], ['s']),
                             node('Mod', ['s', 'k'], ['g']),
                             node('ConstantOfShape', ['g'], ['y'])],
                            [X], [info('y', None)],
                            [tensor('k', [1], INT64, [0])])),
    'div_min_by_minus1': model(graph([node('Div', ['m', 'k'], ['g']),
                                      node('Reshape', ['x', 'g'], ['y'])],
                                     [X], [info('y', None)],
                                     [tensor('m', [1], INT64, [-(1 << 63)]),
                                      tensor('k', [1], INT64, [-1])])),
    'expand_mismatch': one('Expand', ['x', 's'], {'x': [2, 3]}, s=[2, 4]),
    'pad_negative': one('Pad', ['x', 's'], {'x': [2, 3]}, s=[-5, 0, 0, 0]),
    'range_step_zero': model(graph([node('Range', ['a', 'b', 'c'], ['y'])],
                                   [], [info('y', None, dtype=INT64)],
                                   [tensor('a', [], INT64, [0]),
                                    tensor('b', [], INT64, [5]),
                                    tensor('c', [], INT64, [0])])),
    'function_recursive': functions(3, True),
    'loop_body_inputs': model(graph(
        [node('Loop', ['m', '', 'x'], ['y'],
              attr('body', g=graph([node('Relu', ['a'], ['b'])],
                                   [info('a', [2, 3])],
                                   [info('b', [2, 3])])))],
        [info('m', [], dtype=INT64), X], [Y])),
    'nested_messages_90000': nested_groups(30000),
}

# Either answer is right, but only quickly, and without a signal.
EITHER = {
    'node_is_varint': model(field(1, 5)),
    'dims_overflow': model(graph([RELU], [info('x', [1 << 62, 1 << 62])],
                                 [Y], [tensor('w', [1 << 40] * 3, FLOAT)])),
    'dims_rank_1000': model(graph([node('Add', ['x', 'w'], ['y'])], [X], [Y],
                                  [tensor('w', [1] * 1000, FLOAT)])),
    'tile_huge': one('Tile', ['x', 's'], {'x': [2, 3]},
                     s=[1 << 62, 1 << 62]),
    'conv_pads_huge': one('Conv', ['x', 'w'],
                          {'x': [1, 2, 8, 8], 'w': [4, 2, 3, 3]},
                          attr('pads', ints=[(1 << 63) - 1] * 4)),
    'nested_if_3000': nested_if(3000),
    'function_exponential': functions(48, False),
    'function_deep': functions(2, False),
    'external_traversal': external('../../../../etc/passwd'),
    'external_absolute': external('/etc/passwd'),
    'external_missing': external('nothing.bin'),
    'external_nul': external('a\0b'),
    'no_opset': field(1, 8) + field(7, graph([RELU], [X], [Y])),
    'opset_huge': model(graph([RELU], [X], [Y]), opset=(1 << 63) - 1),
    'shape_bomb': one('ConstantOfShape', ['s'], {}, s=[1 << 31, 1 << 31]),
    'range_bomb': model(graph([node('Range', ['a', 'b', 'c'], ['r']),
                               node('Reshape', ['x', 'r'], ['y'])],
                              [X], [info('y', None)],
                              [tensor('a', [], INT64, [0]),
                               tensor('b', [], INT64, [(1 << 63) - 1]),
                               tensor('c', [], INT64, [1])])),
    'name_of_1_mb': model(graph([node('Relu', ['x'], ['y'],
                                      name='n' * (1 << 20))], [X], [Y])),
    'attribute_twice': one('Softmax', ['x'], {'x': [2, 3]},
                           attr('axis', i=0), attr('axis', i=1)),
    'dim_negative_input': one('Relu', ['x'], {'x': [-1, 3]}),
}

LEGAL = {
    'good': GOOD,
    'unknown_fields': field(99, 'x') + b'\x90\x0c\x05' + b'\x95\x0c\0\0\0\0'
    + b'\x91\x0c' + bytes(8) + GOOD,
    'empty_graph': model(graph([], [X], [info('x', [2, 3])])),
    'zero_dim': one('Relu', ['x'], {'x': [0, 3]}),
    'scalar': one('Relu', ['x'], {'x': []}),
    'chain_20000': chain(20000),
    'odd_names': model(graph([node('Relu', ['a"\\\n\t'], ['y'])],
                             [info('a"\\\n\t', [2])], [info('y', [2])])),
    'double': model(graph([RELU], [info('x', [4], dtype=DOUBLE)],
                          [info('y', [4], dtype=DOUBLE)])),
    'nested_if_20': nested_if(20),
    'fan_in_5000': model(graph(
        [node('Neg', ['x'], [f'n{k}']) for k in range(5000)]
        + [node('Sum', [f'n{k}' for k in range(5000)], ['y'])], [X], [Y])),
    'diamonds_200': model(graph(
        [node('Mul', [f't{k}'] * 2, [f't{k + 1}']) for k in range(200)],
        [info('t0', [2])], [info('t200', [2])])),
}


def complaint(run, path, expect):
    """What is wrong with a run, or None."""
    if run.status is None:
        return 'did not end'
    if run.status < 0 or run.status > 2:
        return f'{run.why()} (status {run.status})'
    if run.seconds > SECONDS:
        return f'took {run.seconds:.2f} s'
    if run.memory > MEGABYTES:
        return f'took {run.memory:.0f} MB'
    if expect == 'accept' and run.status != 0:
        return f'refused: {run.why()}'
    if expect == 'error' and run.status == 0:
        return f'accepted: {run.out[:100]!r}'
    if run.status == 2:
        return f'called a usage error: {run.why()}'
    if run.status == 1:
        if run.out:
            return f'error, and stdout has {run.out[:60]!r}'
        lines = run.lines()
        if len(lines) != 1:
            return f'{len(lines)} lines on stderr: {lines[:3]}'
        if path.name not in lines[0]:
            return f'does not name the file: {lines[0]}'
    return None


def check(tally, tool, path, expect):
    for mode in ('--stats', '--shapes'):
        run = Run([tool, mode, path], timeout=10)
        why = complaint(run, path, expect)
        tally.check(why is None, f'{path.name} {mode}: {why}')
    if '-v' in sys.argv and run.lines():
        print(run.lines()[0])


def check_command_line(tally, tool, folder):
    good = folder / 'good.onnx'
    good.write_bytes(GOOD)
    for what, command in {
            'missing file': [folder / 'nothing.onnx'],
            'empty directory': [folder / 'none'],
            'null device': ['/dev/null'],
            'no such output folder': [good, '-o', folder / 'no' / 'a.cg'],
            'full disk': [good, '--format', 'cg', '-o', '/dev/full']}.items():
        (folder / 'none').mkdir(exist_ok=True)
        run = Run([tool, *command], timeout=10)
        tally.check(run.status == 1 and len(run.lines()) == 1,
                    f'{what}: exit {run.status}: {run.lines()[:2]}')
    for option in ('--nonsense', '--format=png', '--input-shape=x',
                   '--jobs=-1', '--dim=N=x'):
        run = Run([tool, option, good], timeout=10)
        tally.check(run.status == 2 and run.err and not run.out,
                    f'{option}: exit {run.status}: {run.lines()[:2]}')
    for option in ('--help', '--version'):
        run = Run([tool, option], timeout=10)
        tally.check(run.status == 0 and run.out and not run.err,
                    f'{option}: exit {run.status}')


def main():
    args = [a for a in sys.argv[1:] if a != '-v']
    tool = pathlib.Path(args[0]).resolve()
    shared = pathlib.Path(args[1]) if len(args) > 1 else \
        ROOT.parent / 'shared' / 'models' / 'bad'
    tally = Tally('bad files')
    with tempfile.TemporaryDirectory() as temp:
        for expect, files in (('error', ERRORS), ('either', EITHER),
                              ('accept', LEGAL)):
            for name, data in files.items():
                path = pathlib.Path(temp) / f'{name}.onnx'
                path.write_bytes(data)
                check(tally, tool, path, expect)
        check_command_line(tally, tool, pathlib.Path(temp))
    manifest = shared / 'MANIFEST.csv'
    if manifest.exists():
        with open(manifest, newline='', encoding='utf-8') as f:
            for row in csv.DictReader(f):
                check(tally, tool, shared / row['file'], row['expect'])
    tally.done()


if __name__ == '__main__':
    main()
