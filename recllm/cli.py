"""The `recllm` command: what the library does, from a terminal. It has no logic of its own."""

import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import recllm
import recllm.errors
from recllm.prompting.syntax import clean_text
from recllm.terminal import ProgressBar, in_one_sentence, make_console, make_table, say

if TYPE_CHECKING:
    from recllm.demo import Customer, DemoResult, Suggestion

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recommendations from catalog text and events, with reasons that can be checked.",
)

Items = Annotated[Path, typer.Option("--items", help="The catalog: csv, csv.gz, parquet or jsonl.")]
Events = Annotated[Path, typer.Option("--events", help="The event log: csv, csv.gz, parquet or jsonl.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to the standard output.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda …")]


def main() -> None:
    """Run the command line."""
    app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        typer.echo(f"recllm {recllm.__version__}")
        raise typer.Exit


@app.command()
@in_one_sentence
def validate(items: Items, events: Events, as_json: AsJson = False) -> None:
    """Read a catalog and its events, and report what would be dropped and why."""
    catalog = recllm.Catalog.read(items)
    log = recllm.Interactions.read(events).known_items(catalog)
    if as_json:
        _write_json({"items": catalog.report.to_dict(), "events": log.report.to_dict()})
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
        _write_json({**reports, **told, **made})
    else:
        typer.echo(card.partition("\n## ")[0].strip())  # the rest of the card is in the folder
        if verdict is not None:
            typer.echo(f"\nText encoder {verdict}.")
        typer.echo(f"\nLearned in {_duration(seconds)}; saved to {out} ({size / 1e6:.1f} MB).")


