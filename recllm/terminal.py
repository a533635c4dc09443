"""How the command line talks: one sentence when something goes wrong, progress with the time left, plain tables."""

import functools
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from recllm.errors import RecllmError

__all__ = ["ProgressBar", "in_one_sentence", "make_console", "make_table", "say"]


def make_console(stderr: bool = False) -> Console:
    """A console that prints text as it is; 100 columns wide where there is no terminal to ask."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 100
    return console


def say(text: str) -> None:
    """One line on the standard error, out of the way of results."""
    typer.echo(text, err=True)


def in_one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what may be expected to go wrong into one line and an exit code; anything else is a bug and shows itself."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character stops nothing
        try:
            with warnings.catch_warnings():
                warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
                command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            say("Stopped.")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `recllm … | head` has read enough; Python would complain again on its way out
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except RecllmError as error:
            say("Error: " + " ".join(str(error).split()))
            raise typer.Exit(1) from None
        except OSError as error:
            say(f"Error: {error.filename or 'the system'}: {error.strerror or error}")
            raise typer.Exit(1) from None

    return run


def _show_warning(otherwise: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any) -> None:
    """What the library has to say in one line; what others say to programmers as they say it."""
    if category is UserWarning:
        say("Note: " + " ".join(str(message).split()))
    else:
        otherwise(message, category, *rest)


class ProgressBar:
    """A bar with the time left for each stage, on the standard error; plain lines where that is not a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = make_console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._started = time.monotonic()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Show that `stage` has come to `done` of `total`; see `recllm.options.Progress`."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total, note="")
            if self._bar.disable and not self._quiet:
                say(f"[{time.monotonic() - self._started:4.0f} s] {stage}")
        self._bar.update(self._tasks[stage], completed=done, total=total, note=note)


def make_table(*headers: str) -> Table:
    """A table without lines at the sides, readable without colours."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        number = header in ("#", "score")
        table.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table
