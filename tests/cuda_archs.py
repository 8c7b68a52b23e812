#!/usr/bin/env python3
"""The GPUs that the library of the CUDA backend was compiled for.

    cuda_archs.py LIBRARY ARCH...

cuobjdump must find machine code of every .cu file for each of the ARCHs, and
PTX for the last, from which a driver makes code for later ones.
"""
import pathlib
import re
import shutil
import sys

from support import ROOT, VENV, Run, Tally, skip


def find_cuobjdump():
    """In the PATH, beside nvcc, or as the Python package has it."""
    nvcc = shutil.which('nvcc')
    places = [pathlib.Path(nvcc).resolve().parent] if nvcc else []
    places += VENV.glob('lib/python3*/site-packages/nvidia/*/bin')
    found = shutil.which('cuobjdump')
    for place in places:
        found = found or shutil.which('cuobjdump', path=place)
    return found or skip('no cuobjdump (Python package nvidia-cuda-cuobjdump)')


def listed(tool, option, library):
    """{(file, architecture)} of `cuobjdump OPTION`."""
    run = Run([tool, option, library])
    if run.status != 0:
        sys.exit(f'cuobjdump {option}: {run.why()}')
    return set(re.findall(r': +(\S+?)\.(?:\d+\.)?(sm_\w+)\.(?:cubin|ptx)',
                          run.out.decode()))


def main():
    if len(sys.argv) < 3:
        skip('built without CUDA')
    library, *archs = sys.argv[1:]
    tool = find_cuobjdump()
    tally = Tally('cuda-archs')
    elf = listed(tool, '--list-elf', library)
    ptx = listed(tool, '--list-ptx', library)
    for source in sorted((ROOT / 'backend' / 'cuda').glob('*.cu')):
        name = source.stem
        for arch in archs:
            tally.check((name, arch) in elf, f'{name}.cu: no code for {arch}')
        tally.check((name, archs[-1]) in ptx,
                    f'{name}.cu: no PTX for {archs[-1]}')
    tally.check({a for _, a in elf} == set(archs), f'code for {sorted(elf)}')
    tally.done()


if __name__ == '__main__':
    main()
