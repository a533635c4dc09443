"""`recllm explain` and `recllm verify-explanation`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import recllm
from recllm.cli.app import AsJson, ModelFolder, command, write_json
from recllm.cli.files import Logs
from recllm.cli.request import Adapt, Length, Steering, Whom
from recllm.cli.spread import OutFolder, Spread
from recllm.terminal import make_console, make_table
from recllm.texts import clean_text

Audience = Annotated[str, typer.Option(help="customer, or owner: also say what in the history speaks against an item.")]


@command()
def explain(
    *,
    model: ModelFolder,
    whom: Whom,
    item: Annotated[
        list[str] | None, typer.Option(help="An item's id; may be repeated. Default: what would be recommended.")
    ] = None,
    n: Length = 10,
    adapt: Adapt = True,
    steering: Steering,
    generator: Annotated[
        str | None, typer.Option(help="A language model for the words: smollm2, a folder or hub id, or URL#MODEL.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host than this machine that a URL may name; may be repeated.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="L0 template, L1 chosen, L2 clause bank, L3 free text.")] = None,
    audience: Audience = "customer",
    overall: Annotated[bool, typer.Option("--global", help="What the ranking weighs, for everybody.")] = False,
    out: OutFolder = None,
    spread: Spread,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Say why items suit users, with evidence that `recllm verify-explanation` computes again."""
    if overall:
        found = recllm.Recommender.load(model).explain_ranking(n=n)
        return write_json(found.to_dicts()) if as_json else typer.echo(str(found))
    told: Any = {"level": level, "audience": audience}
    if spread.wanted(out, item=item, allow_host=allow_host):
        asked = {"users": whom.spread(logs), "n": n, "adapt": adapt, "generator": generator, **steering.given(), **told}
        return spread.run("reasons", recllm.scale.explain, as_json, model=model, out=out, **asked)
    whom.check()
    writer = None if generator is None else recllm.open_generator(generator, allow_hosts=_hosts(allow_host))
    rec = recllm.Recommender.load(model)
    users = whom.among(rec, logs)
    given: dict[str, Any] = {"n": n, "adapt": adapt, **steering.given()}
    items: Any = item or rec.recommend(users, **given)
    reasons = rec.explain(users, items, writer, **given, **told)
    if as_json:
        typer.echo(reasons.to_json(indent=2))
        return
    console = make_console()
    for user_id in reasons.user_ids:
        console.print(f"user {clean_text(user_id)}")
        console.print(_table(reasons.for_user(user_id)))


@command("verify-explanation")
def verify_explanation(
    *,
    file: Annotated[Path, typer.Argument(help="What `recllm explain --json` or `recommend --explain --json` wrote.")],
    model: ModelFolder,
    as_json: AsJson = False,
) -> None:
    """Compute explanations again and compare: PASS or FAIL. Exit code 1 if any fails."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise recllm.DataError(f"{file} is not JSON: {error}") from None
    rec = recllm.Recommender.load(model)
    verdicts = [rec.verify_explanation(one) for one in (told if isinstance(told, list) else [told])]
    if not verdicts:
        raise recllm.DataError(f"{file} holds no explanation; write one with recllm explain --json")
    if as_json:
        write_json([verdict.to_dict() for verdict in verdicts])
    else:
        lines = [line for verdict in verdicts for line in str(verdict).split("\n")]
        typer.echo("\n".join(clean_text(line) if line[0] != " " else line for line in lines))
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)


def _hosts(allowed: list[str] | None) -> tuple[str, ...]:
    from recllm.prompting.endpoint import LOCAL_HOSTS

    return (*LOCAL_HOSTS, *(allowed or ()))


def _table(reasons: "recllm.Explanations") -> Table:
    table = make_table("item", "title", "why", "words")
    for row in reasons:
        label = f"{row.method}, fallback" if row.fallback else row.method  # why, says --json
        table.add_row(*(Text(clean_text(cell)) for cell in (row.item_id, row.title or "", row.explanation, label)))
    return table
