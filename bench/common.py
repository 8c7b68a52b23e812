"""What the benchmarks share: running and measuring whole processes."""
import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
import wire  # noqa: E402,F401: files written as protobuf wire bytes
CACHE = Path(tempfile.gettempdir()) / "gennape-bench"


def arguments(text, runs):
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build",
                        help="build directory (default: build)")
    parser.add_argument("--runs", type=int, default=runs,
                        help=f"runs of each program (default: {runs})")
    return parser


def tool(build):
    path = build / "tools" / "onnx2cg"
    if not path.exists():
        sys.exit(f"{path} does not exist: build first, or give --build DIR")
    return str(path)


def launcher():
    """The compiled measure.c, kept in the cache directory."""
    CACHE.mkdir(exist_ok=True)
    source, path = ROOT / "bench" / "measure.c", CACHE / "measure"
    if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE",
                        "-o", path, source], check=True)
    return str(path)


def measure(command):
    """(wall ms, CPU ms, peak KiB) of one run; RuntimeError if it fails."""
    out = subprocess.run([launcher(), *map(str, command)],
                         capture_output=True, text=True)
    fields = out.stdout.split()
    if len(fields) != 4 or fields[3] != "0":
        raise RuntimeError(f"{' '.join(map(str, command))}: exit "
                           f"{fields[3:]}\n{out.stderr[-2000:]}")
    return float(fields[0]), float(fields[1]), int(fields[2])


def medians(commands, runs):
    """Runs each of a dict of commands in turn, `runs` times after one run to
    warm the page cache; name -> medians of (wall ms, CPU ms, peak KiB), None
    if it fails."""
    seen, failed = {name: [] for name in commands}, set()
    for round_ in range(runs + 1):
        for name, command in commands.items():
            if name in failed:
                continue
            try:
                result = measure(command)
            except RuntimeError as e:
                print(f"{name} failed: {e}", file=sys.stderr)
                failed.add(name)
                continue
            if round_ > 0:
                seen[name].append(result)
    return {name: None if name in failed else
            tuple(statistics.median(x) for x in zip(*results))
            for name, results in seen.items()}


def machine():
    flags = ""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        pass
    wide = ("AVX-512" if "avx512f" in flags else
            "AVX2" if "avx2" in flags else platform.machine())
    return f"{os.cpu_count()} cores, {wide}, {platform.system()}"
