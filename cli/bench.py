"""``stanrovi bench``: models x methods x seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stanrovi.arguments import MAX_SEED
from stanrovi.methods import Method
from stanrovi_cli import console
from stanrovi_cli.loading import include_path_option
from stanrovi_cli.options import draws_option, json_option, methods_option
from stanrovi_cli.parsing import Command


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
@methods_option
@click.option("--seeds", type=Seeds(), default="0", show_default=True, help="Such as 0-9 or 1,5.")
@draws_option
@json_option
def command(
    models: tuple[str, ...],
    include_paths: tuple[Path, ...],
    methods: tuple[Method, ...],
    seeds: tuple[int, ...],
    draws: int,
    as_json: bool,
) -> None:
    """Fit several models by several methods with several seeds.

    Without MODEL all bundled models are taken. NAME.stan takes its data from
    NAME.data.json or NAME.json beside it. A fit that fails becomes a line with its
    error, and the exit code is 1.
    """
    from dataclasses import asdict

    import stanrovi_stan_models as bundled
    from stanrovi.runs.fit_rows import fit_many
    from stanrovi_cli.running import run_fit

    rows = fit_many(
        models or bundled.names(),
        methods,
        seeds,
        lambda model, method, seed: run_fit(model, method, seed, draws),
        include_paths,
    )
    runs = [asdict(row) for row in rows]
    if as_json:
        console.print_json({"runs": runs})
    else:
        _show(runs)
    if any(run["error"] for run in runs):
        click.get_current_context().exit(1)


def _show(runs: list[dict[str, Any]]) -> None:
    rows = []
    for run in runs:
        head = run["model"], run["method"], str(run["seed"])
        if run["error"]:
            rows.append((*head, "-", "-", "-", "-", "error"))
        else:
            rows.append(
                (
                    *head,
                    f"{run['elbo']:.2f}",
                    f"{run['khat']:.2f}",
                    console.count(run["n_gradients"]),
                    console.seconds(run["seconds"]),
                    console.verdict(run["verdict"]),
                )
            )
    console.table(("model", "method", "seed", "ELBO", "k-hat", "grads", "s", "verdict"), rows)
    # A program that is rejected fails all its runs for one reason.
    console.warn(dict.fromkeys(f"{r['model']}: {r['error']}" for r in runs if r["error"]))
