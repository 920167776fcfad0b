"""Commands that must fail."""

from __future__ import annotations

from click.testing import CliRunner

from stanrovi_cli.app import cli


def fails(*args: object, code: int) -> str:
    """Run a command that must fail; returns what it says on standard error."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "Error: " in result.stderr
    return result.stderr
