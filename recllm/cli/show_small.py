"""`recllm demo --small`: the same shop with a hundred customers, by the shop prior and without, side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recllm.cli.app import duration
from recllm.cli.printing import SHOWN, count_marks, number, rule, title
from recllm.terminal import make_console
from recllm.texts import clean_text

if TYPE_CHECKING:
    from recllm.cli.facts import Compared, Line, SmallResult, Tally

__all__ = ["show_small"]


def show_small(result: "SmallResult") -> None:
    """Print what the demonstration of a small shop found."""
    console = make_console()
    console.print(_opening(result))
    for place, compared in enumerate(result.customers, 1):
        (meeting,) = compared.customer.lists
        rule(console, f"{place}. A new customer, {clean_text(compared.customer.user_id)}")
        console.print(f"bought: {' · '.join(map(clean_text, meeting.fresh))}\n")
        console.print(_beside(compared))
    shown = f"In all ten places of these {len(result.customers)} customers"
    marks = [sum(map(count_marks, lists)) for lists in zip(*map(_three, result.customers), strict=True)]
    console.print(f"\n✓ {shown}: {_three_ways(marks)}.")
    rule(console, f"{len(result.customers) + 1}. The same for many")
    console.print(_of_tally(result.tally))
    rule(console, "What now?")
    console.print(_closing(result), soft_wrap=True)


def _opening(result: "SmallResult") -> str:
    return (
        f"\nA small gift shop: {result.n_items:,} products, {result.n_sold:,} of them sold; {result.n_events:,} "
        f"purchases by {result.n_users:,} customers until {result.until}.\nLearned twice: in "
        f"{duration(result.fit_seconds)} with the shop prior, a ranking that has seen many shops, and in "
        f"{duration(result.shop_only_seconds)} with a ranking that knows this shop only. Customers, those learned from "
        "and those met, are chosen by the hash of their ids.\n"
        f"The ranking is {clean_text(result.ranking)}.\n"
        "Some of the shops that the shipped prior has seen were cut from this one, maybe with customers met here: its "
        "card, adapters/shop-prior, says what it is worth where they were not.\n\n"
        "   ✓    the customer in fact bought it afterwards; recllm was not told"
    )


def _three(compared: "Compared") -> tuple[tuple["Line", ...], ...]:
    return compared.customer.lists[-1].lines, compared.shop_only, compared.popular


def _beside(compared: "Compared") -> Table:
    """The three lists in columns; reasons are of the first."""
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("#", justify="right", no_wrap=True)
    for header, ratio in (("with the shop prior, and why", 5), ("knows this shop only", 3), ("most popular here", 3)):
        table.add_column(header, overflow="fold", ratio=ratio)
    for ours, *others in list(zip(*_three(compared), strict=False))[:SHOWN]:
        why = Padding(Text(clean_text(ours.explanation or "")), (0, 0, 0, 2))
        table.add_row(str(ours.rank), Group(title(ours), why), *map(title, others))
    return table


def _three_ways(hits: Sequence[int]) -> str:
    with_prior, shop_only, popular = hits
    return (
        f"{with_prior:,} with the shop prior, {shop_only:,} by the ranking that knows this shop only, {popular:,} "
        "among the most popular"
    )


def _of_tally(tally: "Tally") -> str:
    low, high = tally.gain_interval
    gain = f"{abs(tally.gain):,} {'more' if tally.gain > 0 else 'fewer'} than" if tally.gain else "as many as"
    chance = "" if low > 0 or high < 0 else " It may be chance."
    return (
        f"{number(tally.customers, 'other customer')} who came first in the {tally.days} days before the last one, and "
        f"whom neither fit has learned from, are known by {tally.known} products each. They went on to buy "
        f"{tally.bought:,} others. Of these, in the ten recommended to each: "
        f"{_three_ways((tally.with_prior, tally.shop_only, tally.popular))}.\n"
        f"The shop prior finds {gain} the ranking that knows this shop only (95 % interval over customers: {low:+,.0f} "
        f"to {high:+,.0f}).{chance}"
    )


def _closing(result: "SmallResult") -> str:
    kept = (
        f"is kept:\n   recllm recommend --model {result.saved_to} --events new.csv --explain"
        if result.saved_to
        else "was not kept; this keeps it:\n   recllm demo --small --out model/"
    )
    return (
        f"All lists took {duration(result.seconds)}.\n"
        f"The model with the shop prior ({result.model_bytes / 1e6:.1f} MB) {kept}\n"
        "The whole shop:\n"
        "   recllm demo"
    )
