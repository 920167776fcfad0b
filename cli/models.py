"""``stanrovi models``: what is bundled."""

from __future__ import annotations

import click

from stanrovi_cli import console
from stanrovi_cli.options import json_option
from stanrovi_cli.parsing import Command


@click.command("models", cls=Command)
@json_option
def command(as_json: bool) -> None:
    """List the bundled models, one line each."""
    import stanrovi_stan_models as bundled

    if as_json:
        console.print_json(
            {
                "models": [
                    {
                        "name": name,
                        "summary": bundled.summary(name),
                        "program": bundled.program(name),
                        "data": bundled.data(name),
                    }
                    for name in bundled.names()
                ]
            }
        )
        return
    width = max(map(len, bundled.names()))
    for name in bundled.names():
        click.echo(f"{name:<{width}}  {bundled.summary(name)}")
