"""`recllm validate` and `recllm fit`."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import recllm
from recllm.cli.app import (
    AsJson,
    Budget,
    Config,
    Device,
    Events,
    Items,
    Seed,
    command,
    duration,
    settings,
    size_of,
    write_json,
)
from recllm.cli.files import Files, check_folder
from recllm.cli.spread import WORKERS, Executor, workers_at
from recllm.terminal import ProgressBar, say


@command()
def validate(
    *,
    items: Annotated[Path | None, typer.Option("--items", help="A catalog.")] = None,
    events: Annotated[Path | None, typer.Option("--events", help="An event log.")] = None,
    files: Files,
    as_json: AsJson = False,
) -> None:
    """Read a catalog, an event log or both, and report what would be dropped and why."""
    if items is None and events is None:
        raise recllm.DataError("there is nothing to read; give --items FILE, --events FILE, or both")
    catalog = None if items is None else files.catalog(items)
    log = None if events is None else files.events(events)
    if catalog is not None and log is not None:
        log = log.known_items(catalog)
    reports = {name: table.report for name, table in (("items", catalog), ("events", log)) if table is not None}
    if as_json:
        write_json({name: report.to_dict() for name, report in reports.items()})
    else:
        typer.echo("\n".join(map(str, reports.values())))


@command()
def fit(
    *,
    items: Items,
    events: Events,
    out: Annotated[Path, typer.Option(help="The folder to save the model to.")],
    config: Config = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Fine-tune the text encoder on the catalog, if that pays.")
    ] = False,
    prompts: Annotated[
        str | None,
        typer.Option(help="What puts items into words: auto, a folder with a promoted prompt, a file or a name."),
    ] = None,
    users: Annotated[Path | None, typer.Option("--users", help="Profiles: a file with user_id and fields.")] = None,
    budget: Budget = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the state of training in this folder; run again to go on.")
    ] = None,
    executor: Executor = None,
    trainers: Annotated[
        int, typer.Option(min=1, help="Workers that train the transformer together.", rich_help_panel=WORKERS)
    ] = 1,
    files: Files,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn from a catalog and its events, and save the model."""
    check_folder(out)
    asked = dataclasses.replace(settings(config), finetune="lora") if finetune else settings(config)
    options: dict[str, Any] = {"seed": seed, "device": device, "budget": budget, "checkpoint": checkpoint}
    recllm.TrainOptions(**options)  # or refused, before files are read
    catalog = files.catalog(items)
    log, people = files.events(events).known_items(catalog), files.profiles(users)
    if not as_json:
        say(f"{catalog.report}\n{log.report}")
    rec = recllm.Recommender(asked)
    started = time.monotonic()
    with ProgressBar(quiet=as_json) as progress, workers_at(executor) as workers:
        watched = recllm.TrainOptions(**options, progress=progress, executor=workers, trainers=trainers)
        rec.fit(catalog, log, options=watched, prompts=prompts, users=people)
    seconds = time.monotonic() - started
    rec.save(out)
    _tell(rec, out, seconds, {"items": catalog.report.to_dict(), "events": log.report.to_dict()} if as_json else None)


def _tell(rec: "recllm.Recommender", out: Path, seconds: float, reports: dict[str, Any] | None) -> None:
    """What was made: as JSON beside the reports on files, or in words."""
    card = (out / "README.md").read_text(encoding="utf-8")
    verdict, notes = rec.report.stopped.get("fine-tuning"), list(rec.report.notes)
    if reports is not None:
        told = {} if verdict is None else {"finetuning": verdict}
        made = {"model": str(out), "bytes": size_of(out), "seconds": round(seconds, 1)}
        write_json({**reports, **told, **made, "card": card, "notes": notes})
        return
    lines = [card.partition("\n## ")[0].strip()]  # the rest of the card is in the folder
    lines += [] if verdict is None else [f"Text encoder {verdict}."]
    lines += [f"Note: {note}" for note in notes]
    lines += [f"Learned in {duration(seconds)}; saved to {out} ({size_of(out) / 1e6:.1f} MB)."]
    typer.echo("\n\n".join(lines))
