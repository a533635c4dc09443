"""Commands that are spread over workers: what is typed for it, and what is told of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

import recllm
from recllm.cli.app import write_json
from recllm.terminal import ProgressBar, say

if TYPE_CHECKING:
    from recllm import scale
    from recllm.scale import Finished

WORKERS = "For many users"

Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="WHERE",
        help="Workers: local, local:4, ray, ray:auto or ray://host:port.",
        rich_help_panel=WORKERS,
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", help="With --executor: the folder for one file a shard of users.", rich_help_panel=WORKERS),
]


def workers_at(executor: str | None) -> "AbstractContextManager[scale.Executor | None]":
    """The workers at an address, for a `with`; none where there is none."""
    return nullcontext() if executor is None else recllm.scale.open_executor(executor)


@final
@dataclass(frozen=True)
class Spread:
    """Whether a command is spread over workers."""

    executor: Executor = None
    shards: Annotated[
        int | None,
        typer.Option("--shards", min=1, help="How many files. Default: 64, or one a part.", rich_help_panel=WORKERS),
    ] = None

    def wanted(self, out: Path | None, **others: Any) -> bool:
        """Whether it is; refuses what then has no place.

        Raises:
            ConfigError: An option that one of the two ways does not have.
        """
        if self.executor is None:
            if out is not None:
                raise recllm.ConfigError("--out is the folder of lists that workers make; give --executor local, too")
            return False
        if out is None:
            raise recllm.ConfigError("with --executor, lists go to files; give the folder for them, --out FOLDER")
        if given := [name for name, value in others.items() if value]:
            raise recllm.ConfigError(f"--{given[0].replace('_', '-')} has no place beside --executor; leave it out")
        return True

    def run(self, what: str, job: Callable[..., "Finished"], as_json: bool, **asked: Any) -> None:
        """Run a job, say what it made, and end with exit code 1 if a part could not be made."""
        with ProgressBar(quiet=as_json) as progress:
            done = job(**asked, executor=self.executor, shards=self.shards, progress=progress)
        facts = {"users": done.users, "rows": done.rows, "files": len(done.files), "kept": done.kept}
        if as_json:
            write_json({what: str(asked["out"]), **facts, "failed": dict(done.failed)})
        else:
            kept = f", {done.kept:,} of them made before" if done.kept else ""
            typer.echo(
                f"{what}: {done.rows:,} rows, {done.users:,} users, {len(done.files):,} files{kept}: {done.folder}"
            )
        if done.failed:
            shards = f"{len(done.failed):,} of {len(done.files) + len(done.failed):,} shards"
            say(f"Error: {shards} could not be made; run this again for them.")
            raise typer.Exit(1)
