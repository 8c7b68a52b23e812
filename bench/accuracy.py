#!/usr/bin/env python3
"""Our accuracy beside the paper's (Mills et al., AAAI-23, tables 2 to 4).

Trains a configuration on a packed NAS-Bench-101 set for several seeds (models
that are there already are kept, a training that was stopped goes on), then
judges every member on the held-out tenth and, zero-shot and fine-tuned, on
packed sets of other families. Figures are means over seeds, with deviations;
model K is tuned on draw K of the samples.

    cgzoo pack nb101 --labels nb101.csv.gz ... -o nb101.cgs
    cgzoo pack nb201 --labels nb201.csv.gz ... -o nb201.cgs
    bench/accuracy.py nb101.cgs nb201.cgs --work models/ --seeds 5
    bench/accuracy.py nb101.cgs nb201.cgs --work models/ --config best

--leave-one-out trains, for each target, on the first set and all other targets.
--ablate trains `best` with one part of it taken out or another way, and shows
the whole ensemble: on the held-out tenth and zero-shot; with --leave-one-out
what only several sets show, on each target that it was not trained on. For each
column also which variant the others alone would have chosen.
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
STRUCTURE = "macs,params,layers,pools,depth,least_depth"
ABLATIONS = {
    "best": [],
    "nets see no structure": ["structure="],
    "structure without least_depth":
        [f"structure={STRUCTURE.replace(',least_depth', '')}"],
    "one view, with sizes": ["inputs=class,kind,relative"],
    "one view, without sizes": ["inputs=class,kind"],
    "operators by name": ["inputs=op,act,kernel,bias,relative"],
    "MSE, not Huber": ["loss=mse"],
    "accuracy as label": ["label=accuracy"],
    "no residual, no norm": ["residual=false", "norm=false"],
    "one net": ["members=net1,ridge"],
    "two nets": ["members=net1,net2,ridge"],
    "no ridge": ["members=net1,net2,net3,net4"],
    "ridge alone": ["members=ridge"],
    "ridge reads all of structure": [f"ridge={STRUCTURE}"],
}
# what makes a difference only where there are several sets
FOUR = "members=net1,net2,net3,net4,ridge"
ABLATIONS_OF_SETS = {
    "best": [],
    "four nets of the largest set": [FOUR],
    "two of the largest set, two of all": [FOUR,
                                           "net_sets=largest|largest|all|all"],
    "four nets of all sets": [FOUR, "net_sets=all"],
    "sets seen as they are": ["balance=1"],
    "all sets seen as often": ["balance=0"],
}


def train(args, seed, sets, name, assignments=()):
    """The model `name` of one seed, trained unless it is there."""
    model = args.work / f"{name}-{seed}.safetensors"
    if not model.exists():
        command = [args.build / "tools/cgtrain", *sets, "-o", model,
                   "--resume", "--threads", args.threads, "--config",
                   args.config, "--set", f"seed={seed}"]
        if args.config == "paper":
            command += ["--set", f"members={MEMBERS}"]
        for assignment in [*args.set, *assignments]:
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


def judge_target(args, models, data, samples):
    """One list of figures for each seed; samples 0: zero-shot."""
    options = (["--finetune", str(samples), "--seeds", "1"] if samples
               else [])
    rows = [judge(args, m, data, *options,
                  *(["--seed", str(k)] if samples else []))
            for k, m in enumerate(models, 1)]
    return [[r for r in seed if (r["finetune"] > 0) == bool(samples)]
            for seed in rows]


def tables(args, models, data):
    for samples in [0, *args.finetune]:
        rows = judge_target(args, models, data, samples)
        family = rows[0][0]["family"]
        paper = TUNED if samples == 50 else {} if samples else ZERO
        show(f"{family}, {samples} samples" if samples
             else f"{family}, zero-shot", rows, ["srcc", "kt", "ndcg10"],
             {m: p for (f, m), p in paper.items() if f == family})


def whole(rows, key):
    """Of the ensemble, or a member that is alone, one figure a seed."""
    return [next((r for r in seed if r["member"] == "gennape"), seed[0])[key]
            for seed in rows]


def others(args, data):
    """What a model is trained on that leaves `data` out."""
    return [args.train, *(t for t in args.targets if t != data)]


def variant(args, seeds, name, assignments):
    """For each column of the table of ablations the ensemble's SRCC and NDCG@10
    by seed."""
    slug = "ablate-" + "".join(c if c.isalnum() else "_" for c in name)
    if args.leave_one_out:
        return {t: judge_target(args, [
            train(args, s, others(args, t), f"{slug}-without-{Path(t).stem}",
                  assignments) for s in seeds], t, 0) for t in args.targets}
    models = [train(args, s, [args.train], slug, assignments) for s in seeds]
    return {args.train: [judge(args, m, args.train, "--held-out")
                         for m in models],
            **{t: judge_target(args, models, t, 0) for t in args.targets}}


def ablate(args, seeds):
    """Each variant on each target, and by which the others would choose."""
    found = {}
    columns = args.targets if args.leave_one_out else [args.train,
                                                       *args.targets]
    print(f"{'':32}" + "".join(f"{Path(t).stem:>26}" for t in columns))
    variants = ABLATIONS_OF_SETS if args.leave_one_out else ABLATIONS
    for name, assignments in variants.items():
        line = f"{name:32}"
        found[name] = []
        rows = variant(args, seeds, name, assignments)
        for data in columns:
            srcc, ndcg = (whole(rows[data], k) for k in ("srcc", "ndcg10"))
            found[name].append(statistics.fmean(srcc))
            spread = statistics.stdev(srcc) if len(srcc) > 1 else 0
            line += (f"   {statistics.fmean(srcc):.3f} +- {spread:.3f} / "
                     f"{statistics.fmean(ndcg):.2f}")
        print(line, flush=True)
    for at, data in enumerate(columns):
        chosen = max(found, key=lambda n: sum(found[n]) - found[n][at])
        print(f"{Path(data).stem}: chosen by the others: {chosen} "
              f"({found[chosen][at]:.3f})")


def main():
    parser = common.arguments(__doc__, 1)
    parser.add_argument("train", help="packed NAS-Bench-101 networks")
    parser.add_argument("targets", nargs="*", help="packed sets of others")
    parser.add_argument("--work", type=Path, required=True,
                        help="where models and figures are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--config", default="paper")
    parser.add_argument("--finetune", type=int, action="append", default=[],
                        help="numbers of samples (50)")
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[],
                        help="KEY=VALUE over the configuration")
    args = parser.parse_args()
    args.finetune = args.finetune or [50]
    args.work.mkdir(exist_ok=True)
    seeds = range(1, args.seeds + 1)
    if args.ablate:
        args.config = "best"
        return ablate(args, seeds)
    if args.leave_one_out:
        for data in args.targets:
            name = f"{args.config}-without-{Path(data).stem}"
            tables(args, [train(args, s, others(args, data), name)
                          for s in seeds], data)
        return None
    models = [train(args, s, [args.train], args.config) for s in seeds]
    show(f"held-out tenth, {len(models)} seeds",
         [judge(args, m, args.train, "--held-out") for m in models],
         ["srcc", "kt", "mae", "mae80", "ndcg10"], HELD_OUT)
    for data in args.targets:
        tables(args, models, data)
    return None


if __name__ == "__main__":
    main()
