"""The application, and what its commands share."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import recllm

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recommendations from catalog text and events, with reasons that can be checked.",
)

Items = Annotated[Path, typer.Option("--items", help="The catalog: csv, parquet, jsonl …, also packed.")]
Events = Annotated[Path, typer.Option("--events", help="The event log: csv, parquet, jsonl …, also packed.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="The folder that `recllm fit` saved.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to the standard output.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda …")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        typer.echo(f"recllm {recllm.__version__}")
        raise typer.Exit


def duration(seconds: float) -> str:
    """In seconds, or in minutes and seconds."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def write_json(value: Any) -> None:
    """To the standard output, for people and programs; a number that is not finite becomes null."""
    typer.echo(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
