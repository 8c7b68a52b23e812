#!/usr/bin/env python3
"""Who may include whom, by reading #include lines (run by meson test).

Folders see only what is below them, every external header has one home, a type
has one meaning, and nothing is compiled conditionally. CONTRIBUTING.md tells
the reasons.
"""
import re
import sys

from support import ROOT, Tally

# folder: the folders whose headers and tables it may include
MAY = {
    'base': [],
    'ir': ['base'],
    'frontend': ['base', 'ir'],
    'passes': ['base', 'ir'],
    'backend': ['base'],
    'runtime': ['base', 'ir', 'backend'],
    'include': [],
}
ALL = ['base', 'ir', 'frontend', 'passes', 'backend', 'runtime', 'include']
for top in ('tools', 'tests', 'bench'):
    MAY[top] = ALL + (['tests'] if top == 'bench' else [])

# external header (regular expression): its home (path prefixes)
HOMES = [
    (r'protobuf-c/.*|onnx\.pb-c\.h', ['frontend/onnx/']),
    (r'cblas.*\.h', ['backend/cpu']),
    (r'(cuda|cublas|cusparse|curand|cusolver|nv).*',
     ['backend/cuda/', 'tests/cuda_on_cpu/', 'bench/cuda']),
    (r'type_traits|ucontext\.h', ['tests/cuda_on_cpu/']),
    (r'lapacke?.*\.h|arpack.*|(suitesparse/)?(cholmod|SuiteSparse|umfpack'
     r'|klu|ldl|amd)\w*\.h', ['passes/spectrum', 'backend/cpu/linalg']),
    (r'jansson\.h', ['runtime/safetensors']),
    (r'z(lib|std)\.h', ['base/io']),
    (r'cmocka\.h', ['tests/']),
]
STANDARD = set('''
    assert complex ctype errno fenv float inttypes iso646 limits locale math
    setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib
    stdnoreturn string tgmath threads time uchar wchar wctype
    dirent dlfcn fcntl fnmatch ftw getopt glob libgen poll pthread pwd regex sched
    semaphore spawn strings termios unistd
    sys/file sys/ioctl sys/mman sys/random sys/resource sys/stat sys/syscall
    sys/time sys/types sys/wait sys/uio linux/openat2'''.split())

TYPE = re.compile(r'^} (cg_\w+);', re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
CONDITIONAL = re.compile(r'^\s*#\s*(if|ifdef|elif|else)\b')
# what C and C++ both read says so to C++
BOTH = re.compile(r'^\s*#\s*ifdef\s+__cplusplus$')
TWO_LANGUAGES = ('include/', 'backend/', 'base/err.h', 'tests/cuda_on_cpu/')
GUARD = re.compile(r'^\s*#\s*ifndef\b')
SUFFIXES = {'.c', '.h', '.def', '.cu', '.cuh'}


def sources():
    for folder in MAY:
        for path in sorted((ROOT / folder).rglob('*')):
            if path.suffix in SUFFIXES:
                yield folder, path


def home_of(name):
    for pattern, homes in HOMES:
        if re.fullmatch(pattern, name):
            return homes
    return None


def check_include(folder, where, bracket, name):
    """The complaint about one #include, or None."""
    homes = home_of(name)
    if homes is not None:
        if any(where.startswith(h) for h in homes):
            return None
        return f'{name} belongs to {" and ".join(homes)} only'
    if bracket == '<':
        if name.removesuffix('.h') in STANDARD:
            return None
        return f'<{name}> has no home (tests/layers.py lists them)'
    if not (ROOT / name).is_file():
        return f'"{name}" is no file; includes start at the root'
    target = name.split('/')[0]
    if target != folder and target not in MAY[folder]:
        return f'{folder}/ may not know {target}/ ("{name}")'
    return None


def check_file(tally, folder, path):
    where = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding='utf-8')
    for number, line in enumerate(text.splitlines(), 1):
        m = INCLUDE.match(line)
        why = check_include(folder, where, *m.groups()) if m else None
        if m:
            tally.check(why is None, f'{where}:{number}: {why}')
        elif (BOTH.match(line) and path.suffix == '.h'
              and where.startswith(TWO_LANGUAGES)):
            continue
        # headers have guards
        elif (CONDITIONAL.match(line) or GUARD.match(line) and path.suffix not in ('.h', '.cuh')):
            tally.check(False, f'{where}:{number}: conditional compilation; '
                        'let meson choose a file instead')


def check_types(tally):
    """Two headers of one name for two things cannot be read together."""
    home = {}
    for _, path in sources():
        for name in TYPE.findall(path.read_text(encoding='utf-8')):
            where = home.setdefault(name, path)
            tally.check(where == path, f'{path.relative_to(ROOT)}: {name} is '
                        f'a type of {where.relative_to(ROOT)}')


def main():
    tally = Tally('layers')
    for folder, path in sources():
        check_file(tally, folder, path)
    check_types(tally)
    if tally.passed == 0:
        print('no #include found: wrong place?')
        sys.exit(1)
    tally.done()


if __name__ == '__main__':
    main()
