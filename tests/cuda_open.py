#!/usr/bin/env python3
"""What a program says that is asked for a CUDA device and cannot have it: one
sentence, and exit status 1.

    cuda_open.py CGPREDICT [LIBRARY INSTALLED]

LIBRARY: that of the CUDA backend, where it is built; INSTALLED: the folder
that it is installed in. A file that is no driver stands in for one, so that
the next thing is looked for.
"""
import ctypes
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile

from support import ROOT, Run, Tally, skip

MODEL = ROOT / 'examples' / 'mobilenet_v3_small.onnx'


class Lab:
    """A copy of the program in a folder of its own."""

    def __init__(self, program, folder):
        self.tally = Tally('cuda-open')
        self.bin = folder / 'bin'
        self.bin.mkdir()
        self.program = self.bin / program.name
        shutil.copy(program, self.program)

    def refused(self, what, *words):
        """One line, which has one of the words."""
        run = Run([self.program, '--device', 'cuda', MODEL])
        lines = run.lines()
        self.tally.check(
            run.status == 1 and not run.out and len(lines) == 1
            and lines[0].startswith(f'{self.program.name}: cuda: ')
            and any(w in lines[0] for w in words),
            f'{what}: status {run.status}, {run.out[:80]}, {lines}')


def has_driver():
    try:
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    return True


def fake_driver(folder):
    """libcuda.so.1 that is found and opens, but is no driver."""
    maps = pathlib.Path('/proc/self/maps').read_text(encoding='utf-8').split()
    libm = next((p for p in maps if '/libm.so' in p), None)
    if libm is None:
        skip('this Python has no libm.so to stand in for a driver')
    folder.mkdir()
    shutil.copy(libm, folder / 'libcuda.so.1')
    os.environ['LD_LIBRARY_PATH'] = str(folder)


def other_version(lab, library, place, name):
    """A library that was compiled with another file of this name."""
    own = hashlib.sha256((ROOT / name).read_bytes()).hexdigest().encode()
    other = hashlib.sha256(b'another').hexdigest().encode()
    data = library.read_bytes()
    lab.tally.check(own in data, f'{library.name} does not know {name}')
    place.write_bytes(data.replace(own, other))
    lab.refused(f'another {name}', 'different versions')


def with_library(lab, library, installed, folder):
    if not has_driver():
        lab.refused('no driver', 'no NVIDIA driver')
    fake_driver(folder / 'driver')
    if not (installed / library.name).exists():
        lab.refused('no library', 'neither beside')
    place = lab.bin / library.name
    place.write_text('no library', encoding='utf-8')
    lab.refused('damaged library', library.name)
    shutil.copy('/proc/self/exe', place)
    lab.refused('another file', library.name)
    for name in ('base/err.h', 'backend/backend.h', 'backend/kernels.def',
                 'backend/cuda/host.h'):
        other_version(lab, library, place, name)
    shutil.copy(library, place)
    lab.refused('driver that is none', 'driver', 'device', 'initialization')
    place.rename(folder / place.name)  # as in the build tree
    lab.refused('library above', 'driver', 'device', 'initialization')


def main():
    program, *library = map(pathlib.Path, sys.argv[1:])
    if pathlib.Path('/dev/nvidiactl').exists():
        skip('there is an NVIDIA device')
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lab = Lab(program, folder)
        if library:
            with_library(lab, *library, folder)
        else:
            lab.refused('stub', 'built without CUDA')
        lab.tally.done()


if __name__ == '__main__':
    main()
