#!/usr/bin/env python3
"""cgpredict, whole process: wall time and peak memory, medians, of
resnet50.onnx with its weights in the file, of 10,000 codes of NAS-Bench-101,
and of a directory of 100 ONNX files of five families (cgzoo's exports, without
weights); with all threads and with one. Exits 1 where a target is missed.
"""
import csv
import subprocess
import sys
from pathlib import Path

from common import CACHE, arguments, machine, medians, tool

CODES, FILES = 10000, 100
FAMILIES = ("nb101", "nb201", "nb301", "ofa_mbv3", "ofa_pn")
MEMORY = 200  # MB
ONE = ("--threads", "1", "--jobs", "1")


def zoo(build, *args):
    return subprocess.run([build / "tools" / "cgzoo", *map(str, args)],
                          check=True, capture_output=True, text=True).stdout


def codes(build):
    path = CACHE / f"nb101-{CODES}.csv"
    if not path.exists():
        drawn = zoo(build, "sample", "nb101", "-n", CODES, "--seed", 1)
        with open(path, "w", newline="") as f:
            csv.writer(f).writerows(
                [["code"], *([c] for c in drawn.splitlines())])
    return path


def folder(build):
    path = CACHE / "predict"
    path.mkdir(exist_ok=True)
    for family in FAMILIES:
        drawn = zoo(build, "sample", family, "-n", FILES // len(FAMILIES),
                    "--seed", 1)
        for i, code in enumerate(drawn.splitlines()):
            out = path / f"{family}-{i}.onnx"
            if not out.exists():
                zoo(build, "export", family, code, "--no-weights", "-o", out)
    return path


def resnet50():
    """As import.py makes it."""
    path = CACHE / "resnet50.onnx"
    if not path.exists():
        script = Path(__file__).with_name("import.py")
        subprocess.run([sys.executable, "-c", "import runpy, sys;"
                        f"sys.path.insert(0, {str(script.parent)!r});"
                        f"runpy.run_path({str(script)!r})['export']"
                        "('resnet50')"], check=True)
    return path


def main():
    parser = arguments(__doc__, 11)
    parser.add_argument("--model", help="default: cgpredict's own")
    args = parser.parse_args()
    tool(args.build)
    CACHE.mkdir(exist_ok=True)
    command = [args.build / "tools" / "cgpredict",
               *(["--model", args.model] if args.model else [])]
    cases = {  # arguments, milliseconds allowed, share of the runs
        "resnet50.onnx, 97 MiB": ([resnet50()], 20, 1),
        f"{CODES:,} codes of nb101": (["--codes", "nb101",
                                       codes(args.build)], 5000, 3),
        f"{FILES} ONNX files": ([folder(args.build)], 1000, 1),
    }
    print(f"{machine()}; medians of {args.runs} alternating runs, a third of "
          "them for codes")
    print(f"{'':24} {'threads':>7} {'ms':>8} {'CPU ms':>8} {'MB':>6} "
          f"{'target ms':>9} {'MB':>4}")
    bad = False
    for name, (what, most, share) in cases.items():
        found = medians({"all": [*command, *what],
                         "1": [*command, *ONE, *what]},
                        max(1, args.runs // share))
        for threads, row in found.items():
            if row is None:
                sys.exit(1)
            ms, cpu, kib = row
            mb = kib * 1024 / 1e6
            missed = ms > most or mb > MEMORY
            bad |= missed
            print(f"{name:24} {threads:>7} {ms:8.1f} {cpu:8.1f} {mb:6.1f} "
                  f"{most:9,} {MEMORY:4}{'  missed' if missed else ''}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
