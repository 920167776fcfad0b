"""The command line of stanrovi."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command ``stanrovi``."""
    try:
        from stanrovi_cli.supervisor import supervised
    except OSError as error:  # no more files may be open (ulimit -n)
        sys.exit(f"Error: stanrovi cannot be loaded ({error}).")
    supervised(_run)


def _run() -> None:
    from stanrovi_cli.app import cli

    cli(prog_name="stanrovi")
