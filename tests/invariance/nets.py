"""The architectures of the invariance test: name -> (module, example input).

Torchvision's where it has them, small hand-written ones where it has none.
Weights are random: only the structure is of interest.
"""
import torch
from torch import nn


class Bert(nn.Module):
    """Two encoder blocks written out, as exporters of BERT emit them."""

    def __init__(self, vocab=1000, dim=64, heads=4, depth=2, length=32):
        super().__init__()
        self.word = nn.Embedding(vocab, dim)
        self.place = nn.Embedding(length, dim)
        self.norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(BertBlock(dim, heads)
                                    for _ in range(depth))
        self.head = nn.Linear(dim, 2)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.word(ids) + self.place(places))
        for block in self.blocks:
            x = block(x)
        return self.head(torch.tanh(x[:, 0]))


class BertBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim)
                                          for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def split(self, x):
        n, length, dim = x.shape
        return x.view(n, length, self.heads,
                      dim // self.heads).permute(0, 2, 1, 3)

    def forward(self, x):
        q, k, v = (self.split(f(x)) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2) / (q.shape[-1] ** 0.5)
        y = (scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(x.shape)
        x = self.norm1(x + self.o(y))
        y = self.down(nn.functional.gelu(self.up(x)))
        return self.norm2(x + y)


class Lstm(nn.Module):
    """Embedding, bidirectional LSTM, classifier on the last step."""

    def __init__(self, vocab=500, dim=32, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 5)

    def forward(self, ids):
        y, _ = self.lstm(self.embed(ids))
        return self.head(y[:, -1])


def conv_block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out), nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        pairs = list(zip((3,) + widths, widths))
        self.down = nn.ModuleList(conv_block(a, b) for a, b in pairs)
        self.mid = conv_block(widths[-1], 2 * widths[-1])
        ups = [(2 * w, w) for w in reversed(widths)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2)
                                for a, b in ups)
        self.join = nn.ModuleList(conv_block(a, b) for a, b in ups)
        self.head = nn.Conv2d(widths[0], 4, 1)

    def forward(self, x):
        kept = []
        for block in self.down:
            kept.append(block(x))
            x = nn.functional.max_pool2d(kept[-1], 2)
        x = self.mid(x)
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


class Swish(nn.Module):
    """Activations that exporters spell out, around plain convolutions."""

    def __init__(self):
        super().__init__()
        self.conv = nn.ModuleList(nn.Conv2d(8 if i else 3, 8, 3, padding=1,
                                            bias=False) for i in range(5))
        self.bn = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(5))
        self.act = nn.ModuleList([nn.SiLU(), nn.Hardswish(), nn.ReLU6(),
                                  nn.GELU(), nn.GELU(approximate='tanh')])
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for conv, bn, act in zip(self.conv, self.bn, self.act):
            x = act(bn(conv(x)))
        return self.head(x.mean((2, 3)))


class Vit(nn.Module):
    """Patches, class token, pre-norm blocks; attention written out."""

    def __init__(self, dim=48, heads=3, depth=2, size=32, patch=8):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.place = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1,
                                              dim))
        self.blocks = nn.ModuleList(BertBlock(dim, heads)
                                    for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Plain(nn.Module):
    """The twin of what export_tf.py builds in TensorFlow."""

    def __init__(self):
        super().__init__()
        self.stem = conv_block(3, 16)
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
            nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 2)
        x = nn.functional.relu(x + self.deep(x))
        return self.head(x.mean((2, 3))).softmax(-1)


def vit_small():
    from torchvision.models.vision_transformer import VisionTransformer
    return VisionTransformer(image_size=64, patch_size=16, num_layers=3,
                             num_heads=4, hidden_dim=64, mlp_dim=128,
                             num_classes=10)


def tv(name, **kwargs):
    def make():
        import torchvision
        return getattr(torchvision.models, name)(weights=None, **kwargs)
    return make


def image(size=224):
    return lambda: torch.zeros(1, 3, size, size)


def tokens(length=16):
    return lambda: torch.zeros(1, length, dtype=torch.int64)


# name: (module, input)
NETS = {
    'resnet18': (tv('resnet18'), image()),
    'mobilenet_v2': (tv('mobilenet_v2'), image()),
    'mobilenet_v3_small': (tv('mobilenet_v3_small'), image()),
    'efficientnet_b0': (tv('efficientnet_b0'), image()),
    'densenet121': (tv('densenet121'), image()),
    'squeezenet1_1': (tv('squeezenet1_1'), image()),
    'shufflenet_v2_x0_5': (tv('shufflenet_v2_x0_5'), image()),
    'googlenet': (tv('googlenet', aux_logits=False, init_weights=False),
                  image()),
    'regnet_y_400mf': (tv('regnet_y_400mf'), image()),
    'mnasnet0_5': (tv('mnasnet0_5'), image()),
    'convnext_tiny': (tv('convnext_tiny'), image()),
    'swin_t': (tv('swin_t'), image()),
    'vit_small': (vit_small, image(64)),
    'vit_plain': (Vit, image(32)),
    'unet': (UNet, image(64)),
    'bert': (Bert, tokens()),
    'lstm': (Lstm, tokens()),
    'plain': (Plain, image(32)),
    'activations': (Swish, image(32)),
}
