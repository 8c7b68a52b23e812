"""What the tests of the learner share: its commands, a small configuration,
tables, and how to run out of disk."""
import csv
import io
import json
import pathlib
import resource

from support import Run, Tally

TESTS = pathlib.Path(__file__).resolve().parent
NETWORKS = 600
MEMBERS = ('kgnn', 'gcn', 'gin', 'cl', 'cl_fcm', 'cl_t', 'cl_fcm_t',
           'cl_pair', 'cl_fcm_pair')
RANKERS = ('cl_pair', 'cl_fcm_pair', 'flops', 'params')
KEYS = ('mae', 'mae80', 'srcc', 'kt', 'ndcg10', 'ndcg50')
CONFIG = '''
members = kgnn,gcn,gin,encoder,cl,cl_fcm,cl_t,cl_fcm_t,cl_pair,cl_fcm_pair
limit = 0
gnn_layers = 3
gnn_width = 16
embed_width = 16
regressor_layers = 2
cl_layers = 2
cl_width = 8
ffn = 16
project_width = 8
batch = 16
epochs = 12
lr = 0.01
pca = 4
fcm_clusters = 4
fcm_m = 2
class_clusters = 3
class_m = 2
head_layers = 2
head_width = 16
class_width = 16
class_out = 4
head_epochs = 8
head_lr = 0.01
finetune_epochs = 5
'''


class Learner:
    def __init__(self, tools, folder):
        self.tool = dict(zip(('zoo', 'train', 'eval', 'predict'), tools))
        self.folder = folder
        self.tally = Tally('learner')
        self.set = folder / 'cells.cgs'
        self.labels = folder / 'labels.csv'
        self.model = folder / 'model.safetensors'
        self.config = self.path('tiny.config', CONFIG)
        self.accuracy = {}

    def path(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, tool, *args):
        return Run([self.tool[tool], *args], timeout=120)

    def good(self, tool, *args):
        r = self.run(tool, *args)
        self.tally.check(r.status == 0, f'{tool} {args}: {r.why()}')
        return r

    def bad(self, text, tool, *args, status=1):
        """One sentence that holds `text`, nothing on standard output."""
        r = self.run(tool, *args)
        lines = r.lines()
        self.tally.check(
            r.status == status and len(lines) == 1 and text in lines[0] and
            not r.out, f'{tool} {args}: status {r.status}, {lines[-3:]}, '
            f'expected "{text}"')

    def train(self, output, *args):
        return self.good('train', self.set, '--config', self.config, '-o',
                         output, '-q', '--threads', 1, *args)

    def judge(self, *args):
        r = self.good('eval', '--model', self.model, '--json', '--threads', 1,
                      *args)
        return [json.loads(line) for line in r.out.splitlines()]

    def predict(self, *args, status=0):
        r = self.run('predict', '--model', self.model, '--json', '--threads',
                     1, *args)
        self.tally.check(r.status == status, f'predict {args}: {r.why()}')
        return [json.loads(line) for line in r.out.splitlines()], r.lines()


def table(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def ranks(x):
    order = sorted(range(len(x)), key=x.__getitem__)
    rank = [0] * len(x)
    for at, i in enumerate(order):
        rank[i] = at
    return rank


def srcc(a, b):
    """Ties count as if they were none: good enough to see an order."""
    a, b = ranks(a), ranks(b)
    n = len(a)
    return 1 - 6 * sum((x - y) ** 2 for x, y in zip(a, b)) / (n * (n * n - 1))


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
