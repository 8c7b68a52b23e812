#!/usr/bin/env python3
"""Makes the small ONNX files of this folder: NAME/model.onnx.

    make.py [NAME]...

Modules are exported by torch, without weights; texts are ONNX's own textual
form, for what no exporter of today writes. Existing files are kept, since
exporters change. onnx_cases.py compares what onnx2cg makes of them.
"""
import contextlib
import io
import pathlib
import sys
import warnings

import onnx
import onnx.parser
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / 'invariance'))
from strip_weights import strip  # noqa: E402

F = nn.functional
PRESERVE = torch.onnx.TrainingMode.PRESERVE


class Views(nn.Module):
    """Reshapes computed from the shape: a chain that must fold."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(32, 96)

    def forward(self, x):
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 4, 8).permute(
            2, 0, 3, 1, 4).unbind(0)
        y = (q @ k.transpose(-1, -2) * 8 ** -0.5).softmax(-1) @ v
        return y.transpose(1, 2).reshape(n, length, 32)


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        if x.sum() > 0:
            return self.a(x)
        return torch.tanh(self.b(x))


class Steps(nn.Module):
    """A loop whose trip count is known."""

    def __init__(self):
        super().__init__()
        self.f = nn.Linear(8, 8)

    def forward(self, x):
        for _ in range(3):
            x = torch.relu(self.f(x))
        return x


class Resize(nn.Module):
    def forward(self, x):
        y = F.interpolate(x, scale_factor=2, mode='nearest')
        return F.interpolate(y, size=x.shape[2:], mode='bilinear') + x


def conv_bn():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False),
                         nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(8 * 8 * 8, 4))


# name: (module, input, options of torch.onnx.export)
MODULES = {
    'conv_bn_kept': (conv_bn, (1, 3, 16, 16),
                     dict(dynamo=False, training=PRESERVE)),
    'conv_bn_dynamo': (conv_bn, (1, 3, 16, 16), dict(dynamo=True)),
    'attention_dynamic': (
        Views, (2, 10, 32),
        dict(dynamo=False, dynamic_axes={'input': {0: 'batch', 1: 'seq'}})),
    'attention_nofold': (Views, (2, 10, 32),
                         dict(dynamo=False, do_constant_folding=False,
                              opset_version=11)),
    'branch': (lambda: torch.jit.script(Branch()), (2, 8),
               dict(dynamo=False)),
    'steps': (lambda: torch.jit.script(Steps()), (2, 8), dict(dynamo=False)),
    'resize_dynamic': (
        Resize, (1, 4, 8, 8),
        dict(dynamo=False, dynamic_axes={'input': {2: 'h', 3: 'w'}})),
    'gru': (lambda: nn.GRU(6, 5, batch_first=True), (1, 7, 6),
            dict(dynamo=False)),
}

TEXTS = {
    # what opset 7 looked like
    'upsample_old': '''<ir_version: 3, opset_import: ["": 7]>
g (float[1,3,8,8] x) => (float[1,1,3,16,16] y) {
  t = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]>(x)
  u = Dropout<ratio = 0.5>(t)
  v = Clip<min = 0.0, max = 6.0>(u)
  y = Unsqueeze<axes = [0]>(v)
}''',
    # a quantised convolution and its float twin in one
    'qdq': '''<ir_version: 8, opset_import: ["": 13]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y)
<float s = {0.1}, uint8 z = {128}, int8[4,3,3,3] w,
 float[4] ws, int8[4] wz> {
  xq = QuantizeLinear(x, s, z)
  xd = DequantizeLinear(xq, s, z)
  wd = DequantizeLinear<axis = 0>(w, ws, wz)
  c = Conv<pads = [1, 1, 1, 1]>(xd, wd)
  r = Relu(c)
  rq = QuantizeLinear(r, s, z)
  y = DequantizeLinear(rq, s, z)
}''',
    'functions': '''<ir_version: 9, opset_import: ["": 18, "local": 1]>
g (float[4,8] x, float[8,8] w) => (float[4,8] y) {
  h = local.dense<act = 1>(x, w)
  y = local.dense(h, w)
}
<domain: "local", opset_import: ["": 18, "local": 1]>
dense <act: int = 0> (a, b) => (c) {
  m = MatMul(a, b)
  c = local.activate(m)
}
<domain: "local", opset_import: ["": 18]>
activate (a) => (b) {
  s = Sigmoid(a)
  b = Mul(s, a)
}''',
    'fused_microsoft': '''<ir_version: 8,
 opset_import: ["": 15, "com.microsoft": 1]>
g (float[2,16,32] x) => (float[2,16,32] y)
<float[32] gamma, float[32] beta, float[32,64] w, float[64] b,
 float[64,32] v> {
  n, mean, inv, s = com.microsoft.SkipLayerNormalization(x, x, gamma, beta)
  h = MatMul(n, w)
  g = com.microsoft.BiasGelu(h, b)
  y = MatMul(g, v)
}''',
    'unknown_operator': '''<ir_version: 8, opset_import: ["": 15, "my.own": 1]>
g (float[1,4] x) => (float[1,4] y) <float[1,6] t> {
  t = my.own.Mystery(x)
  u = Relu(t)
  y = Identity(u)
}''',
    'nonzero': '''<ir_version: 8, opset_import: ["": 15]>
g (float[5,6] x) => (int64[2,n] y) {
  z = NonZero(x)
  y = Identity(z)
}''',
    'unsorted_stale': '''<ir_version: 8, opset_import: ["": 15]>
g (float[N,3] x, float[3,5] w) => (float[7,7] y)
<float[3,5] w, float[9,9] t> {
  y = Relu(t)
  t = MatMul(x, w)
}''',
    'sequence': '''<ir_version: 8, opset_import: ["": 15]>
g (float[6,4] x) => (float[4,4] y) <int64 one = {1}> {
  s = SplitToSequence<axis = 0>(x, two)
  e = SequenceAt(s, one)
  y = Concat<axis = 0>(e, e)
  two = Constant<value = int64 two {2}>()
}''',
}


def parsed(text):
    """A declared name that no node writes becomes a weight without data."""
    model = onnx.parser.parse_model(text)
    g = model.graph
    made = {o for n in g.node for o in n.output}
    for v in [v for v in g.value_info if v.name not in made]:
        t = v.type.tensor_type
        g.initializer.append(onnx.TensorProto(
            name=v.name, data_type=t.elem_type,
            dims=[d.dim_value for d in t.shape.dim]))
        g.value_info.remove(v)
    return model


def save(name, model):
    strip(model)
    path = HERE / name / 'model.onnx'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    print(f'{path}: {path.stat().st_size} bytes')


def exported(make, shape, options):
    torch.manual_seed(0)
    options = {'opset_version': 18 if options['dynamo'] else 17, **options}
    if options['dynamo']:
        options |= {'external_data': False, 'verbose': False}
    temp = HERE / 'temp.onnx'
    with warnings.catch_warnings(), torch.no_grad(), \
            contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        torch.onnx.export(make().eval(), (torch.zeros(shape),), str(temp),
                          input_names=['input'], output_names=['output'],
                          **options)
    model = onnx.load(str(temp))
    temp.unlink()
    return model


def main():
    for name in sys.argv[1:] or [*MODULES, *TEXTS]:
        if (HERE / name / 'model.onnx').exists():
            continue
        if name in TEXTS:
            save(name, parsed(TEXTS[name]))
        else:
            save(name, exported(*MODULES[name]))


if __name__ == '__main__':
    main()
