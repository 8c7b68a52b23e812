#!/usr/bin/env python3
"""The learner's parts without networks against scipy, scikit-learn and numpy.

usage: stats_numpy.py STATS_ANSWERS

Metrics and their bootstrap to 1e-9; principal components, ridge, Gaussian
process and fuzzy c-means to 1e-6 of the size of what is compared.
"""
import os
import subprocess
import sys
import warnings

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
from support import Tally, need  # noqa: E402

need("numpy", "scipy", "sklearn")
import numpy as np  # noqa: E402
from scipy import optimize, stats  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.gaussian_process.kernels import Matern  # noqa: E402
from sklearn.linear_model import Ridge, RidgeCV  # noqa: E402
from sklearn.metrics import ndcg_score  # noqa: E402

MASK = (1 << 64) - 1


class Asker:
    """Collects requests, each with the function that judges its answer."""

    def __init__(self):
        self.text, self.judges = [], []

    def ask(self, name, judge, *numbers):
        flat = np.concatenate([np.ravel(np.asarray(x, dtype=float))
                               for x in numbers])
        self.text.append(name + " " + " ".join(map(repr, flat.tolist())))
        self.judges.append(judge)

    def run(self, program):
        out = subprocess.run([program], input="\n".join(self.text) + "\n",
                             capture_output=True, text=True)
        lines = out.stdout.splitlines()
        if out.returncode or len(lines) != len(self.judges):
            print(f"{program}: exit {out.returncode}, {len(lines)} lines of "
                  f"{len(self.judges)}; {lines[-1:]} {out.stderr}")
            sys.exit(1)
        for judge, line in zip(self.judges, lines):
            judge(Answer(line))


class Answer:
    def __init__(self, line):
        self.x, self.at = np.array([float(w) for w in line.split()]), 0

    def take(self, *shape):
        size = int(np.prod(shape, dtype=int))
        part = self.x[self.at:self.at + size]
        self.at += size
        assert len(part) == size, "the answer is too short"
        return part.reshape(shape) if shape else part[0]


class Judge(Tally):
    def __init__(self, what):
        super().__init__(what)
        self.worst = {}

    def same(self, kind, what, have, want, tolerance, scale=None):
        """|have - want| <= tolerance * scale; NaN only where it is wanted."""
        have, want = np.asarray(have), np.asarray(want)
        if (np.isnan(have) != np.isnan(want)).any():
            self.check(False, f"{what}: {have} for {want}")
            return
        have, want = np.nan_to_num(have), np.nan_to_num(want)
        if scale is None:
            scale = max(1.0, float(np.abs(want).max(initial=0)))
        off = float(np.abs(have - want).max(initial=0)) / scale
        self.worst[kind] = max(self.worst.get(kind, 0), off)
        self.check(off <= tolerance, f"{what}: off by {off:g}")


# ---- metrics ----

def mix(x):
    x ^= x >> 30
    x = x * 0xbf58476d1ce4e5b9 & MASK
    x ^= x >> 27
    x = x * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def draws(seed, stream, n):
    """The generator of base/rng.c, written again."""
    golden = 0x9e3779b97f4a7c15
    key = mix(seed + golden & MASK) ^ mix(
        stream * 0xd1342543de82ef95 + 1 & MASK)
    counter, reject, out = 0, (1 << 32) % n, []
    while len(out) < n:
        counter = counter + golden & MASK
        m = (mix(counter ^ mix(key + counter & MASK)) >> 32) * n
        if m & 0xffffffff >= reject:
            out.append(m >> 32)
    return np.array(out)


def constant(x):
    return len(x) < 2 or (x == x[0]).all()


def srcc(y, p, k):
    return (np.nan if constant(y) or constant(p)
            else stats.spearmanr(y, p).statistic)


def kendall(y, p, k):
    return (np.nan if constant(y) or constant(p)
            else stats.kendalltau(y, p).statistic)


def ndcg(y, p, k):
    if constant(y):
        return np.nan
    gain = 2 ** (20 * (y - y.min()) / (y.max() - y.min())) - 1
    return ndcg_score([gain], [p], k=k)


METRICS = [("mae", lambda y, p, k: np.abs(y - p).mean()), ("srcc", srcc),
           ("kt", kendall), ("ndcg", ndcg)]


