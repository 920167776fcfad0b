"""``stanrovi bench``: models x methods x seeds."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import click

from stanrovi.arguments import MAX_SEED
from stanrovi.errors import ModelError, StanroviError
from stanrovi_cli import console
from stanrovi_cli.options import draws_option, json_option, methods_option


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


@click.command("bench")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@methods_option
@click.option("--seeds", type=Seeds(), default="0", show_default=True, help="Such as 0-9 or 1,5.")
@draws_option
@json_option
def command(
    models: tuple[str, ...],
    methods: tuple[str, ...],
    seeds: tuple[int, ...],
    draws: int,
    as_json: bool,
) -> None:
    """Fit several models by several methods with several seeds.

    Without MODEL all bundled models are taken. A .stan file takes its data from the
    file NAME.data.json beside it, where there is one. A fit that fails becomes a line
    with its error, and the exit code is 1.
    """
    import stanrovi_stan_models as bundled
    from stanrovi.stan.locate import locate

    models = models or bundled.names()
    for model in models:  # a wrong name is told before the first fit
        with suppress(ModelError):
            locate(model)
    runs = [_run(*combination, draws) for combination in product(models, methods, seeds)]
    if as_json:
        console.print_json({"runs": runs})
    else:
        _show(runs)
    if any(run["error"] for run in runs):
        click.get_current_context().exit(1)


def _run(name: str, method: str, seed: int, draws: int) -> dict[str, Any]:
    """Load and fit a model, as ``stanrovi fit`` does, or tell why that failed."""
    from stanrovi import Model
    from stanrovi_cli.fit import run_fit

    data = Path(name.removesuffix(".stan") + ".data.json")
    run = dict.fromkeys(_KEYS) | {"model": Path(name).stem, "method": method, "seed": seed}
    try:
        own = data if name.endswith(".stan") and os.path.isfile(data) else None
        model = Model(name, own, seed=seed)
        run |= {"model": model.name, "dim": model.dim, "engine": model.engine}
        result = run_fit(model, None, method, seed, draws).result
    except StanroviError as error:
        return run | {"error": str(error)}
    run |= {key: getattr(result, key) for key in _RESULT_KEYS}
    return run | {"verdict": result.verdict.name}


_RESULT_KEYS = ("status", "elbo", "elbo_se", "khat", "n_gradients", "seconds")
_KEYS = ("model", "dim", "engine", "method", "seed", *_RESULT_KEYS, "verdict", "error")


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
