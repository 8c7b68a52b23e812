#!/usr/bin/env python3
"""The order that cgpredict gives to named networks, against their published
top-1 on ImageNet: SRCC with a 95 % bootstrap interval, beside FLOPs and
parameters.

The networks are torchvision's classifiers that have weights trained on
ImageNet-1K alone, exported with random weights at the resolution that their
accuracy was measured at. No weights are loaded: accuracies are torchvision's
metadata. Exports are made once, without weights, and kept.

How a network was trained moves its accuracy by several points, so that orders
are compared within generations of recipes (RECIPES below) and over all.
"""
import argparse
import json
import math
import random
import subprocess
import sys
import warnings
from pathlib import Path

from common import CACHE, ROOT

EXPORTS = CACHE / "named"
RESAMPLES = 2000
KEYS = ("score", "accuracy", "flops", "params")

GENERATIONS = {
    "plain": "SGD, crops and flips, up to 300 epochs",
    "authors": "as the network's authors did: RMSProp, averaged weights, ...",
    "new": "300 to 600 epochs, label smoothing, mixed images, ...",
}
# Which generation weights belong to: by what `recipe` of their metadata holds.
RECIPES = (
    ("classification#alexnet-and-vgg", "plain"),
    ("classification#resnet", "plain"),
    ("classification#resnext", "plain"),
    ("classification#mobilenetv2", "plain"),
    ("classification#small-models", "plain"),   # RegNet
    ("classification#medium-models", "plain"),
    ("classification#large-models", "plain"),
    ("vision/pull/49#", "plain"),               # SqueezeNet
    ("vision/pull/116", "plain"),               # DenseNet
    ("vision/pull/912#", "plain"),              # wide ResNet
    ("classification#googlenet", "authors"),
    ("classification#inception-v3", "authors"),
    ("classification#mobilenetv3", "authors"),
    ("classification#efficientnet-v1", "authors"),
    ("1e100/mnasnet_trainer", "authors"),
    ("ericsun99/Shufflenet", "authors"),
    ("classification#efficientnet-v2", "new"),
    ("classification#convnext", "new"),
    ("classification#swintransformer", "new"),
    ("classification#vit_", "new"),
    ("classification#maxvit", "new"),
    ("vision/pull/5906", "new"),                # ShuffleNet
    ("vision/pull/5935", "new"),                # ResNeXt-101 64x4d
    ("vision/pull/6019", "new"),                # MNASNet
    ("vision/issues/3995", "new"),              # V2 of older networks
)
# Of these the V2 weights count in their generation, and V1 in theirs; over
# all a network is there once, with V1. Other weights saw other images too.
WEIGHTS = ("IMAGENET1K_V1", "IMAGENET1K_V2")


# -- networks -----------------------------------------------------------------

def generation(recipe):
    found = [g for part, g in RECIPES if part in recipe]
    if len(found) != 1:
        sys.exit(f"{recipe}: {len(found)} rows of RECIPES say its generation")
    return found[0]


def entries():
    """One for each network and kind of weights."""
    import torchvision.models as zoo
    found = []
    for name in zoo.list_models(module=zoo):
        for w in zoo.get_model_weights(name):
            if w.name in WEIGHTS:
                found.append({
                    "network": name, "weights": w.name,
                    "size": w.transforms.keywords["crop_size"],
                    "top1": w.meta["_metrics"]["ImageNet-1K"]["acc@1"],
                    "params": w.meta["num_params"],
                    "generation": generation(w.meta["recipe"])})
    return found


def module_of(name):
    """With every weight of its own: exporters drop biases that are zero."""
    import torch
    import torchvision
    options = {"init_weights": False} if name in ("googlenet",
                                                  "inception_v3") else {}
    module = torchvision.models.get_model(name, weights=None, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        for t in [*module.parameters(), *module.buffers()]:
            if t.is_floating_point():
                t.uniform_(.01, .1)
    return module.eval()


def export(name, size, path):
    """By the old exporter, or else the new one; weights lose their data."""
    import onnx
    import torch
    sys.path.append(str(ROOT / "tests" / "invariance"))
    from strip_weights import strip
    module, part = module_of(name), path.with_suffix(".part")
    for dynamo in (False, True):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module, (torch.rand(1, 3, size, size),), str(part),
                    opset_version=18 if dynamo else 17, dynamo=dynamo,
                    **({"external_data": False} if dynamo else {}))
            break
        except Exception as e:  # exporters' have no base
            print(f"{name}: not exported by the {'new' if dynamo else 'old'} "
                  f"exporter: {str(e).strip().splitlines()[:1]}",
                  file=sys.stderr)
    else:
        return
    model = onnx.load(str(part))
    strip(model)
    onnx.save(model, str(part))
    part.rename(path)


def exported(found):
    """Makes what is missing; network -> path."""
    paths = {e["network"]: EXPORTS / f"{e['network']}_{e['size']}.onnx"
             for e in found}
    missing = [e for e in found if e["weights"] == WEIGHTS[0]
               and not paths[e["network"]].exists()]
    if missing:
        import torch
        torch.backends.mha.set_fastpath_enabled(False)  # has no old export
        EXPORTS.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
    for i, e in enumerate(missing):
        print(f"exporting {e['network']} ({i + 1} of {len(missing)})",
              file=sys.stderr)
        export(e["network"], e["size"], paths[e["network"]])
    return {name: p for name, p in paths.items() if p.exists()}