def metrics_cases(r):
    for n in (2, 3, 5, 17, 100, 1000):
        for levels in (2, 4, 30, None):
            y, noise = r.normal(size=n), r.normal(size=n)
            p = y * r.choice([-1, .3, 3]) + noise
            if levels:
                y, p = np.round(y * levels / 3), np.round(p * levels / 3)
            yield 90 + y, p
    yield np.arange(6.), np.zeros(6)
    yield np.ones(6), np.arange(6.)


def ask_metrics(asker, judge, r):
    for case, (y, p) in enumerate(metrics_cases(r)):
        n, seed, resamples = len(y), 3 + case, 40 if len(y) > 200 else 150
        k = int(r.choice([1, 10, 50]))
        drawn = [draws(seed, s, n) for s in range(resamples)]

        def check(answer, y=y, p=p, k=k, drawn=drawn, case=case):
            for name, f in METRICS:
                what = f"{name} of case {case} (n = {len(y)})"
                have = answer.take(3)
                judge.same("metrics", what, have[0], f(y, p, k), 1e-9)
                values = np.array([f(y[d], p[d], k) for d in drawn])
                values = values[~np.isnan(values)]
                want = (np.percentile(values, [5, 95]) if len(values)
                        else [np.nan, np.nan])
                judge.same("bootstrap", what + " bootstrap", have[1:], want,
                           1e-9)
        asker.ask("metrics", check, n, k, resamples, seed, y, p)


# ---- principal components, ridge ----

def ask_pca(asker, judge, r):
    for n, d, k in ((30, 4, 4), (1300, 20, 7), (513, 1, 1), (40, 40, 32)):
        x = r.normal(size=(n, d)) @ r.normal(size=(d, d)) + 10 * r.normal(
            size=d)

        def check(answer, x=x, n=n, d=d, k=k):
            peer = PCA(n_components=k, svd_solver="full").fit(x)
            mean, comp = answer.take(d), answer.take(k, d)
            variance = answer.take(k)
            what = f"pca ({n}, {d}) to {k}"
            top = np.abs(comp).argmax(axis=1)
            sign = np.sign(peer.components_[np.arange(k), top])
            want = peer.components_ * sign[:, None]
            judge.same("pca", what + " mean", mean, peer.mean_, 1e-6)
            judge.same("pca", what + " components", comp, want, 1e-6)
            judge.check((comp[np.arange(k), top] > 0).all(), what + " signs")
            judge.same("pca", what + " variance", variance,
                       peer.explained_variance_, 1e-6)
            z = (x - peer.mean_) @ want.T
            judge.same("pca", what + " scores", answer.take(n, k), z, 1e-6)
            judge.same("pca", what + " whitened", answer.take(n, k),
                       z / np.sqrt(peer.explained_variance_), 1e-6)
        asker.ask("pca", check, n, d, k, x)


def ask_ridge(asker, judge, r):
    lambdas = 10.0 ** np.arange(-4, 5)
    for n, d in ((12, 3), (200, 6), (30, 29), (20, 50)):
        for standardise in (0, 1):
            x = r.normal(size=(n, d)) * 10 ** r.uniform(-1, 1, d) + 5
            y = x @ r.normal(size=d) + 3 * r.normal(size=n) + 70

            def check(answer, x=x, y=y, n=n, d=d, standardise=standardise):
                scale = x.std(axis=0) if standardise else np.ones(d)
                z = (x - x.mean(axis=0)) / scale
                # scikit-learn for which, plain refits for the score
                peer = RidgeCV(lambdas).fit(z, y)
                lam, press, intercept = answer.take(3)
                what = f"ridge ({n}, {d}), standardised {standardise}"
                judge.same("ridge", what + " lambda", lam, peer.alpha_, 1e-12)
                w = peer.coef_ / scale
                judge.same("ridge", what + " weights", answer.take(d), w,
                           1e-6)
                judge.same("ridge", what + " intercept", intercept,
                           peer.intercept_ - w @ x.mean(axis=0), 1e-6)
                errors = []
                for i in range(n):
                    keep = np.arange(n) != i
                    left = Ridge(lam).fit(z[keep], y[keep])
                    errors.append(y[i] - left.predict(z[i:i + 1])[0])
                judge.same("ridge", what + " press", press,
                           np.mean(np.square(errors)), 1e-6)
            asker.ask("ridge", check, n, d, standardise, len(lambdas),
                      lambdas, x, y)


