"""`recllm recommend`, `recllm score`, `recllm search` and `recllm similar`."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

import recllm
from recllm.cli.app import AsJson, ModelFolder, command, write_json
from recllm.cli.files import Logs
from recllm.cli.request import Choice, Explain, Length, Personal, Steering, Whom
from recllm.cli.rules import Ruled
from recllm.cli.spread import OutFolder, Spread
from recllm.terminal import make_console, make_table
from recllm.texts import clean_text


@command()
def recommend(
    *,
    model: ModelFolder,
    whom: Whom,
    n: Length = 10,
    explain: Explain = False,
    personal: Personal,
    steering: Steering,
    preview: Annotated[bool, typer.Option("--preview", help="Show what the wishes change.")] = False,
    choice: Choice,
    ruled: Ruled,
    out: OutFolder = None,
    spread: Spread,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Recommend items to users; with --executor to all who are remembered, as files."""
    if spread.wanted(out, preview=preview):
        asked = {
            "n": n,
            "explain": explain,
            **vars(personal),
            **steering.given(),
            **choice.given(logs),
            **ruled.given(),
        }
        job = recllm.scale.recommend
        spread.run("lists", job, as_json, model=model, out=out, users=whom.spread(logs), **asked)
        return
    whom.check()
    wanted = choice.given(logs) | ruled.given()
    rec = recllm.Recommender.load(model)
    own = personal.given(rec)
    users = whom.among(rec, logs, own["adapters"])
    if preview:
        changes = rec.preview(users, steering.wish or [], n=n, **own)
        typer.echo(changes.to_json() if as_json else repr(changes))
        return
    recs = rec.recommend(users, n=n, explain=explain, **own, **steering.given(), **wanted)
    _show(recs, "user {}", as_json)


@command()
def score(
    *,
    model: ModelFolder,
    whom: Whom,
    item: Annotated[list[str] | None, typer.Option(help="An item's id; may be repeated. Default: all items.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="A file with a column item_id; with user_id, each user's own items.")
    ] = None,
    personal: Personal,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Score items for users, on the scale that their lists are ordered by."""
    from recllm.data.doors import items_of, read_items, read_user_ids

    whom.check()
    if item and items is not None:
        raise recllm.DataError("--item and --items both say which items; give one of them")
    typed = item or (None if items is None else logs.ids(items))
    rec = recllm.Recommender.load(model)
    own = personal.given(rec)
    users = whom.among(rec, logs, own["adapters"])
    user_ids = list(dict.fromkeys(read_user_ids(users)))
    asked = read_items(rec.catalog if typed is None else typed, "--items", ordered=True)
    scores = rec.score(users, asked, **own)
    rows: list[dict[str, Any]] = [
        {"user_id": user, "item_id": one, "score": float(value)}
        for user, ids, line in zip(user_ids, items_of(asked, user_ids, "--items"), scores, strict=True)
        for one, value in zip(ids, line, strict=False)  # a shorter row is filled up
    ]
    if as_json:
        write_json(rows)
        return
    table = make_table("user", "item", "score")
    for row in rows:
        value = "not in the catalog" if math.isnan(row["score"]) else f"{row['score']:.4f}"
        table.add_row(*(Text(clean_text(cell)) for cell in (row["user_id"], row["item_id"], value)))
    make_console().print(table)


@command()
def search(
    *,
    text: Annotated[str, typer.Argument(help="A few words, such as 'cosy lights'.")],
    model: ModelFolder,
    n: Length = 10,
    as_json: AsJson = False,
) -> None:
    """Find the items whose texts are closest to a few words."""
    _show(recllm.Recommender.load(model).search(text, n=n), "“{}”", as_json)


@command()
def similar(
    *,
    item: Annotated[list[str], typer.Argument(help="Ids of items.")],
    model: ModelFolder,
    n: Length = 10,
    by: Annotated[Literal["text", "together"], typer.Option(help="What reads alike, or is taken together.")] = "text",
    basket: Annotated[bool, typer.Option("--basket", help="One list of what goes with all of the items.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the items that are most like given ones, by their texts or by who takes them."""
    found = recllm.Recommender.load(model).similar_items(item, n=n, by=by, basket=basket)
    _show(found, "for the {}" if basket else "like item {}", as_json)


def _show(recs: "recllm.Recommendations", heading: str, as_json: bool) -> None:
    if as_json:
        typer.echo(recs.to_json())
        return
    console = make_console()
    for asked in recs.user_ids:
        console.print(heading.format(clean_text(asked)))
        console.print(_table(recs.for_user(asked)))


def _table(recs: "recllm.Recommendations") -> Table:
    rows = list(recs)
    reasons = any(row.explanation for row in rows)
    table = make_table("#", "item", "title", "score", *(["reason"] if reasons else []))
    for row in rows:
        cells = [str(row.rank), row.item_id, row.title or "", f"{row.score:.3f}", row.explanation or ""]
        table.add_row(*(Text(clean_text(cell)) for cell in cells[: len(table.columns)]))
    return table
