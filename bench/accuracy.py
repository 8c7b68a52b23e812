#!/usr/bin/env python3
"""Our accuracy beside the paper's (Mills et al., AAAI-23, tables 2 to 4).

Trains configuration `paper` on a packed NAS-Bench-101 set for several seeds
(models that are there already are kept, a training that was stopped goes on),
then judges every member on the held-out tenth and, zero-shot and fine-tuned on
50 networks, on packed sets of other families. Figures are means over seeds,
with deviations; model K is tuned on draw K of the samples.

    cgzoo pack nb101 --labels nb101.csv.gz ... -o nb101.cgs
    cgzoo pack nb201 --labels nb201.csv.gz ... -o nb201.cgs
    bench/accuracy.py nb101.cgs nb201.cgs --work models/ --seeds 5
"""
import json
import statistics
import subprocess
import sys
from pathlib import Path

import common

# (training family: SRCC, MAE), (other: SRCC, KT, NDCG@10) of the paper
HELD_OUT = {"kgnn": (.814, 1.61), "gcn": (.732, None), "gin": (.735, None),
            "cl": (.874, None), "cl_fcm": (.896, None), "cl_t": (.921, .65),
            "cl_fcm_t": (.930, .59)}
ZERO = {("nb201", "kgnn"): (.493, .338, .927),
        ("nb201", "cl"): (.852, .655, .985),
        ("nb201", "gennape"): (.815, .620, .979),
        ("nb301", "gennape"): (.321, None, None),
        ("ofa_pn", "gennape"): (.821, None, None),
        ("ofa_mbv3", "gennape"): (.866, None, None)}
TUNED = {("nb201", "kgnn"): (.861, .677, .975),
         ("nb201", "cl_pair"): (.890, .714, .991),
         ("nb201", "gennape"): (.910, .742, .986),
         ("nb301", "gennape"): (.883, None, None),
         ("ofa_pn", "gennape"): (.951, None, None),
         ("ofa_mbv3", "gennape"): (.945, None, None)}
MEMBERS = "kgnn,gcn,gin,encoder,cl,cl_t,cl_pair,cl_fcm,cl_fcm_t,cl_fcm_pair"


def train(args, seed):
    model = args.work / f"paper-{seed}.safetensors"
    if not model.exists():
        command = [args.build / "tools/cgtrain", args.train, "-o", model,
                   "--resume", "--threads", args.threads, "--config", "paper",
                   "--set", f"members={MEMBERS}", "--set", f"seed={seed}"]
        for assignment in args.set:
            command += ["--set", assignment]
        subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    return model


def judge(args, model, data, *options):
    """One row of figures for each member; kept beside the model."""
    name = "-".join([model.stem, Path(data).stem, *options]) + ".json"
    kept = args.work / name.replace("--", "")
    if not kept.exists():
        command = [args.build / "tools/cgeval", "--model", model, data,
                   "--json", "--threads", args.threads, *options]
        out = subprocess.run(list(map(str, command)), check=True, text=True,
                             stdout=subprocess.PIPE).stdout
        kept.write_text(out)
    return [json.loads(line) for line in kept.read_text().splitlines()]


def show(title, rows, keys, reference):
    """rows: one list of figures a seed."""
    print(f"\n{title}\n{'member':12}" + "".join(f"{k:>18}" for k in keys)
          + "   paper")
    for at, first in enumerate(rows[0]):
        line = f"{first['member']:12}"
        for key in keys:
            values = [seed[at][key] for seed in rows]
            if None in values:
                line += f"{'-':>18}"
                continue
            spread = statistics.stdev(values) if len(values) > 1 else 0
            line += f"{statistics.fmean(values):>9.4f} +- {spread:.4f} "
        paper = reference.get(first["member"]) or ()
        print(line + "   " + " ".join("-" if p is None else f"{p:g}"
                                       for p in paper))


def main():
    parser = common.arguments(__doc__, 1)
    parser.add_argument("train", help="packed NAS-Bench-101 networks")
    parser.add_argument("targets", nargs="*", help="packed sets of others")
    parser.add_argument("--work", type=Path, required=True,
                        help="where models and figures are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--finetune", type=int, default=50)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[],
                        help="KEY=VALUE over the configuration")
    args = parser.parse_args()
    args.work.mkdir(exist_ok=True)
    models = [train(args, seed) for seed in range(1, args.seeds + 1)]
    show(f"held-out tenth, {len(models)} seeds",
         [judge(args, m, args.train, "--held-out") for m in models],
         ["srcc", "kt", "mae", "mae80", "ndcg10"], HELD_OUT)
    for data in args.targets:
        for options, table, what in (
                ([], ZERO, "zero-shot"),
                (["--finetune", str(args.finetune), "--seeds", "1"], TUNED,
                 f"{args.finetune} samples")):
            rows = [judge(args, m, data, *options,
                          *(["--seed", str(k)] if options else []))
                    for k, m in enumerate(models, 1)]
            rows = [[r for r in seed if (r["finetune"] > 0) == bool(options)]
                    for seed in rows]
            family = rows[0][0]["family"]
            show(f"{family}, {what}", rows, ["srcc", "kt", "ndcg10"],
                 {m: p for (f, m), p in table.items() if f == family})


if __name__ == "__main__":
    main()
