"""``stanrovi bench``: posteriors x methods x seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import MAX_SEED
from stanrovi.methods import BENCH_METHODS, METHODS, OTHER_SUMMARIES, BenchMethod
from stanrovi_cli import console
from stanrovi_cli.keeping import resume_option
from stanrovi_cli.loading import include_path_option
from stanrovi_cli.options import (
    Name,
    Names,
    Number,
    Whole,
    draws_option,
    folder_option,
    json_option,
    overwrite_option,
)
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.benchmark.posteriors import Posterior
    from stanrovi.benchmark.result import BenchResult
    from stanrovi.benchmark.rows import BenchRow


class Seeds(click.ParamType):
    """Seeds and ranges of them, separated by commas: ``0-9,42``."""

    name = "a-b,c,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the list; each seed counts once."""
        seeds: dict[int, None] = {}
        for part in value.split(","):
            first, dash, last = part.strip().partition("-")
            numbers = [first, last] if dash else [first]
            if not all(word.isdecimal() and len(word) <= len(str(MAX_SEED)) for word in numbers):
                self.fail(f"{part!r} is neither a seed nor a range such as 0-9.", param, ctx)
            low, high = int(first), int(last or first)
            if not low <= high <= MAX_SEED or high - low >= 10_000:
                self.fail(f"{part!r} is no range of at most 10,000 seeds.", param, ctx)
            seeds |= dict.fromkeys(range(low, high + 1))
        return tuple(seeds)


@click.command("bench", cls=Command)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@include_path_option
@folder_option("--posteriordb", help="Folder of posteriordb; MODEL are names or patterns in it.")
@click.option(
    "--methods",
    type=Names(BENCH_METHODS),
    default="mfvi,rovi",
    show_default=True,
    help=f"Methods, separated by commas: those of stanrovi fit ({', '.join(METHODS)}); "
    f"{'; '.join(f'{name}: {words}' for name, words in OTHER_SUMMARIES.items())}.",
)
@click.option("--seeds", type=Seeds(), default="0", show_default=True, help="Such as 0-9 or 1,5.")
@draws_option
@click.option(
    "--reference",
    type=Name(("nuts", "sample")),
    help="Where a posterior brings no reference draws, make them by this first.",
)
@folder_option("--output", help="Folder for the ledger of runs, tables, plots and references.")
@resume_option
@overwrite_option
@click.option(
    "--jobs",
    type=Whole(min=0),
    show_default="as many as processors",
    help="Processes to run in; 0: this one.",
)
@click.option("--dask", metavar="ADDRESS", help="Scheduler of Dask to run on; local: one here.")
@click.option(
    "--time-limit",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Seconds that a run may take.",
)
@json_option
def command(
    models: tuple[str, ...],
    include_paths: tuple[Path, ...],
    posteriordb: Path | None,
    methods: tuple[BenchMethod, ...],
    seeds: tuple[int, ...],
    reference: Any,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run several methods on several models with several seeds.

    MODEL is the name of a bundled model, a .stan file with its data beside it
    (NAME.data.json, NAME.json), or a pair of both, PROGRAM.stan:DATA.json; without
    MODEL all bundled models are taken. With --posteriordb it is a name there or a
    pattern ('eight_schools*'), and without MODEL all are taken.

    Where a posterior has reference draws, each run is measured by them. A run that
    fails becomes a line with its error, and the exit code is 1.
    """
    from stanrovi.benchmark.bench import bench
    from stanrovi_cli.progress import stage

    with stage():
        result = bench(
            _posteriors(models, posteriordb), methods, seeds, reference=reference,
            include_paths=include_paths, progress=True, **settings,
        )  # fmt: skip
    if as_json:
        console.print_json(result.to_dict())
    else:
        _show(result)
        if settings["output"] is not None:
            console.wrote(settings["output"] / "bench.md")
    if any(row.error for row in result.rows):
        click.get_current_context().exit(1)


def _posteriors(models: tuple[str, ...], folder: Path | None) -> tuple[str | Posterior, ...]:
    import stanrovi_stan_models as bundled

    if folder is None:
        return tuple(models or bundled.names())
    from stanrovi.io.posteriordb import PosteriorDatabase

    return tuple(PosteriorDatabase(folder).select(models))


def _show(result: BenchResult) -> None:
    graded = any(row.w1_max is not None for row in result.rows)
    head = ("ELBO", "k-hat", *(("W1",) if graded else ()), "grads", "s", "verdict")
    console.table(
        ("model", "method", "seed", *head),
        [(row.model, row.method, str(row.seed), *_cells(row, graded)) for row in result.rows],
    )
    if graded:
        _show_methods(result)
    # A program that is rejected fails all its runs for one reason.
    console.warn(dict.fromkeys(f"{r.model}: {r.error}" for r in result.rows if r.error))
    unmeasured = (r for r in result.rows if r.reference and r.w1_max is None)
    console.warn(dict.fromkeys(f"{r.model}: not measured. {r.reference}" for r in unmeasured))


def _cells(row: BenchRow, graded: bool) -> tuple[str, ...]:
    w1 = (_number(row.w1_max, ".3f"),) if graded else ()
    said = console.verdict(row.verdict or "-") if row.outcome == "done" else row.outcome
    cost = (_number(row.n_gradients, ",.0f"), _number(row.seconds, ".2f"))
    return (_number(row.elbo, ".2f"), _number(row.khat, ".2f"), *w1, *cost, said)


def _show_methods(result: BenchResult) -> None:
    console.table(
        ("method", "W1", "worst", "wrong", "doubted", "right", "doubted", "grads", "s"),
        [
            (
                m.method,
                _number(m.w1_median, ".3f"),
                _number(m.w1_worst, ".3f"),
                _number(m.wrong, ",.0f"),
                _number(m.wrong_doubted, ",.0f"),
                _number(None if m.wrong is None else m.graded - m.wrong, ",.0f"),
                _number(m.right_doubted, ",.0f"),
                _number(m.n_gradients, ",.0f"),
                _number(m.seconds, ".2f"),
            )
            for m in result.methods
        ],
        "Medians, and how many runs are wrong or right, of these doubted by their verdict",
    )


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
