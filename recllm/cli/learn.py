"""`recllm validate` and `recllm fit`."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import typer

import recllm
from recllm.cli.app import AsJson, Device, Events, Items, Seed, app, duration, write_json
from recllm.terminal import ProgressBar, in_one_sentence, say


@app.command()
@in_one_sentence
def validate(items: Items, events: Events, as_json: AsJson = False) -> None:
    """Read a catalog and its events, and report what would be dropped and why."""
    catalog = recllm.Catalog.read(items)
    log = recllm.Interactions.read(events).known_items(catalog)
    if as_json:
        write_json({"items": catalog.report.to_dict(), "events": log.report.to_dict()})
    else:
        typer.echo(f"{catalog.report}\n{log.report}")


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
    catalog = recllm.Catalog.read(items)
    log = recllm.Interactions.read(events).known_items(catalog)
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
        write_json({**reports, **told, **made})
    else:
        typer.echo(card.partition("\n## ")[0].strip())  # the rest of the card is in the folder
        if verdict is not None:
            typer.echo(f"\nText encoder {verdict}.")
        typer.echo(f"\nLearned in {duration(seconds)}; saved to {out} ({size / 1e6:.1f} MB).")
