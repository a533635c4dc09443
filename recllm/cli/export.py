"""`recllm export`: lists as files, and the text adapter as a folder."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

import recllm
from recllm.cli.app import AsJson, ModelFolder, command, write_json
from recllm.cli.files import Logs, check_file
from recllm.cli.request import Choice, Explain, Length, Personal, Steering, Whom
from recllm.cli.rules import Ruled
from recllm.terminal import ProgressBar

if TYPE_CHECKING:
    from recllm.lists.results import Recommendations

USERS_AT_ONCE = 500
"""Between two steps of the progress bar."""

Writer = Callable[[list["Recommendations"]], bytes]
"""Makes a file's content of lists that were made one part after the other."""


@final
@dataclass(frozen=True)
class Format:
    """What kind of file."""

    csv: Annotated[bool, typer.Option("--csv", help="Write csv, whatever the file is called.")] = False
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Write JSON lines.")] = False
    parquet: Annotated[bool, typer.Option("--parquet", help="Write parquet.")] = False

    def writer(self, out: Path) -> Writer:
        """What makes the content; the file's name decides where nothing is said."""
        writers: dict[str, Writer] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
        chosen = [kind for kind in writers if getattr(self, kind)] or [out.suffix.removeprefix(".").lower()]
        if len(chosen) > 1 or chosen[0] not in writers:
            raise recllm.ConfigError(f"--out {out}: what kind of file? Write one of --csv, --jsonl and --parquet")
        return writers[chosen[0]]


@command()
def export(
    *,
    model: ModelFolder,
    out: Annotated[Path | None, typer.Option(help="The file for the lists: .csv, .jsonl or .parquet.")] = None,
    form: Format,
    text_adapter: Annotated[
        Path | None, typer.Option(help="A folder for what fine-tuning taught the text encoder.")
    ] = None,
    whom: Whom,
    n: Length = 10,
    explain: Explain = False,
    personal: Personal,
    steering: Steering,
    choice: Choice,
    ruled: Ruled,
    logs: Logs,
    as_json: AsJson = False,
) -> None:
    """Write lists of all remembered users, or of those who are named, to a file; or the text adapter to a folder."""
    if out is None and text_adapter is None:
        raise recllm.ConfigError("there is nothing to write; give --out FILE, --text-adapter FOLDER, or both")
    write = None if out is None else form.writer(out)
    check_file(out)
    wanted = choice.given(logs) | ruled.given()
    rec = recllm.Recommender.load(model)
    facts: dict[str, Any] = {}
    if text_adapter is not None:
        rec.export_text_adapter(text_adapter)
        facts["text_adapter"] = str(text_adapter)
    if out is not None and write is not None:
        wanted |= {"n": n, "explain": explain, **personal.given(rec), **steering.given()}
        users = whom.among(rec, logs, wanted["adapters"]) if whom.events or whom.user else list(rec.user_ids)
        with ProgressBar(quiet=as_json) as progress:
            lists = [rec.recommend(part, **wanted) for part in _parts(users, progress)]
        facts |= {"lists": str(out), "users": sum(len(part.user_ids) for part in lists), "rows": sum(map(len, lists))}
        _replace(out, write(lists))
    if as_json:
        write_json(facts)
    else:
        typer.echo("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()))


def _parts(users: Any, progress: ProgressBar) -> Iterator[Any]:
    ids = users if isinstance(users, list) else users.user_ids
    if not ids:
        raise recllm.DataError("no users are remembered; give --events FILE or --user ID")
    for start in range(0, len(ids), USERS_AT_ONCE):
        part = ids[start : start + USERS_AT_ONCE]
        yield part if isinstance(users, list) else users.of_users(part)
        progress("make lists", start + len(part), len(ids))


def _replace(out: Path, content: bytes) -> None:
    from recllm.artifact.folders import replace_file

    replace_file(out.resolve(), content)  # where it is a link, the link stays


def _csv(lists: list["Recommendations"]) -> bytes:
    parts = [part.to_csv().split("\n", 1) for part in lists]
    return "\n".join([parts[0][0], "".join(rows for _, rows in parts)]).encode("utf-8", "backslashreplace")


def _jsonl(lists: list["Recommendations"]) -> bytes:
    rows = [row for part in lists for row in json.loads(part.to_json())]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "backslashreplace")


def _parquet(lists: list["Recommendations"]) -> bytes:
    import polars

    file = io.BytesIO()
    polars.concat([part.to_polars() for part in lists]).write_parquet(file)
    return file.getvalue()
