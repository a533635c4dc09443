"""`recllm demo`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from recllm.cli.app import AsJson, Device, Seed, command, duration, write_json
from recllm.cli.files import check_folder
from recllm.terminal import ProgressBar, make_console, make_table, say
from recllm.texts import clean_text

if TYPE_CHECKING:
    from recllm.cli.demo import Customer, DemoResult, Suggestion


@command()
def demo(
    *,
    out: Annotated[Path | None, typer.Option(help="Keep the model in this folder.")] = None,
    budget: Annotated[str, typer.Option(help="Most time for training: 90s, 3m.")] = "3m",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn the shop that comes with recllm, and recommend to three customers it has never seen."""
    from recllm.cli.demo import run_demo

    check_folder(out)
    if not as_json:
        say(f"Learning a shop from its products and purchases (at most {budget} of training) …")
    with ProgressBar(quiet=as_json) as progress:
        result = run_demo(seed=seed, device=device, budget=budget, out=out, progress=progress)
    if as_json:
        write_json(dataclasses.asdict(result))
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
        f"Learned in {duration(result.fit_seconds)}; a new customer takes {result.adapt_milliseconds:.0f} ms. {kept}"
    )
