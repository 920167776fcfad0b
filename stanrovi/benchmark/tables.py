"""The tables of a benchmark: Markdown, and a line a run as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields

from stanrovi.benchmark.rows import BenchRow, MethodSummary, by_method, median, summarise
from stanrovi.plots.figure import Plot

Cell = Callable[[Sequence[BenchRow]], str]

_METHODS = """A line for each method, over all its runs. W1 is the Wasserstein-1 distance of the
worst marginal to the reference, in sds of the reference. A run is wrong where a marginal differs by
more than noise and more than matters (W1 above 0.1, or sds by a factor above 1.2); it is doubted
where its own verdict is not `ok`. Gradients and seconds are medians."""


def as_csv(rows: Sequence[BenchRow]) -> str:
    """Write a line a run, columns as in the JSON; what is unknown is empty."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, [item.name for item in fields(BenchRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return file.getvalue()


def as_markdown(rows: Sequence[BenchRow], plots: Sequence[Plot]) -> str:
    """Write a line a method, then posteriors by methods for each quantity, then what failed."""
    methods = [summarise(*group) for group in by_method(rows).items()]
    parts = ["# Benchmark", _METHODS, _method_table(methods)]
    for title, words, cell in _QUANTITIES:
        table = _by_posterior(rows, cell)
        if table is not None:
            parts += [f"## {title}", words, table]
    parts += [f"![{plot.alt}]({plot.name}.svg)\n\n*{plot.caption}*" for plot in plots]
    parts += _listed("References", _references(rows)) + _listed("Failed runs", _failures(rows))
    return "\n\n".join(parts) + "\n"


def _method_table(methods: Sequence[MethodSummary]) -> str:
    head = (
        "method", "runs", "failed", "W1, median", "worst", "right", "wrong", "of these doubted",
        "right, but doubted", "gradients", "seconds", "processor seconds",
    )  # fmt: skip
    return _table(
        head,
        [
            (
                m.method,
                str(m.runs),
                str(m.failed),
                _number(m.w1_median, ".3f"),
                _number(m.w1_worst, ".3f"),
                "" if m.wrong is None else f"{1 - m.wrong / m.graded:.0%} of {m.graded}",
                _number(m.wrong),
                _number(m.wrong_doubted),
                _number(m.right_doubted),
                _number(m.n_gradients),
                _number(m.seconds, ".2f"),
                _number(m.cpu_seconds, ".2f"),
            )
            for m in methods
        ],
    )


def _middle(field: str, style: str) -> Cell:
    """Median over seeds, with the worst in parentheses."""

    def cell(rows: Sequence[BenchRow]) -> str:
        values = [v for row in rows if (v := getattr(row, field)) is not None]
        if not values:
            return ""
        worst = f" ({max(values):{style}})" if len(values) > 1 else ""
        return f"{median(values):{style}}{worst}"

    return cell


def _elbo(rows: Sequence[BenchRow]) -> str:
    values = [row.elbo for row in rows if row.elbo is not None]
    if not values:
        return ""
    worst = f" ({min(values):.2f})" if len(values) > 1 else ""
    return f"{median(values):.2f}{worst}"


def _verdicts(rows: Sequence[BenchRow]) -> str:
    said = Counter(row.verdict for row in rows if row.verdict is not None)
    return ", ".join(f"{n} {name}" for name, n in said.most_common())


_WORST = "Median over seeds, and the largest in parentheses."
_QUANTITIES: tuple[tuple[str, str, Cell], ...] = (
    ("W1 of the worst marginal", _WORST, _middle("w1_max", ".3f")),
    ("Error of the mean", f"The largest of all quantities, in sds. {_WORST}",
     _middle("mean_error_max", ".3f")),
    ("ELBO", "Median over seeds, and the lowest in parentheses.", _elbo),
    ("Gradients", _WORST, _middle("n_gradients", ",.0f")),
    ("Seconds", _WORST, _middle("seconds", ".2f")),
    ("Verdicts", "How many seeds say what of themselves.", _verdicts),
)  # fmt: skip


def _by_posterior(rows: Sequence[BenchRow], cell: Cell) -> str | None:
    """Table of posteriors by methods; None where no run tells anything."""
    groups: dict[tuple[str, str], list[BenchRow]] = {}
    for row in rows:
        groups.setdefault((row.model, row.method), []).append(row)
    cells = {key: cell(group) for key, group in groups.items()}
    if not any(cells.values()):
        return None
    models, methods = (dict.fromkeys(key[i] for key in groups) for i in (0, 1))
    shown = [m for m in methods if any(cells.get((name, m)) for name in models)]
    return _table(
        ("posterior", *shown),
        [(name, *(cells.get((name, m), "") for m in shown)) for name in models],
    )


def _references(rows: Sequence[BenchRow]) -> Iterable[str]:
    told = dict.fromkeys((row.model, row.reference) for row in rows if row.reference is not None)
    return [f"{model}: {reference}" for model, reference in told]


def _failures(rows: Sequence[BenchRow]) -> Iterable[str]:
    told: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        if row.error is not None:
            told.setdefault((row.model, row.method, row.error), []).append(row.seed)
    return [
        f"{model}, {method}, seed {', '.join(map(str, seeds))}: {' '.join(error.split())}"
        for (model, method, error), seeds in told.items()
    ]


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _number(value: float | None, style: str = ",.0f") -> str:
    return "" if value is None or math.isnan(value) else format(value, style)
