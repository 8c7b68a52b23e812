#!/usr/bin/env python3
"""Exports each architecture of nets.py in several ways, without weights.

    export.py OUTDIR [--net NAME]... [--way NAME]...

writes OUTDIR/NET/WAY.onnx. Existing files are kept. Needs torch and, for the
last ways, onnxscript and onnxsim; a way whose packages are missing is left
out and named. Exit 77 without torch.
"""
import argparse
import contextlib
import io
import pathlib
import sys
import warnings

try:
    import onnx
    import torch
    import torchvision  # noqa: F401
except ImportError as e:
    print(f'skipped: {e}')
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from nets import NETS  # noqa: E402
from strip_weights import strip  # noqa: E402

KEEP_BN = torch.onnx.TrainingMode.PRESERVE
INPUT = {'input_names': ['input'], 'output_names': ['output']}


def legacy(**kwargs):
    return lambda net, x, path: torch.onnx.export(
        net, (x,), str(path), dynamo=False, **INPUT, **kwargs)


def dynamo(**kwargs):
    return lambda net, x, path: torch.onnx.export(
        net, (x,), str(path), dynamo=True, external_data=False, verbose=False,
        **INPUT, **kwargs)


def simplified(make):
    def way(net, x, path):
        import onnxsim
        make(net, x, path)
        # fuse_qkv makes one MatMul of three: another network
        model, ok = onnxsim.simplify(onnx.load(str(path)),
                                     skipped_optimizers=['fuse_qkv'])
        if not ok:
            raise RuntimeError('onnxsim: the simplified model differs')
        onnx.save(model, str(path))
    return way


WAYS = {
    'ts11': legacy(opset_version=11),
    'ts13_nofold': legacy(opset_version=13, do_constant_folding=False),
    'ts13_bn': legacy(opset_version=13, training=KEEP_BN),
    'ts17': legacy(opset_version=17),
    'ts17_bn_nofold': legacy(opset_version=17, training=KEEP_BN,
                             do_constant_folding=False),
    'ts17_inputs': legacy(opset_version=17, keep_initializers_as_inputs=True),
    'dynamo18': dynamo(opset_version=18),
    'dynamo20_raw': dynamo(opset_version=20, optimize=False),
    'sim17_bn': simplified(legacy(opset_version=17, training=KEEP_BN)),
    'sim11': simplified(legacy(opset_version=11)),
}


def module_of(make):
    """With every weight of its own: exporters drop biases that are zero and
    share constants that are equal, as they are in a fresh module."""
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        for t in [*module.parameters(), *module.buffers()]:
            if t.is_floating_point():
                t += 0.1 * torch.rand_like(t) + 0.01
    return module


def export(net, way, path):
    make, example = NETS[net]
    module = module_of(make)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_suffix('.tmp')
    with warnings.catch_warnings(), torch.no_grad(), \
            contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        WAYS[way](module, example(), temp)
    model = onnx.load(str(temp))
    strip(model)
    onnx.save(model, str(temp))
    temp.rename(path)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('outdir', type=pathlib.Path)
    p.add_argument('--net', action='append', choices=list(NETS))
    p.add_argument('--way', action='append', choices=list(WAYS))
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # no legacy export of it
    done = failed = 0
    for net in args.net or NETS:
        for way in args.way or WAYS:
            path = args.outdir / net / f'{way}.onnx'
            if path.exists():
                continue
            try:
                export(net, way, path)
                done += 1
                print(f'{path}: {path.stat().st_size} bytes', flush=True)
            except Exception as e:
                failed += 1
                path.with_suffix('.tmp').unlink(missing_ok=True)
                line = str(e).strip().split('\n')[0][:200]
                print(f'{net} {way}: not exported: {type(e).__name__}: '
                      f'{line}', flush=True)
    print(f'{done} exported, {failed} not exported')


if __name__ == '__main__':
    main()
