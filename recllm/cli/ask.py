"""`recllm recommend`, `recllm explain` and `recllm verify-explanation`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import recllm
from recllm.cli.app import AsJson, ModelFolder, app, write_json
from recllm.cli.files import Columns, Dates, DayFirst, Encoding, MaxBytes, Reading
from recllm.terminal import in_one_sentence, make_console, make_table, say
from recllm.texts import clean_text

Users = Annotated[
    Path | None,
    typer.Option("--events", help="Events of the users, known or new; they replace what was known of them."),
]
UserIds = Annotated[
    list[str] | None, typer.Option("--user", help="A user's id; may be repeated. Default: all in --events.")
]
Adapt = Annotated[bool, typer.Option("--adapt/--no-adapt", help="Adapt to each user first.")]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", help="An item, or a value such as a category, to leave out of the histories."),
]
WishTexts = Annotated[
    list[str] | None, typer.Option("--wish", help="'more of …', 'less of …' or 'never of …'; may be repeated.")
]


@app.command()
@in_one_sentence
def recommend(
    model: ModelFolder,
    events: Users = None,
    user: UserIds = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many items each.")] = 10,
    adapt: Adapt = True,
    explain: Annotated[bool, typer.Option("--explain", help="Give a reason for each item.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Also recommend what a user already has.")] = False,
    without: Without = None,
    wish: WishTexts = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what the wishes change.")] = False,
    columns: Columns = None,
    dates: Dates = None,
    dayfirst: DayFirst = None,
    max_bytes: MaxBytes = None,
    encoding: Encoding = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items to users."""
    rec, users = _open(model, events, user, Reading(columns, None, dates, dayfirst, max_bytes, encoding))
    if preview:
        changes = rec.preview(users, wish or [], n=n, adapt=adapt)
        typer.echo(changes.to_json() if as_json else repr(changes))
        return
    steering: dict[str, Any] = {"without": without or None, "wishes": wish or None}
    recs = rec.recommend(users, n=n, adapt=adapt, explain=explain, exclude_seen=not seen, **steering)
    if as_json:
        typer.echo(recs.to_json())
        return
    console = make_console()
    for user_id in recs.user_ids:
        console.print(f"user {clean_text(user_id)}")
        console.print(_recommendations(recs.for_user(user_id)))


@app.command()
@in_one_sentence
def explain(
    model: ModelFolder,
    events: Users = None,
    user: UserIds = None,
    item: Annotated[
        list[str] | None, typer.Option(help="An item's id; may be repeated. Default: what would be recommended.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Length of the list that is explained.")] = 10,
    adapt: Adapt = True,
    without: Without = None,
    wish: WishTexts = None,
    generator: Annotated[
        str | None, typer.Option(help="A language model for the words: smollm2, a folder or hub id, or URL#MODEL.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host than this machine that a URL may name; may be repeated.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="L0 template, L1 chosen, L2 clause bank, L3 free text.")] = None,
    overall: Annotated[bool, typer.Option("--global", help="What the ranking weighs, for everybody.")] = False,
    columns: Columns = None,
    dates: Dates = None,
    dayfirst: DayFirst = None,
    max_bytes: MaxBytes = None,
    encoding: Encoding = None,
    as_json: AsJson = False,
) -> None:
    """Say why items suit users, with evidence that `recllm verify-explanation` computes again."""
    if overall:
        found = recllm.Recommender.load(model).explain_ranking(n=n)
        if as_json:
            write_json(found.to_dicts())
        else:
            typer.echo(str(found))
        return
    rec, users = _open(model, events, user, Reading(columns, None, dates, dayfirst, max_bytes, encoding))
    steering: dict[str, Any] = {"adapt": adapt, "without": without or None, "wishes": wish or None}
    items: Any = item or _listed(rec.recommend(users, n=n, **steering))
    writer = None if generator is None else recllm.open_generator(generator, allow_hosts=_hosts(allow_host))
    reasons = rec.explain(users, items, writer, n=n, level=level, **steering)  # type: ignore[arg-type]
    if as_json:
        typer.echo(reasons.to_json(indent=2))
        return
    console = make_console()
    for user_id in reasons.user_ids:
        console.print(f"user {clean_text(user_id)}")
        console.print(_reasons(reasons.for_user(user_id)))


@app.command("verify-explanation")
@in_one_sentence
def verify_explanation(
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
        typer.echo(
            "\n".join(clean_text(line) if line[0] != " " else line for v in verdicts for line in str(v).split("\n"))
        )
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)


def _open(
    model: Path, events: Path | None, user: list[str] | None, reading: Reading
) -> tuple["recllm.Recommender", Any]:
    """The recommender, and whom it is asked about."""
    if events is None and not user:
        raise recllm.DataError("there is nobody to recommend to; give --events FILE, --user ID, or both")
    log = None if events is None else reading.events(events)
    if log is not None and (absent := sorted(set(user or ()) - set(log.user_ids))):
        raise recllm.DataError(f"--user {absent[0]!r}: {events} has no events of such a user")
    rec = recllm.Recommender.load(model)
    if log is None:
        if strangers := sorted(set(user or ()) - set(rec.user_ids)):
            say(f"Note: no events of user {strangers[0]!r} are remembered, so this is for somebody without events.")
        return rec, user
    if (report := log.known_items(rec.catalog).report).dropped:
        say(str(report))
    return rec, log.of_users(user) if user else log


def _hosts(allowed: list[str] | None) -> tuple[str, ...]:
    from recllm.prompting.endpoint import LOCAL_HOSTS

    return (*LOCAL_HOSTS, *(allowed or ()))


def _listed(recs: "recllm.Recommendations") -> dict[str, list[str]]:
    return {user: [row.item_id for row in recs.for_user(user)] for user in recs.user_ids}


def _reasons(reasons: "recllm.Explanations") -> Table:
    table = make_table("item", "title", "why", "words")
    for row in reasons:
        label = f"{row.method}, fallback" if row.fallback else row.method  # why, says --json
        cells = [row.item_id, row.title or "", row.explanation, label]
        table.add_row(*(Text(clean_text(cell)) for cell in cells))
    return table


def _recommendations(recs: "recllm.Recommendations") -> Table:
    rows = list(recs)
    reasons = any(row.explanation for row in rows)
    table = make_table("#", "item", "title", "score", *(["reason"] if reasons else []))
    for row in rows:
        cells = [str(row.rank), row.item_id, row.title or "", f"{row.score:.3f}", row.explanation or ""]
        table.add_row(*(Text(clean_text(cell)) for cell in cells[: len(table.columns)]))
    return table
