"""What the Python tests share: skipping, packages, running onnx2cg."""
import importlib.util
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME')
                     or pathlib.Path.home() / '.cache')
VENV = CACHE / 'gennape' / 'venv'


def skip(reason):
    print(f'skipped: {reason}')
    sys.exit(77)


def installed(package):
    """A folder without code (tests/onnx) has a spec too, but no origin."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def need(*packages):
    """Goes on in the test environment of test.sh if this Python lacks one of
    the packages; skips the test if that lacks it too."""
    missing = [p for p in packages if not installed(p)]
    if not missing:
        return
    python = VENV / 'bin' / 'python'
    if python.exists() and pathlib.Path(sys.prefix) != VENV:
        os.execv(python, [str(python), *sys.argv])
    skip(f'Python has no {", ".join(missing)} (./test.sh installs onnx, '
         './test.sh --full the rest)')


class Run:
    """One run of a program: .status (negative: signal, None: timeout), .out
    and .err as bytes, .seconds, and .memory, the peak in MB.

    Linux counts the memory of the process that starts a child as the
    child's, so .memory is never below that of this Python. It is measured
    and not limited: sanitizers need address space, but no memory."""

    def __init__(self, command, timeout=60):
        self.status = self.memory = None
        start = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            pid = os.posix_spawn(
                str(command[0]), [str(c) for c in command], os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, err.fileno(), 2)])
            self.wait(pid, start + timeout)
            self.seconds = time.monotonic() - start
            out.seek(0)
            err.seek(0)
            self.out, self.err = out.read(), err.read()

    def wait(self, pid, deadline):
        pause = 0.0005
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                self.memory = usage.ru_maxrss / 1024
                return
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.wait4(pid, 0)
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.01)

    def lines(self):
        return self.err.decode('utf-8', 'replace').splitlines()

    def why(self):
        if self.status is None:
            return 'no end'
        if self.status < 0:
            return f'signal {-self.status}'
        return (self.lines() or [f'exit {self.status}, nothing said'])[-1]

    def json(self):
        return json.loads(self.out)


class Tally:
    """Counts checks, prints one line per failure and the closing count."""

    def __init__(self, what):
        self.what, self.passed, self.failed = what, 0, 0

    def check(self, ok, message):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f'FAILED {message}')
        return ok

    def done(self):
        print(f'{self.what}: {self.passed} passed, {self.failed} failed')
        sys.exit(1 if self.failed else 0)
