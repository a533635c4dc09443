"""The `recllm` command: what the library does, from a terminal. It has no logic of its own."""

from recllm.cli import show, learn, ask, reasons, measure, serve, keep, export, look, prompts, tuning  # noqa: I001 (in the order of --help)
from recllm.cli.app import app

__all__ = [
    "app",
    "ask",
    "export",
    "keep",
    "learn",
    "look",
    "main",
    "measure",
    "prompts",
    "reasons",
    "serve",
    "show",
    "tuning",
]


def main() -> None:
    """Run the command line."""
    app()