# -- figures ------------------------------------------------------------------

def run(program, *args):
    """Path -> the object that a tool says of it."""
    if not program.exists():
        sys.exit(f"{program} does not exist: build first, or give --build DIR")
    out = subprocess.run([program, *args], capture_output=True, text=True)
    if out.stderr:
        print(out.stderr.rstrip(), file=sys.stderr)
    if out.returncode and not out.stdout:
        sys.exit(out.returncode)
    return {r["file"]: r for r in map(json.loads, out.stdout.splitlines())}


def ranks(x):
    """1 is the least; equals share the mean of theirs."""
    order = sorted(range(len(x)), key=x.__getitem__)
    rank, i = [0.0] * len(x), 0
    while i < len(order):
        k = i
        while k < len(order) and x[order[k]] == x[order[i]]:
            k += 1
        for j in order[i:k]:
            rank[j] = (i + k + 1) / 2
        i = k
    return rank


def srcc(a, b):
    a, b = ranks(a), ranks(b)
    mean = (len(a) + 1) / 2
    cov = sum((x - mean) * (y - mean) for x, y in zip(a, b))
    var = math.prod(sum((x - mean) ** 2 for x in v) for v in (a, b))
    return cov / math.sqrt(var) if var > 0 else math.nan


def with_interval(a, b):
    """(SRCC, low, high): percentiles over resampled networks."""
    draw, n, seen = random.Random(1), len(a), []
    for _ in range(RESAMPLES):
        pick = [draw.randrange(n) for _ in range(n)]
        r = srcc([a[i] for i in pick], [b[i] for i in pick])
        if not math.isnan(r):
            seen.append(r)
    seen.sort()
    return (srcc(a, b), seen[int(.025 * len(seen))],
            seen[int(.975 * len(seen))])


def judge(rows):
    """Group -> how well each key orders it."""
    groups = {g: [r for r in rows if r["generation"] == g]
              for g in GENERATIONS}
    groups["all, V1"] = [r for r in rows if r["weights"] == WEIGHTS[0]]
    known = [k for k in KEYS if all(r[k] is not None for r in rows)]
    return {name: {"n": len(group), **{
        key: with_interval([r[key] for r in group],
                           [r["top1"] for r in group]) for key in known}}
        for name, group in groups.items() if len(group) > 2}


def place(rows):
    """Ranks by top-1 less ranks by score, 1 is the best: over all networks
    once, and within each generation."""
    once = [r for r in rows if r["weights"] == WEIGHTS[0]]
    groups = {"off": once, **{g: [r for r in rows if r["generation"] == g]
                              for g in GENERATIONS}}
    for name, group in groups.items():
        by = [ranks([-r[k] for r in group]) for k in ("top1", "score")]
        for r, t, s in zip(group, *by):
            r["off" if name == "off" else "off_generation"] = t - s


# -- printing -----------------------------------------------------------------

def cell(x, width, digits):
    return "-".rjust(width) if x is None else f"{x:{width}.{digits}f}"


def print_rows(rows):
    print(f"{'network':20} {'recipe':8} {'top-1':>6} {'score':>7} "
          f"{'predicted':>9} {'conf.':>5} {'GFLOPs':>7} {'Mparams':>7} "
          f"{'rank off':>8} {'in its recipe':>13}")
    for r in sorted(rows, key=lambda r: -r["score"]):
        off = f"{r['off']:+8.0f}" if "off" in r else f"{'V2':>8}"
        print(f"{r['network']:20} {r['generation']:8} {r['top1']:6.2f} "
              f"{r['score']:7.3f} {cell(r['accuracy'], 9, 2)} "
              f"{cell(r['confidence'], 5, 2)} {r['flops'] / 1e9:7.2f} "
              f"{r['params'] / 1e6:7.2f} {off} {r['off_generation']:+13.0f}")
    print("rank off: above 0 for networks that are put too high")


def print_figures(figures):
    print(f"\n{'SRCC with top-1':16} {'n':>3}  " + "  ".join(
        f"{k:^19}" for k in ("score", "predicted accuracy", "FLOPs",
                             "parameters")))
    for name, f in figures.items():
        cells = "  ".join(
            "{:5.3f} ({:5.2f}, {:4.2f})".format(*f[k]) if k in f
            else f"{'-':^19}" for k in KEYS)
        print(f"{name:16} {f['n']:3}  {cells}")
    print()
    for name, line in GENERATIONS.items():
        print(f"{name}: {line}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build",
                        help="build directory (default: build)")
    parser.add_argument("--model", help="default: cgpredict's own")
    parser.add_argument("--json", action="store_true",
                        help="one object instead of tables")
    args = parser.parse_args()
    found = entries()
    paths = exported(found)
    model = ["--model", args.model] if args.model else []
    files = sorted(str(p) for p in paths.values())
    said = run(args.build / "tools" / "cgpredict", "--json", *model, *files)
    cost = run(args.build / "tools" / "onnx2cg", "-q", "--stats", *files)
    rows = []
    for e in found:
        path = str(paths.get(e["network"]))
        if path in said and path in cost:
            rows.append({**e, **{k: said[path][k] for k in
                                 ("score", "accuracy", "confidence")},
                         "flops": cost[path]["flops"]})
    place(rows)
    figures = judge(rows)
    if args.json:
        print(json.dumps({"networks": rows, "srcc": figures}))
        return
    print_rows(rows)
    print_figures(figures)


if __name__ == "__main__":
    main()
