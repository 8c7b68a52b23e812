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
from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: E402
from sklearn.gaussian_process.kernels import (  # noqa: E402
    RBF, ConstantKernel, WhiteKernel)
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

def peer_kernel(theta, group):
    return (ConstantKernel(theta[0], (1e-6, 1e6)) *
            RBF(theta[2:][group], (1e-4, 1e5)) +
            WhiteKernel(theta[1], (1e-9, 1e3)))


def ask_gp_fixed(asker, judge, r):
    for n, d, groups, m in ((10, 1, 1, 7), (50, 8, 2, 300), (200, 14, 14, 50),
                            (2, 3, 3, 5)):
        group = np.arange(d) % groups
        theta = np.concatenate([[r.uniform(.5, 5), 10 ** r.uniform(-4, 0)],
                                r.uniform(.5, 4, groups)])
        x, at = r.normal(size=(n, d)), 1.5 * r.normal(size=(m, d))
        y = np.sin(x.sum(axis=1)) + .1 * r.normal(size=n) + 90

        def check(answer, theta=theta, group=group, x=x, y=y, at=at, m=m):
            peer = GaussianProcessRegressor(
                peer_kernel(theta, group), alpha=0, optimizer=None).fit(
                    x, y - y.mean())
            mean, sd = peer.predict(at, return_std=True)
            what = f"gp {x.shape}, {theta.size - 2} lengths"
            judge.same("gp", what + " likelihood", answer.take(),
                       peer.log_marginal_likelihood_value_, 1e-6)
            judge.same("gp", what + " parameters", answer.take(theta.size),
                       theta, 1e-12)
            judge.same("gp", what + " mean", answer.take(m),
                       mean + y.mean(), 1e-6, 1)
            judge.same("gp", what + " deviation", np.sqrt(answer.take(m)),
                       sd, 1e-6, 1)
        asker.ask("gp", check, n, d, m, groups, 1, 0, group, theta, x, y, at)


def ask_gp_search(asker, judge, r):
    """No lower a likelihood than scikit-learn finds from five starts."""
    for n, d in ((50, 3), (50, 14), (120, 6)):
        x = r.normal(size=(n, d))
        y = (np.sin(2 * x[:, 0]) + .5 * x[:, 1] + .2 * r.normal(size=n)) * 3

        def check(answer, x=x, y=y, n=n, d=d):
            peer = GaussianProcessRegressor(
                peer_kernel(np.ones(2 + d), np.arange(d)), alpha=0,
                n_restarts_optimizer=4, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                peer.fit(x, y - y.mean())
            have, want = answer.take(), peer.log_marginal_likelihood_value_
            judge.check(have >= want - .01, f"gp search {x.shape}: log "
                        f"likelihood {have:.4f}, scikit-learn's {want:.4f}")
        asker.ask("gp", check, n, d, 1, d, 0, 0, np.arange(d), x, y, x[:1])


def log_posterior(theta, group, x, y, prior):
    """Of the logarithms of signal, noise and lengths, but for constants."""
    noisy = np.diag(np.full(len(y), np.exp(theta[1])))
    z = x / np.exp(theta[2:])[group]
    d2 = np.square(z[:, None] - z[None]).sum(axis=2)
    cov = np.exp(theta[0] - d2 / 2) + noisy
    low = np.linalg.cholesky(cov)
    half = np.linalg.solve(low, y)
    value = -half @ half / 2 - np.log(np.diag(low)).sum()
    value -= len(y) / 2 * np.log(2 * np.pi)
    centre, sd = np.empty(len(theta)), np.empty(len(theta))
    centre[:2] = prior[:2, 0] + np.log(y.var())
    for g in range(len(theta) - 2):
        part = x[:, group == g]
        d2 = np.square(part[:, None] - part[None]).sum(axis=2)
        median = np.median(d2[np.triu_indices(len(y), 1)])
        centre[2 + g] = prior[2, 0] + np.log(median) / 2
    sd[:2], sd[2:] = prior[:2, 1], prior[2, 1]
    return value, value - np.square((theta - centre) / sd).sum() / 2


def ask_gp_prior(asker, judge, r):
    """The likelihood with a prior: no lower than scipy finds from many starts,
    and flat there."""
    prior = np.array([[0, 1.5], [-2.3, 1], [.7, 1]])
    for n, d, groups in ((10, 6, 2), (50, 9, 3), (51, 4, 4)):
        group = np.arange(d) % groups
        x = r.normal(size=(n, d)) * 10 ** r.uniform(-1, 1, groups)[group]
        y = 3 * np.sin(x[:, 0] / x[:, 0].std()) + r.normal(size=n) + 90

        def check(answer, n=n, d=d, groups=groups, group=group, x=x, y=y):
            def fall(theta):
                return -log_posterior(theta, group, x, y - y.mean(), prior)[1]
            likelihood = answer.take()
            theta = np.log(answer.take(2 + groups))
            at = log_posterior(theta, group, x, y - y.mean(), prior)
            what = f"gp with a prior {x.shape}, {groups} lengths"
            judge.same("gp", what + " likelihood", likelihood, at[0], 1e-6)
            for k in range(len(theta)):
                step = np.eye(len(theta))[k] * 1e-5
                slope = (fall(theta + step) - fall(theta - step)) / 2e-5
                judge.check(abs(slope) < .01, f"{what}: slope {slope:g} of "
                            f"parameter {k}")
            draws = np.random.default_rng(7)
            best = min(optimize.minimize(
                fall, theta + draws.normal(size=len(theta))).fun
                for _ in range(3))
            judge.check(at[1] >= -best - .01, f"{what}: {at[1]:.4f}, scipy "
                        f"finds {-best:.4f}")
        asker.ask("gp", check, n, d, 1, groups, 0, 1, group, prior, x, y,
                  x[:1])


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
                ask_gp_prior, ask_fcm):
        ask(asker, judge, np.random.default_rng(1))
    asker.run(sys.argv[1])
    print("worst errors: " + ", ".join(f"{k} {v:.1e}"
                                       for k, v in judge.worst.items()))
    judge.done()


if __name__ == "__main__":
    main()
