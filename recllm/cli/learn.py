"""`recllm validate` and `recllm fit`."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import typer

import recllm
from recllm.cli.app import AsJson, Device, Events, Items, Seed, app, duration, write_json
from recllm.cli.files import Columns, Dates, DayFirst, Encoding, ItemColumns, MaxBytes, Reading
from recllm.terminal import ProgressBar, in_one_sentence, say


@app.command()
@in_one_sentence
def validate(
    items: Annotated[Path | None, typer.Option("--items", help="A catalog.")] = None,
    events: Annotated[Path | None, typer.Option("--events", help="An event log.")] = None,
    columns: Columns = None,
    item_columns: ItemColumns = None,
    dates: Dates = None,
    dayfirst: DayFirst = None,
    max_bytes: MaxBytes = None,
    encoding: Encoding = None,
    as_json: AsJson = False,
) -> None:
    """Read a catalog, an event log or both, and report what would be dropped and why."""
    if items is None and events is None:
        raise recllm.DataError("there is nothing to read; give --items FILE, --events FILE, or both")
    reading = Reading(columns, item_columns, dates, dayfirst, max_bytes, encoding)
    catalog = None if items is None else reading.catalog(items)
    log = None if events is None else reading.events(events)
    if catalog is not None and log is not None:
        log = log.known_items(catalog)
    reports = {name: table.report for name, table in (("items", catalog), ("events", log)) if table is not None}
    if as_json:
        write_json({name: report.to_dict() for name, report in reports.items()})
    else:
        typer.echo("\n".join(map(str, reports.values())))


@app.command()
@in_one_sentence
def fit(
    items: Items,
    events: Events,
    out: Annotated[Path, typer.Option(help="The folder to save the model to.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Fine-tune the text encoder on the catalog, if that pays.")
    ] = False,
    budget: Annotated[str | None, typer.Option(help="Most time for training: 90s, 10m, 1h.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the state of training in this folder; run again to go on.")
    ] = None,
    columns: Columns = None,
    item_columns: ItemColumns = None,
    dates: Dates = None,
    dayfirst: DayFirst = None,
    max_bytes: MaxBytes = None,
    encoding: Encoding = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn from a catalog and its events, and save the model."""
    from recllm.artifact import check_target

    check_target(out)
    settings = recllm.RecommenderConfig() if config is None else recllm.RecommenderConfig.read(config)
    if finetune:
        settings = dataclasses.replace(settings, finetune="lora")
    recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=None, checkpoint=checkpoint)  # or refused now
    reading = Reading(columns, item_columns, dates, dayfirst, max_bytes, encoding)
    catalog = reading.catalog(items)
    log = reading.events(events).known_items(catalog)
    if not as_json:
        say(f"{catalog.report}\n{log.report}")
    rec = recllm.Recommender(settings)
    started = time.monotonic()
    with ProgressBar(quiet=as_json) as progress:
        options = recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=progress, checkpoint=checkpoint)
        rec.fit(catalog, log, options=options)
    seconds = time.monotonic() - started
    rec.save(out)
    card = (out / "README.md").read_text(encoding="utf-8")
    size = sum(path.stat().st_size for path in out.iterdir())
    verdict = rec.report.stopped.get("fine-tuning")
    if as_json:
        reports = {"items": catalog.report.to_dict(), "events": log.report.to_dict()}
        told = {} if verdict is None else {"finetuning": verdict}
        made = {"model": str(out), "bytes": size, "seconds": round(seconds, 1), "card": card}
        write_json({**reports, **told, **made, "notes": list(rec.report.notes)})
    else:
        typer.echo(card.partition("\n## ")[0].strip())  # the rest of the card is in the folder
        if verdict is not None:
            typer.echo(f"\nText encoder {verdict}.")
        for note in rec.report.notes:
            typer.echo(f"\nNote: {note}")
        typer.echo(f"\nLearned in {duration(seconds)}; saved to {out} ({size / 1e6:.1f} MB).")
