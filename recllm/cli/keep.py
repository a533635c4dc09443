"""`recllm adapt`, `recllm update` and `recllm forget`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import recllm
from recllm.cli.app import AsJson, ModelFolder, command, size_of, write_json
from recllm.cli.files import Files, Logs, check_file, check_folder
from recllm.cli.request import Whom
from recllm.cli.spread import Spread
from recllm.terminal import say
from recllm.texts import clean_text

OutFolder = Annotated[
    Path | None, typer.Option("--out", help="The folder to save to. Default: the model's own, which is replaced.")
]


LEARNED_TOGETHER = (
    "Transformer and ranking were learned from all users together: what they took from whoever was there at the fit "
    "stays until the next one."
)


class Adapted(StrEnum):
    """What may learn at an update."""

    shop = "shop"


@command()
def adapt(
    *,
    model: ModelFolder,
    whom: Whom,
    out: Annotated[Path, typer.Option(help="The file to save the adapters to; with --executor, a folder.")],
    steps: Annotated[int | None, typer.Option(min=0, help="Gradient steps. Default: the model's.")] = None,
    adapters: Annotated[
        Path | None, typer.Option(help="Adapters saved earlier, which take in the users' new events.")
    ] = None,
    spread: Spread,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Make adapters of users, to be passed to `recommend`, `score` and `export`."""
    if spread.executor is not None and spread.wanted(out, adapters=adapters):
        job = recllm.scale.adapt
        spread.run("adapters", job, as_json, model=model, out=out, users=whom.spread(logs), steps=steps)
        return
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
    events: Annotated[Path | None, typer.Option("--events", help="New events; they count at once.")] = None,
    items: Annotated[Path | None, typer.Option("--items", help="New items, known by their texts at once.")] = None,
    adapt: Annotated[
        Adapted | None, typer.Option(help="`shop`: the shop's own adapter learns from the new events, too.")
    ] = None,
    out: OutFolder = None,
    files: Files,
    as_json: AsJson = False,
) -> None:
    """Take in new events and new items: they count at once, and nothing is fitted again."""
    if adapt is not None and events is None:
        raise recllm.DataError("there is nothing to learn from; --adapt shop takes --events FILE")
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
        known = log.known_items(rec.catalog)  # its report says what is left out, so that no warning has to
        reports["events"] = rec.update(known, adapt=None if adapt is None else "shop") and known.report
    rec.save(out or model)
    if not as_json:
        say("\n".join(map(str, reports.values())))
    told = {name: report.to_dict() for name, report in reports.items()}
    if adapt is not None:
        told["shop_adapter"] = {"version": rec.adapters.version, "in_use": rec.adapters.drift.in_use}
        if not as_json:
            say(repr(rec.adapters))
    _tell_model(rec, out or model, as_json, told)


@command()
def forget(
    *,
    user: Annotated[list[str] | None, typer.Argument(help="Ids of users.")] = None,
    model: ModelFolder,
    events: Annotated[
        Path | None,
        typer.Option("--events", help="Whom to forget, with all their events: for models that keep no histories."),
    ] = None,
    out: OutFolder = None,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Delete users' events and take them out of all counts; weights learned with others stay until the next fit."""
    from recllm.data.doors import read_user_ids

    if bool(user) == (events is not None):
        raise recllm.DataError("say who shall be forgotten: ids of users or --events FILE, and not both")
    check_folder(out or model)
    whom = user if events is None else logs.events(events)
    rec = recllm.Recommender.load(model)
    known, counted = set(rec.user_ids), rec.counts.events
    gone = [one for one in dict.fromkeys(read_user_ids(whom)) if one in known or not rec.config.keep_histories]
    rec.forget(whom)
    rec.save(out or model)
    stays = bool(rec.trained_on.includes(gone).any())
    lost = counted - rec.counts.events
    if not as_json:
        say(
            f"Gone: {_names(gone)}; {lost:,} counted {'event' if lost == 1 else 'events'} with them, out of "
            f"histories and all counts. {LEARNED_TOGETHER if stays else 'The weights were learned without them.'}"
        )
    facts = {"forgotten": gone, "events_gone": lost, "weights_may_keep_a_part": stays}
    _tell_model(rec, out or model, as_json, facts)


def _names(users: list[str]) -> str:
    return ", ".join(map(clean_text, users))


def _tell_model(rec: "recllm.Recommender", folder: Path, as_json: bool, more: dict[str, Any]) -> None:
    items, users, fresh = len(rec.catalog), len(rec.user_ids), rec.freshness()
    if as_json:
        facts = {"model": str(folder), "known_items": items, "remembered_users": users, **more}
        write_json({**facts, "freshness": fresh.to_dict()})
    else:
        due = "Refit due" if fresh.refit_due else "Refit not due"
        typer.echo(
            f"Saved to {folder}: a model that knows {items:,} items and remembers {users:,} users.\n"
            f"{due}: {fresh.reason}"
        )
