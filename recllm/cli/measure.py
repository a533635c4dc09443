"""`recllm evaluate`."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

import recllm
import recllm.errors
from recllm.cli.app import AsJson, Budget, Config, Device, Events, Items, command, settings, write_json
from recllm.cli.files import Files, check_file
from recllm.cli.spread import Executor, workers_at
from recllm.terminal import ProgressBar, make_console, say


@final
@dataclass(frozen=True)
class Question:
    """Who is asked what, and who else answers."""

    protocol: Annotated[
        str, typer.Option(help="users, time, early, prequential, basket or cold: who is asked what.")
    ] = "users"
    shots: Annotated[str, typer.Option(help="Numbers of known events, with commas.")] = "0,1,3,5,10,20"
    folds: Annotated[int, typer.Option(min=1, help="Disjoint groups of users to ask, one after the other.")] = 1
    seeds: Annotated[str, typer.Option(help="One evaluation each, with commas.")] = "0"
    baselines: Annotated[str, typer.Option(help="all, none, or names with commas: all,LightGCN.")] = "all"
    square: Annotated[bool, typer.Option("--square", help="Also take apart what the adapters add.")] = False
    sparsity: Annotated[str, typer.Option(help="Shares of the training events, with commas: 0.1,0.3,1.")] = "1"
    cut: Annotated[float, typer.Option(help="Protocol time: share of the events before the cut.")] = 0.8
    test_users: Annotated[Path | None, typer.Option(help="A file with one user id a line: exactly these.")] = None
    rankings: Annotated[Path | None, typer.Option(help="Lists that other programs made for the saved split.")] = None

    def given(self) -> dict[str, Any]:
        """As the library takes it."""
        names = [name.strip() for name in self.baselines.split(",")]
        return {
            "protocol": self.protocol,
            "shots": _numbers(self.shots, "--shots"),
            "folds": self.folds,
            "seeds": _numbers(self.seeds, "--seeds"),
            "baselines": {"all": "all", "none": None}.get(self.baselines, names),
            "square": self.square,
            "sparsity": _numbers(self.sparsity, "--sparsity", float),
            "cut": self.cut,
            "test_users": None if self.test_users is None else _ids(self.test_users),
            "rankings": self.rankings,
        }


@command()
def evaluate(
    *,
    items: Items,
    events: Events,
    config: Config = None,
    model: Annotated[
        Path | None, typer.Option(help="A saved model instead; it must not know the users that are asked.")
    ] = None,
    question: Question,
    save_splits: Annotated[Path | None, typer.Option(help="Write the splits here, for other programs.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep finished parts here; run again to go on.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    budget: Budget = None,
    executor: Executor = None,
    files: Files,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure recommendations for users that training has not seen, beside tuned baselines."""
    if html is not None:
        recllm.errors.require("matplotlib", extra="plots")
    for file in (html, save_splits and save_splits / "x", cache and cache / "x"):
        check_file(file)
    asked: dict[str, Any] = {**question.given(), "save_splits": save_splits, "cache": cache}
    given: Any = settings(config) if model is None else recllm.Recommender.load(model)
    with ProgressBar(quiet=as_json) as progress:
        options = recllm.TrainOptions(device=device, budget=budget, progress=progress)  # refused before files are read
        asked |= {"dataset": _name_of(events), "command": shlex.join(["recllm", *sys.argv[1:]]), "options": options}
        with workers_at(executor) as workers:
            asked["executor"] = workers
            report = recllm.evaluate(given, files.catalog(items), files.events(events), **asked)
    if html is not None:
        report.to_html(html)
    if as_json:
        write_json(report.to_dict())
        return
    make_console().print(report)
    if html is not None:
        say(f"The page is {html}.")


def _ids(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise recllm.DataError(f"{file} is not a UTF-8 text file; wanted one user id a line") from None


def _name_of(events: Path) -> str:
    """The name of a log: of its file, or of the folder where the file is called what every log is called."""
    stem = events.name.partition(".")[0]
    return events.resolve().parent.name if stem in ("interactions", "events", "ratings", "log") else stem


def _numbers(text: str, option: str, kind: Callable[[str], Any] = int) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise recllm.ConfigError(f"{option} {text!r} is not a list of numbers; write for example 1,3,5.") from None
