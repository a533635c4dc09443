"""Commands as they are typed, and what is wanted of their answers."""

import json
from typing import Any

from typer.testing import CliRunner

from recllm.cli import app

NEW = "user_id,item_id,timestamp\nmia,i0,1700000000\nmia,i1,1700000001\nu1,i2,1700000002\n"
"""Events of somebody new and of somebody known, as the fixture `rec` writes them to new.csv."""

END = 1_323_388_800.0
"""The last day of the shipped log begins."""


def run(*arguments: str) -> Any:
    # A runner of tests may say how wide its own lines are; recllm shall not believe it.
    return CliRunner(env={"COLUMNS": None}).invoke(app, arguments)


def told(*arguments: str) -> Any:
    """What a command answers as JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refuses(result: Any, *parts: str, code: int = 1) -> None:
    """One line on the standard error, nothing on the other, no traceback."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = " ".join(result.stderr.split())
    if code == 1:
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for part in parts:
        assert part in line
