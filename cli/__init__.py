"""The command line of stanrovi."""

from __future__ import annotations


def main() -> None:
    """Run the command ``stanrovi``."""
    from stanrovi_cli.app import cli

    cli(prog_name="stanrovi")
