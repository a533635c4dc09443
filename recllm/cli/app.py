"""The application, and what its commands share."""

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import recllm
from recllm.terminal import in_one_sentence

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recommendations from catalog text and events, with reasons that can be checked.",
)

Items = Annotated[Path, typer.Option("--items", help="The catalog: csv, parquet, jsonl …, also packed.")]
Events = Annotated[Path, typer.Option("--events", help="The event log: csv, parquet, jsonl …, also packed.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="The folder that `recllm fit` saved.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the defaults without it.")]
Budget = Annotated[str | None, typer.Option(help="Most time for training, each time: 90s, 10m, 1h.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to the standard output.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda …")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        typer.echo(f"recllm {recllm.__version__}")
        raise typer.Exit


prompts_app = typer.Typer(no_args_is_help=True, help="Prompts as files: look at them, check them, improve them.")
app.add_typer(prompts_app, name="prompts")


def command(name: str | None = None, on: typer.Typer = app) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of an application; a parameter that is a dataclass stands for options, its fields."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        return on.command(name)(in_one_sentence(_with_options_written_out(function)))

    return add


def _with_options_written_out(function: Callable[..., None]) -> Callable[..., None]:
    groups: dict[str, Any] = {}
    options: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        kind: Any = parameter.annotation
        if dataclasses.is_dataclass(kind):
            groups[parameter.name] = kind
            options += inspect.signature(groups[parameter.name]).parameters.values()
        else:
            options.append(parameter)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        function(**given)

    keywords = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def settings(config: Path | None) -> "recllm.RecommenderConfig":
    """Those of a file, or the defaults."""
    return recllm.RecommenderConfig() if config is None else recllm.RecommenderConfig.read(config)


def duration(seconds: float) -> str:
    """In seconds, or in minutes and seconds."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def size_of(folder: Path) -> int:
    """The bytes of the files in a folder, or of a file."""
    return sum(path.stat().st_size for path in (folder.iterdir() if folder.is_dir() else [folder]))


def write_json(value: Any) -> None:
    """To the standard output, for people and programs; a number that is not finite becomes null."""
    typer.echo(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