@app.command()
@in_one_sentence
def recommend(
    model: Annotated[Path, typer.Option(help="The folder that `recllm fit` saved.")],
    events: Annotated[
        Path | None, typer.Option(help="Events of the users, known or new; they replace what was known of them.")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="A user's id; may be repeated. Default: all in --events.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many items each.")] = 10,
    adapt: Annotated[bool, typer.Option("--adapt/--no-adapt", help="Adapt to each user first.")] = True,
    explain: Annotated[bool, typer.Option("--explain", help="Give a reason for each item.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Also recommend what a user already has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend items to users."""
    if events is None and not user:
        raise recllm.DataError("there is nobody to recommend to; give --events FILE, --user ID, or both")
    users: Any = user
    if events is not None:
        users = recllm.Interactions.read(events)
        users = users.of_users(user) if user else users
    rec = recllm.Recommender.load(model)
    if isinstance(users, recllm.Interactions) and (report := users.known_items(rec.catalog).report).dropped:
        say(str(report))
    recs = rec.recommend(users, n=n, adapt=adapt, explain=explain, exclude_seen=not seen)
    if as_json:
        typer.echo(recs.to_json())
        return
    console = make_console()
    for user_id in recs.user_ids:
        console.print(f"user {clean_text(user_id)}")
        console.print(_recommendations(recs.for_user(user_id)))


@app.command()
@in_one_sentence
def evaluate(
    items: Items,
    events: Events,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings; the defaults without it.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A saved model instead; it must not know the users that are asked.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="users, time, early, prequential, basket or cold: who is asked what.")
    ] = "users",
    shots: Annotated[str, typer.Option(help="Numbers of known events, with commas.")] = "0,1,3,5,10,20",
    folds: Annotated[int, typer.Option(min=1, help="Disjoint groups of users to ask, one after the other.")] = 1,
    seeds: Annotated[str, typer.Option(help="One evaluation each, with commas.")] = "0",
    baselines: Annotated[str, typer.Option(help="all, none, or names with commas.")] = "all",
    square: Annotated[bool, typer.Option("--square", help="Also take apart what the adapters add.")] = False,
    sparsity: Annotated[str, typer.Option(help="Shares of the training events, with commas: 0.1,0.3,1.")] = "1",
    cut: Annotated[float, typer.Option(help="Protocol time: share of the events before the cut.")] = 0.8,
    test_users: Annotated[Path | None, typer.Option(help="A file with one user id a line: exactly these.")] = None,
    rankings: Annotated[Path | None, typer.Option(help="Lists that other programs made for the saved split.")] = None,
    save_splits: Annotated[Path | None, typer.Option(help="Write the splits here, for other programs.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep finished parts here; run again to go on.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    budget: Annotated[str | None, typer.Option(help="Most time for each training: 90s, 10m, 1h.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure recommendations for users that training has not seen, beside tuned baselines."""
    if html is not None:
        recllm.errors.require("matplotlib", extra="plots")
    given: Any = recllm.RecommenderConfig() if config is None else recllm.RecommenderConfig.read(config)
    if model is not None:
        given = recllm.Recommender.load(model)
    asked = None if test_users is None else test_users.read_text(encoding="utf-8").split()
    with ProgressBar(quiet=as_json) as progress:
        report = recllm.evaluate(
            given,
            recllm.Catalog.read(items),
            recllm.Interactions.read(events),
            protocol=protocol,
            shots=_numbers(shots, "--shots"),
            folds=folds,
            seeds=_numbers(seeds, "--seeds"),
            baselines={"all": "all", "none": None}.get(baselines, [name.strip() for name in baselines.split(",")]),
            square=square,
            sparsity=_numbers(sparsity, "--sparsity", float),
            cut=cut,
            test_users=asked,
            rankings=rankings,
            save_splits=save_splits,
            cache=cache,
            dataset=_name_of(events),
            command=shlex.join(["recllm", *sys.argv[1:]]),
            options=recllm.TrainOptions(device=device, budget=budget, progress=progress),
        )
    if html is not None:
        report.to_html(html)
    if as_json:
        _write_json(report.to_dict())
        return
    make_console().print(report)
    if html is not None:
        say(f"The page is {html}.")


def _name_of(events: Path) -> str:
    """The name of a log: of its file, or of the folder where the file is called what every log is called."""
    stem = events.name.partition(".")[0]
    return events.resolve().parent.name if stem in ("interactions", "events", "ratings", "log") else stem


def _numbers(text: str, option: str, kind: Callable[[str], Any] = int) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise recllm.ConfigError(f"{option} {text!r} is not a list of numbers; write for example 1,3,5.") from None


def _recommendations(recs: "recllm.Recommendations") -> Table:
    rows = list(recs)
    reasons = any(row.explanation for row in rows)
    table = make_table("#", "item", "title", "score", *(["reason"] if reasons else []))
    for row in rows:
        cells = [str(row.rank), row.item_id, row.title or "", f"{row.score:.3f}", row.explanation or ""]
        table.add_row(*(Text(clean_text(cell)) for cell in cells[: len(table.columns)]))
    return table


@app.command()
@in_one_sentence
def demo(
    out: Annotated[Path | None, typer.Option(help="Keep the model in this folder.")] = None,
    budget: Annotated[str, typer.Option(help="Most time for training: 90s, 3m.")] = "3m",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn the shop that comes with recllm, and recommend to three customers it has never seen."""
    from recllm.artifact import check_target
    from recllm.demo import run_demo

    if out is not None:
        check_target(out)
    if not as_json:
        say(f"Learning a shop from its products and purchases (at most {budget} of training) …")
    with ProgressBar(quiet=as_json) as progress:
        result = run_demo(seed=seed, device=device, budget=budget, out=out, progress=progress)
    if as_json:
        _write_json(dataclasses.asdict(result))
        return
    console = make_console()
    console.print(
        f"\nThe shop: {result.n_items:,} products, {result.n_events:,} purchases by {result.n_users:,} customers. "
        f"None of the {len(result.customers)} below is among them."
    )
    for customer in result.customers:
        _show_customer(console, customer)
    console.print(_closing(result))


def _show_customer(console: Console, customer: "Customer") -> None:
    console.rule(f"customer {clean_text(customer.user_id)}", align="left", characters="-")
    console.print(f"First {len(customer.given)} of {customer.n_items} products, all that recllm is told:")
    for title in customer.given:
        console.print(f"  - {clean_text(title)}")
    table = make_table("#", "before adapting", "after adapting, and why")
    table.columns[1].max_width = 32
    for place in range(max(len(customer.before), len(customer.after))):
        before = customer.before[place] if place < len(customer.before) else None
        after = customer.after[place] if place < len(customer.after) else None
        table.add_row(
            str(place + 1),
            Text(clean_text(before.title) + _mark(before)) if before else "",
            _with_reason(after) if after else "",
        )
    console.print(table)


def _with_reason(suggestion: "Suggestion") -> Group:
    title = f"{clean_text(suggestion.title)}{_mark(suggestion)}  {_movement(suggestion)}"
    return Group(Text(title), Padding(Text(clean_text(suggestion.explanation or "")), (0, 0, 0, 2)))


def _mark(suggestion: "Suggestion") -> str:
    return " ✓" if suggestion.bought_later else ""


def _movement(suggestion: "Suggestion") -> str:
    if suggestion.rank_before is None:
        return "new"
    moved = suggestion.rank_before - suggestion.rank
    return f"↑{moved}" if moved > 0 else f"↓{-moved}" if moved < 0 else "="


def _closing(result: "DemoResult") -> str:
    size = f"{result.model_bytes / 1e6:.1f} MB"
    kept = (
        f"The model ({size}) is in {result.saved_to}; next: recllm recommend --model {result.saved_to} --events FILE"
        if result.saved_to
        else f"The model ({size}) was not kept; `recllm demo --out model/` keeps it."
    )
    before = [line.bought_later for customer in result.customers for line in customer.before]
    after = [line.bought_later for customer in result.customers for line in customer.after]
    pairs = [(customer.before, customer.after) for customer in result.customers]
    changed = sum([line.item_id for line in one] != [line.item_id for line in other] for one, other in pairs)
    return (
        "✓ = in fact bought afterwards (recllm was not told).  ↑3 = three places up by adapting.\n"
        f"✓ before adapting: {sum(before)} of {len(before)}; after: {sum(after)} of {len(after)}. "
        f"Adapting changed {changed} of {len(pairs)} lists (adapters are {result.adapters}).\n"
        f"Learned in {_duration(result.fit_seconds)}; a new customer takes {result.adapt_milliseconds:.0f} ms. {kept}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _write_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
