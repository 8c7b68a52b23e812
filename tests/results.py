"""Small files in the formats that benchmarks publish their results in. The
originals are gigabytes; these have their framing and fields and a few made-up
runs."""
import base64
import json
import struct

TABLE = []
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    TABLE.append(crc)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def framed(data):
    """A TFRecord."""
    length = struct.pack('<Q', len(data))
    return (length + struct.pack('<I', masked(length)) + data +
            struct.pack('<I', masked(data)))


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A field of a protobuf message: double, int or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack('<d', value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def metrics(epochs, test, validation, train, seconds):
    """ModelMetrics: at the beginning, halfway and at the end."""
    out = b''
    for part in (0.0, 0.5, 1.0):
        out += field(1, field(1, epochs * part) + field(2, seconds * part) +
                     field(3, train * part) + field(4, validation * part) +
                     field(5, test * part) + field(6, b'/model.ckpt-1'))
    return out + field(2, 1234567) + field(3, seconds + 1.5)


def nb101_json(key, epochs, code, *values):
    """The JSON of a run of a cell given as our code."""
    names, edges = code.split(';')
    ops = [n + ('-bn-relu' if n.startswith('conv') else '')
           for n in names.split()]
    n = len(ops) + 2
    matrix = [['0'] * n for _ in range(n)]
    for edge in edges.split():
        a, b = edge.split('-')
        matrix[int(a)][int(b)] = '1'
    return [key, epochs, ''.join(map(''.join, matrix)),
            ','.join(['input', *ops, 'output']),
            base64.b64encode(metrics(epochs, *values)).decode()]


def nb101_record(*args):
    return framed(json.dumps(nb101_json(*args)).encode())


def nb201_block(code, epochs, test, joint=', '):
    """What the package prints of one architecture; test: in percent."""
    def figure(name, top1):
        return f'{name} : [loss = 0.123{joint}top1 = {top1:.2f}%]'

    lines = ['>' * 40 + f' {epochs:3d} epochs ' + '>' * 40, code,
             "datasets : ['cifar10-valid', 'cifar10', 'cifar100', "
             "'ImageNet16-120'], extra-info : arch-index=3"]
    for name, sets in (('cifar10-valid', [('valid', test - 3)]),
                       ('cifar10', [('test ', test)]),
                       ('cifar100', [('valid', test - 20),
                                     ('test', test - 21)]),
                       ('ImageNet16-120', [('valid', test - 40),
                                           ('test', test - 41)])):
        lines.append(f'{name:14s} FLOP=184.73 M, Params=1.289 MB, '
                     'latency=19.72 ms.')
        lines.append(f'{name:14s} ' + ', '.join(
            figure(k, v) for k, v in [('train', 99.99), *sets]))
    return '\n'.join(lines) + '\n'