# ---- Gaussian process ----

def signals(groups):
    return groups + 1 if groups > 1 else 1


def covariance(theta, columns, a, b):
    """Each group alone, and all of them together; theta: noise, signals,
    lengths."""
    groups, at, parts = len(columns), 0, []
    for k, width in enumerate(columns):
        length = theta[1 + signals(groups) + k]
        parts.append((a[:, at:at + width] / length,
                      b[:, at:at + width] / length))
        at += width
    if groups > 1:
        parts.append([np.hstack(side) for side in zip(*parts)])
    matern = Matern(1, nu=2.5)
    return sum(theta[1 + k] * matern(*part) for k, part in enumerate(parts))


def log_likelihood(theta, columns, x, y):
    cov = covariance(theta, columns, x, x) + theta[0] * np.eye(len(y))
    return stats.multivariate_normal(np.zeros(len(y)), cov,
                                     allow_singular=True).logpdf(y)


def ask_gp_fixed(asker, judge, r):
    for n, columns, m in ((10, [1], 7), (50, [3, 5], 300),
                          (200, [1] * 14, 50), (2, [1, 2], 5)):
        d, groups = sum(columns), len(columns)
        theta = np.concatenate([[10 ** r.uniform(-4, 0)],
                                r.uniform(.5, 5, signals(groups)),
                                r.uniform(.5, 4, groups)])
        x, at = r.normal(size=(n, d)), 1.5 * r.normal(size=(m, d))
        y = np.sin(x.sum(axis=1)) + .1 * r.normal(size=n) + 90

        def check(answer, theta=theta, columns=columns, x=x, y=y, at=at, m=m):
            cov = covariance(theta, columns, x, x) + theta[0] * np.eye(len(y))
            far = covariance(theta, columns, at, x)
            mean = y.mean() + far @ np.linalg.solve(cov, y - y.mean())
            one = theta[:1 + signals(len(columns))].sum()
            variance = one - (far * np.linalg.solve(cov, far.T).T).sum(axis=1)
            what = f"gp {x.shape}, {len(columns)} groups"
            judge.same("gp", what + " likelihood", answer.take(),
                       log_likelihood(theta, columns, x, y - y.mean()), 1e-6)
            judge.same("gp", what + " parameters", answer.take(theta.size),
                       theta, 1e-12)
            judge.same("gp", what + " mean", answer.take(m), mean, 1e-6, 1)
            judge.same("gp", what + " variance", answer.take(m), variance,
                       1e-6, 1)
        asker.ask("gp", check, n, d, m, groups, 1, columns, theta, x, y, at)


PRIOR = np.array([[-2.3, 1], [0, 1.5], [.7, 1]])  # noise, signals, lengths


def gp_centre(columns, x, y):
    """Of the prior: the logarithms of all parameters, and deviations."""
    groups, at = len(columns), 0
    centre = [PRIOR[0, 0] + np.log(y.var())]
    centre += [PRIOR[1, 0] + np.log(y.var())] * signals(groups)
    for width in columns:
        part = x[:, at:at + width]
        d2 = np.square(part[:, None] - part[None]).sum(axis=2)
        centre.append(PRIOR[2, 0] +
                      np.log(np.median(d2[np.triu_indices(len(y), 1)])) / 2)
        at += width
    return np.array(centre), np.repeat(PRIOR[:, 1],
                                       [1, signals(groups), groups])


