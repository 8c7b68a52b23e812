#!/usr/bin/env python3
"""Files of tensors against the Python package `safetensors`: it reads ours, we
read its, and both have the same names, types, shapes and bytes.

usage: safetensors_peer.py TEST_SAFETENSORS
"""
import json
import pathlib
import subprocess
import sys
import tempfile

from support import Tally, need

need('numpy', 'safetensors')
import numpy as np  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

DTYPES = {'float32': 'F32', 'float64': 'F64', 'int32': 'I32', 'int64': 'I64',
          'uint8': 'U8'}
KEY = 'gennape.crc32c'
# the tensors and metadata of tests/test_safetensors.c
OURS = {
    'octets': np.array([0, 1, 2, 254, 255], 'uint8'),
    'gnn.0.weight': np.array([[0, -1.5, 2], [3, 1e30, -1e-30]], 'float32'),
    'doubles': np.array([np.pi, -0.0, 1e300]).reshape(3, 1, 1),
    'empty': np.zeros((0, 4), 'float32'),
    '"quoted" \u00e9\n': np.array([-2**31, 7], 'int32'),
    'scalar': np.array(-2**63 + 1, 'int64'),
    'deep': np.array([0, 1, 2, 254, 255], 'uint8').reshape(
        1, 1, 5, 1, 1, 1, 1, 1),
}
META = {'format': 'gennape', 'empty': '',
        'config': 'lr = 0.1\nlabel_column = "\\xff"\n'}


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True,
                          text=True, timeout=60)


def same(a, b):
    return (a.dtype == b.dtype and a.shape == b.shape
            and a.tobytes() == b.tobytes())


def crc32c(data):
    """Bit by bit, from the definition (RFC 3720)."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def read_ours(tally, program, path):
    r = run(program, 'write', path)
    if not tally.check(r.returncode == 0, f'write: {r.stderr}'):
        return
    with safe_open(path, 'np') as f:
        meta = f.metadata()
        digits = meta.pop(KEY, None)
        tally.check(meta == META, f'metadata {meta}')
        tally.check(set(f.keys()) == set(OURS), f'names {f.keys()}')
        for name, want in OURS.items():
            have = f.get_tensor(name)
            tally.check(same(have, want), f'ours: {name!r} is {have!r}')
    raw = path.read_bytes()
    header = raw[8:8 + int.from_bytes(raw[:8], 'little')]
    names = [k for k in json.loads(header) if k != '__metadata__']
    tally.check(names == list(OURS), f'order of names {names}')
    tally.check(len(header) % 8 == 0, f'header of {len(header)} bytes')
    zeroed = raw.replace(digits.encode(), b'00000000', 1)
    tally.check(f'{crc32c(zeroed):08x}' == digits, f'checksum {digits}')


def describe(name, array):
    shape = ''.join(f'{d},' for d in array.shape)
    return f'{name} {DTYPES[array.dtype.name]} {shape} {array.tobytes().hex()}'


def read_theirs(tally, program, path):
    r = np.random.default_rng(1)
    for k in range(20):
        tensors = {}
        for i in range(int(r.integers(0, 9))):
            shape = tuple(r.integers(0, 5, int(r.integers(0, 5))))
            dtype = r.choice(list(DTYPES))
            tensors[f't{i}'] = np.array(r.normal(0, 100, shape) % 256
                                        ).astype(dtype)
        meta = {'seed': str(k), 'name': 'caf\u00e9 "x"'} if k % 2 else None
        save_file(tensors, path, metadata=meta)
        out = run(program, 'dump', path)
        want = {describe(n, a) for n, a in tensors.items()}
        want |= {f'# {a}={b}' for a, b in (meta or {}).items()}
        tally.check(out.returncode == 0 and set(out.stdout.splitlines()) ==
                    want, f'theirs, file {k}: {out.stderr or out.stdout}')


def refused(tally, program, path):
    def check(what, *wanted):
        out = run(program, 'dump', path)
        tally.check(out.returncode == 1 and out.stdout == ''
                    and all(w in out.stderr for w in (str(path), *wanted)),
                    f'{what}: {out.stderr or out.stdout}')

    save_file({'half': np.zeros(3, 'float16')}, path)
    check('half precision', "tensor 'half'", "'F16'")
    # written anew by the package, with our checksum carried along
    save_file({'a': np.zeros(3, 'float32')}, path,
              metadata={KEY: '00000000'})
    check('stale checksum', 'checksum is wrong')


def main():
    tally = Tally('safetensors')
    program = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 't.safetensors'
        read_ours(tally, program, path)
        read_theirs(tally, program, path)
        refused(tally, program, path)
    tally.done()


if __name__ == '__main__':
    main()
