"""The command line of stanrovi."""

from __future__ import annotations


def main() -> None:
    """Run the command ``stanrovi``."""
    from stanrovi_cli.app import cli
    from stanrovi_cli.signals import heed_signals

    heed_signals()
    cli(prog_name="stanrovi")