def ask_gp_search(asker, judge, r):
    """The likelihood with the prior: no lower than scipy finds from the
    prior's centre, and flat there."""
    for n, columns in ((10, [4, 2]), (50, [3, 3, 3]), (51, [1, 1, 1, 1]),
                       (60, [5]), (2, [2, 2])):
        d, groups = sum(columns), len(columns)
        scale = np.repeat(10 ** r.uniform(-1, 1, groups), columns)
        x = r.normal(size=(n, d)) * scale
        y = 3 * np.sin(x[:, 0] / x[:, 0].std()) + r.normal(size=n) + 90

        def check(answer, columns=columns, x=x, y=y):
            y = y - y.mean()
            centre, sd = gp_centre(columns, x, y)

            def fall(theta):
                return (np.square((theta - centre) / sd).sum() / 2 -
                        log_likelihood(np.exp(theta), columns, x, y))
            likelihood = answer.take()
            theta = answer.take(len(centre))
            what = f"gp search {x.shape}, {len(columns)} groups"
            judge.same("gp", what + " likelihood", likelihood,
                       log_likelihood(theta, columns, x, y), 1e-6)
            theta = np.log(theta)
            for k in range(len(theta)):
                step = np.eye(len(theta))[k] * 1e-4
                slope = (fall(theta + step) - fall(theta - step)) / 2e-4
                judge.check(abs(slope) < .01, f"{what}: slope {slope:g} of "
                            f"parameter {k}")
            best = optimize.minimize(fall, centre).fun
            judge.check(fall(theta) <= best + .01, f"{what}: {fall(theta):.4f},"
                        f" scipy finds {best:.4f}")
        asker.ask("gp", check, n, d, 1, groups, 0, columns, PRIOR, x, y, x[:1])


# ---- fuzzy c-means ----

def memberships(x, v, m):
    d2 = np.square(x[:, None, :] - v[None, :, :]).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (d2[:, :, None] / d2[:, None, :]) ** (1 / (m - 1))
        u = 1 / ratio.sum(axis=2)
    zero = d2 == 0
    at = zero.any(axis=1)
    u[at] = zero[at] / zero[at].sum(axis=1, keepdims=True)
    return u


def fcm(x, v, m, max_iter):
    u, change = memberships(x, v, m), np.inf
    for k in range(1, max_iter + 1):
        w = u ** m
        v = w.T @ x / w.sum(axis=0)[:, None]
        last, u = u, memberships(x, v, m)
        change = np.abs(u - last).max()
        if change <= 1e-9:
            break
    return v, u, k, change


def ask_fcm(asker, judge, r):
    for n, d, c, m, limit in ((40, 2, 3, 2, 10000), (300, 5, 4, 2.5, 10000),
                              (300, 5, 4, 3, 10000), (300, 5, 4, 3.5, 10000),
                              (300, 5, 4, 4, 10000), (700, 32, 16, 4, 10000),
                              (600, 3, 5, 1.2, 10000), (257, 1, 2, 7, 10000),
                              (500, 8, 10, 1.5, 30)):
        x = r.normal(size=(n, d)) + 3 * r.integers(0, 3, size=(n, 1))
        start = x[r.permutation(n)[:c]]  # points: distance 0 in the first pass
        at = np.concatenate([r.normal(size=(20, d)), x[:3]])

        def check(answer, x=x, d=d, c=c, m=m, limit=limit, start=start,
                  at=at):
            v, u, count, change = fcm(x, start, m, limit)
            what = f"fcm {x.shape}, C = {c}, m = {m}"
            have = answer.take(2)
            centroid = answer.take(c, d)
            judge.check(abs(have[0] - count) <= 1 + count // 50, what +
                        f": {have[0]:.0f} iterations, numpy takes {count}")
            judge.same("fcm", what + " centroids", centroid, v, 1e-6)
            judge.same("fcm", what + " memberships", answer.take(len(x), c),
                       u, 1e-6)
            judge.same("fcm", what + " of new points",
                       answer.take(len(at), c), memberships(at, centroid, m),
                       1e-9)
        asker.ask("fcm", check, n, d, c, m, limit, len(at), start, x, at)


def main():
    warnings.simplefilter("error")
    asker, judge = Asker(), Judge("against scipy, scikit-learn and numpy")
    for ask in (ask_metrics, ask_pca, ask_ridge, ask_gp_fixed, ask_gp_search,
                ask_fcm):
        ask(asker, judge, np.random.default_rng(1))
    asker.run(sys.argv[1])
    print("worst errors: " + ", ".join(f"{k} {v:.1e}"
                                       for k, v in judge.worst.items()))
    judge.done()


if __name__ == "__main__":
    main()
