"""`recllm serve`, `recllm refit`, `recllm backup` and `recllm restore`."""

import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import recllm
from recllm.cli.app import AsJson, Budget, command, duration, size_of, write_json
from recllm.errors import require
from recllm.terminal import ProgressBar, say

if TYPE_CHECKING:
    from recllm.recommender import Recommender
    from recllm.serve.settings import Settings

DataFolder = Annotated[
    Path, typer.Option("--data", help="The server's folder: events, lists, keys and its own model. Made if missing.")
]

StateAddress = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="URL",
        envvar="RECLLM_STATE",
        help="postgresql://user@host/database?schema=shop keeps events, lists, users and keys; else the folder does.",
    ),
]

StreamAddress = Annotated[
    str | None,
    typer.Option(
        "--stream",
        metavar="URL",
        envvar="RECLLM_STREAM",
        help="kafka://host:9092/topic: events come from there, too.",
    ),
]


@command()
def serve(
    *,
    model: Annotated[
        Path | None, typer.Argument(help="A model that `recllm fit` saved. Default: the one in the server's folder.")
    ] = None,
    data: DataFolder = Path("recllm-data"),
    state: StateAddress = None,
    stream: StreamAddress = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve the shop that comes with recllm; learn it first.")
    ] = False,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine, keys are needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any that is free.")] = 8765,
    log_only: Annotated[
        bool, typer.Option("--log-only", help="Answer with what is popular, and keep what the ranking would have said.")
    ] = False,
    explore: Annotated[
        float, typer.Option(min=0, max=1, help="Share of answers in which neighbours change places by chance.")
    ] = 0.0,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Requests a second that a key may make.")] = None,
    new_key: Annotated[
        str | None,
        typer.Option("--new-key", metavar="ROLE", help="Make a key (read, write, admin), show it, and leave."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model: events in, lists with reasons out, durable and in real time; with a page and a dashboard."""
    for package in ("fastapi", "uvicorn", "apsw", "prometheus_client", "jinja2"):
        require(package, "serve")
    from recllm.serve.settings import Settings

    if new_key is not None:
        _make_key(data, state, new_key, as_json)
        return
    settings = Settings(host=host, port=port, log_only=log_only, explore=explore, rate=rate)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from recllm.serve.supervisor import can_supervise, supervised
    from recllm.serve.web.run import listen_at

    with listen_at(host, port) as listening:
        job = partial(_serve, model, demo, data, state, stream, settings, listening, as_json)
        if not can_supervise():
            job(lambda: None)
        elif code := supervised(job):
            raise typer.Exit(code)


def _serve(
    model: Path | None,
    demo: bool,
    data: Path,
    state: str | None,
    stream: str | None,
    settings: "Settings",
    listening: socket.socket,
    as_json: bool,
    answering: Callable[[], None],
) -> None:
    from recllm.serve.live.live import Live
    from recllm.serve.web.run import run

    live = Live.open(data, _demo(data, as_json) if demo else model, settings, state, stream)

    def greet(address: str) -> None:
        answering()
        _greet(live, address, as_json)

    try:
        run(live, greet, listening)
    finally:
        live.close()


def _greet(live: "object", address: str, as_json: bool) -> None:
    from recllm.serve.live.live import Live

    assert isinstance(live, Live)
    facts = {"address": address, "items": len(live.now.state.model.catalog), "version": live.version}
    if as_json:
        write_json({**facts, "as_of_event": live.as_of_event})
    else:
        typer.echo(
            f"Serving {facts['items']:,} items at {address}  (Ctrl-C stops)\n"
            f"  the page       {address}/\n"
            f"  the dashboard  {address}/dashboard\n"
            f"  the API        {address}/docs"
        )
    sys.stdout.flush()


def _demo(data: Path, quiet: bool) -> "Recommender | None":
    """The shipped shop: learned at the first start; after that the folder has it."""
    if (data / "models").is_dir() and any((data / "models").iterdir()):
        return None
    catalog, events = recllm.load_demo()
    say("Learning the shop that comes with recllm; the next start will find it learned.")
    with ProgressBar(quiet=quiet) as progress:
        return recllm.Recommender().fit(catalog, events, options=recllm.TrainOptions(progress=progress, budget="3m"))


def _make_key(data: Path, state: str | None, role: str, as_json: bool) -> None:
    from recllm.serve.state.opening import open_store
    from recllm.serve.web.run import make_key

    store = open_store(data, state)
    try:
        key = make_key(store, role)
    finally:
        store.close()
    if as_json:
        write_json({"role": role, "key": key})
    else:
        typer.echo(key)
        say(f"This is the only time that the key is shown. Its role is {role}; send it as `Authorization: Bearer …`.")


@command()
def refit(
    *,
    data: DataFolder = Path("recllm-data"),
    state: StateAddress = None,
    budget: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Fit a server's model anew to all that it was told; for a server that runs, POST /api/refit."""
    from recllm.serve.live.live import Live
    from recllm.serve.settings import Settings

    live = Live.open(data, None, Settings(), state)
    try:
        last = live.refit_now(budget)
    finally:
        live.close()
    if last.state != "done":
        raise recllm.ServeError(f"the model was not fitted: {last.said}")
    if as_json:
        write_json({"version": live.version, "seconds": round(last.seconds, 1), "as_of_event": live.as_of_event})
    else:
        typer.echo(f"Fitted in {duration(last.seconds)} to events up to number {live.as_of_event:,}: {live.version}.")


@command()
def backup(
    *,
    data: DataFolder = Path("recllm-data"),
    state: StateAddress = None,
    out: Annotated[Path, typer.Option(help="The file to write: a whole copy, taken while the server runs.")],
    as_json: AsJson = False,
) -> None:
    """Copy a server's events, lists, users and keys into one file; the server may run meanwhile."""
    from recllm.serve.state.sqlite.backup import backup as copy

    if state is not None:
        raise recllm.ConfigError(
            "what is in Postgres is copied by Postgres: pg_dump --schema=SHOP DATABASE > copy.sql."
        )
    copy(data, out)
    if as_json:
        write_json({"backup": str(out), "bytes": size_of(out)})
    else:
        typer.echo(
            f"Copied to {out}: {size_of(out):,} bytes. It holds users' events; erasing a user does not reach it."
        )


@command()
def restore(
    *,
    backup: Annotated[Path, typer.Argument(help="A file that `recllm backup` wrote.")],
    data: DataFolder = Path("recllm-data"),
    state: StateAddress = None,
    as_json: AsJson = False,
) -> None:
    """Make a server's folder from a backup, or a shop in Postgres; it must not hold events of its own."""
    from recllm.serve.state.sqlite.backup import restore as put_back

    if state is not None:
        from recllm.serve.state.postgres.moving import move

        rows = move(backup, data, state)
        if as_json:
            write_json(rows)
        else:
            typer.echo(f"Copied {rows['events']:,} events; serve them with a model: recllm serve MODEL --state URL")
        return
    put_back(backup, data)
    if as_json:
        write_json({"data": str(data)})
    else:
        typer.echo(f"Restored to {data}; serve it with a model: recllm serve MODEL --data {data}")


@command()
def stream(
    *,
    data: DataFolder = Path("recllm-data"),
    state: StateAddress = None,
    number: Annotated[int, typer.Option("-n", min=0, help="How many of the newest messages that are no events.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show how far a server has read its streams, and which messages are no events; the server may run meanwhile."""
    from recllm.serve.state.opening import look
    from recllm.serve.stream.streaming import StreamFigures

    reading = look(data, state)
    try:
        read, aside = StreamFigures.all(reading), reading.aside(number)
    finally:
        reading.close()
    if as_json:
        rows = [{**asdict(one), "message": one.message.decode("utf-8", "backslashreplace")} for one in aside]
        write_json({"streams": {topic: asdict(one) for topic, one in read.items()}, "aside": rows})
        return
    for topic, one in read.items():
        typer.echo(f"{topic}: {one.events:,} events, {one.aside:,} messages kept aside.")
    for message in aside:
        typer.echo(f"  {message.source}  {message.problem}  {ascii(message.message[:60])[2:-1]}")
    if not read:
        typer.echo("No stream was read yet; recllm serve --stream kafka://host:9092/topic reads one.")
