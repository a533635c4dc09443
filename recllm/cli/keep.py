"""`recllm adapt`, `recllm update` and `recllm forget`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import recllm
from recllm.cli.app import AsJson, ModelFolder, command, size_of, write_json
from recllm.cli.files import Files, Logs, check_file, check_folder
from recllm.cli.request import Whom
from recllm.terminal import say

OutFolder = Annotated[
    Path | None, typer.Option("--out", help="The folder to save to. Default: the model's own, which is replaced.")
]


@command()
def adapt(
    *,
    model: ModelFolder,
    whom: Whom,
    out: Annotated[Path, typer.Option(help="The file to save the adapters to.")],
    steps: Annotated[int | None, typer.Option(min=0, help="Gradient steps. Default: the model's.")] = None,
    adapters: Annotated[
        Path | None, typer.Option(help="Adapters saved earlier, which take in the users' new events.")
    ] = None,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Make adapters of users, to be passed to `recommend`, `score` and `export`."""
    whom.check()
    check_file(out)
    if adapters is not None and (whom.events is None or steps is not None):
        raise recllm.ConfigError("--adapters takes in new --events, with the steps that it was made with; give these")
    rec = recllm.Recommender.load(model)
    if adapters is None:
        made = rec.adapt(whom.among(rec, logs), steps)
    else:
        made = recllm.Adapters.load(adapters, rec).update(whom.among(rec, logs))
    made.save(out)
    if as_json:
        facts = {"users": len(made), "bytes_per_user": made.bytes_per_user, "bytes": size_of(out)}
        write_json({"adapters": str(out), **facts})
    else:
        typer.echo(f"Saved to {out}: users' adapters, {len(made):,} in all, {made.bytes_per_user} bytes each.")


@command()
def update(
    *,
    model: ModelFolder,
    events: Annotated[Path | None, typer.Option("--events", help="New events, to be remembered.")] = None,
    items: Annotated[Path | None, typer.Option("--items", help="New items, known by their texts at once.")] = None,
    out: OutFolder = None,
    files: Files,
    as_json: AsJson = False,
) -> None:
    """Take in new events and new items; nothing is trained again."""
    if events is None and items is None:
        raise recllm.DataError("there is nothing to take in; give --events FILE, --items FILE, or both")
    check_folder(out or model)
    catalog = None if items is None else files.catalog(items)
    log = None if events is None else files.events(events)
    rec = recllm.Recommender.load(model)
    reports: dict[str, Any] = {}
    if catalog is not None:
        reports["items"] = rec.add_items(catalog) and catalog.report
    if log is not None:
        reports["events"] = rec.update(log) and log.known_items(rec.catalog).report
    rec.save(out or model)
    if not as_json:
        say("\n".join(map(str, reports.values())))
    _tell_model(rec, out or model, as_json, {name: report.to_dict() for name, report in reports.items()})


@command()
def forget(
    *,
    user: Annotated[list[str], typer.Argument(help="Ids of users.")],
    model: ModelFolder,
    out: OutFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete users' events; the weights learned together with others stay until the next fit."""
    check_folder(out or model)
    rec = recllm.Recommender.load(model).forget(user)
    rec.save(out or model)
    _tell_model(rec, out or model, as_json, {"forgotten": user})


def _tell_model(rec: "recllm.Recommender", folder: Path, as_json: bool, more: dict[str, Any]) -> None:
    items, users = len(rec.catalog), len(rec.user_ids)
    if as_json:
        write_json({"model": str(folder), "known_items": items, "remembered_users": users, **more})
    else:
        typer.echo(f"Saved to {folder}: a model that knows {items:,} items and remembers {users:,} users.")
