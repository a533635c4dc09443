"""The `recllm` command: what the library does, from a terminal. It has no logic of its own."""

from recllm.cli import ask, learn, measure, show
from recllm.cli.app import app

__all__ = ["app", "ask", "learn", "main", "measure", "show"]


def main() -> None:
    """Run the command line."""
    app()
