"""`recllm demo`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recllm.cli.app import AsJson, Device, Seed, command, duration, write_json
from recllm.cli.facts import FAR, DemoResult, SmallResult
from recllm.cli.files import check_folder
from recllm.cli.printing import SHOWN, count_marks, number, rule, title
from recllm.cli.show_small import show_small
from recllm.terminal import ProgressBar, make_console, say
from recllm.texts import clean_text

if TYPE_CHECKING:
    from recllm.cli.facts import Arrival, Customer, Day, Forgotten, Line, Reach


@command()
def demo(
    *,
    out: Annotated[Path | None, typer.Option(help="Keep the model in this folder.")] = None,
    budget: Annotated[str, typer.Option(help="Most time for training: 90s, 3m.")] = "3m",
    small: Annotated[
        bool, typer.Option("--small", help="Learn from 100 customers, with the shop prior and without.")
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn the shop that comes with recllm; then meet customers, a day and a product it has never seen."""
    from recllm.cli.demo import run_demo
    from recllm.cli.small import run_small

    check_folder(out)
    run: Callable[..., DemoResult | SmallResult] = run_small if small else run_demo
    if not as_json:
        whose = "twice from 100 of its customers" if small else "from its products and purchases"
        say(f"Learning a shop {whose} (at most {budget} of training{' each time' if small else ''}) …")
    with ProgressBar(quiet=as_json) as progress:
        result = run(seed=seed, device=device, budget=budget, out=out, progress=progress)
    if as_json:
        write_json(dataclasses.asdict(result))
    elif isinstance(result, SmallResult):
        show_small(result)
    else:
        _show(result)


def _show(result: DemoResult) -> None:
    console = make_console()
    console.print(_opening(result))
    first, *others = result.customers
    rule(console, f"1. A new customer, {clean_text(first.user_id)}, product by product")
    console.print("Nothing is known of them at first: “was” begins as the place in an unknown visitor's list.")
    _show_customer(console, first, followed=True)
    rule(console, f"2. More new customers, after {others[0].lists[-1].known} products each")
    for customer in others:
        _show_customer(console, customer, followed=False)
    console.print(_marks(result.customers))
    rule(console, f"3. The next day: {result.day.date}")
    _show_day(console, result.day)
    rule(console, "4. A new product, known by its text alone")
    console.print(_of_arrival(result.arrival))
    rule(console, f"5. Customer {clean_text(result.forgotten.user_id)} wants to be forgotten")
    console.print(_of_forgotten(result.forgotten))
    rule(console, "What now?")
    console.print(_closing(result), soft_wrap=True)  # so that commands can be copied


def _opening(result: DemoResult) -> str:
    return (
        f"\nA gift shop: {result.n_items:,} products, {result.n_events:,} purchases by {result.n_users:,} customers "
        f"until {result.until}.\nLearned in {duration(result.fit_seconds)}. All that follows was kept from it: three "
        "customers by the hash of their ids, and the last day.\n\n"
        "   #    place in the list\n"
        "   was  place before what is told above the list\n"
        "   ✓    the customer in fact bought it, too; recllm was not told"
    )


# --- customers ---------------------------------------------------------------------------------------------------


def _show_customer(console: Console, customer: "Customer", followed: bool) -> None:
    for meeting in customer.lists:
        who = f"After {number(meeting.known, 'product')}" if followed else f"Customer {clean_text(customer.user_id)}"
        bought = " · ".join(map(clean_text, meeting.fresh))
        again = "the last ones: " if followed and len(meeting.fresh) < meeting.known else "bought: "
        console.print(f"\n{who} ({meeting.milliseconds:.0f} ms), {again}{bought}")
        _show_list(console, meeting.lines)


def _show_list(console: Console, lines: tuple["Line", ...], reasons: bool = True) -> None:
    table = Table(box=None, pad_edge=False)
    for header in ("#", "was"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("product, and why" if reasons else "product", overflow="fold")
    for line in lines[:SHOWN]:
        why = Padding(Text(clean_text(line.explanation or "")), (0, 0, 0, 2))
        table.add_row(str(line.rank), _was(line), Group(title(line), why) if reasons else title(line))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _was(line: "Line") -> str:
    return f">{FAR}" if line.rank_before is None else str(line.rank_before)


def _marks(customers: tuple["Customer", ...]) -> str:
    lists = [customer.lists[-1].lines for customer in customers]
    marks = sum(map(count_marks, lists))
    popular = sum(customer.popular_bought_too for customer in customers)
    places = sum(map(len, lists))
    return (
        f"\n✓ in the last lists of these {len(customers)} customers, ten places each: {marks} of {places}; in the ten "
        f"most popular products instead: {popular} of {places}."
    )


# --- a day, a product, a farewell --------------------------------------------------------------------------------


def _show_day(console: Console, day: "Day") -> None:
    console.print(
        f"{number(day.n_events, 'purchase')} by {number(day.n_users, 'customer')}, {day.n_new_users} of them new. "
        f"The others bought {day.fresh} products that they did not have yet. Of these, {day.foreseen} stood in their "
        f"lists of ten the evening before; of the ten most popular products they bought {day.foreseen_popular}.\n\n"
        f"rec.update(the day) takes {day.milliseconds:.0f} ms and trains nothing. What it changed at once:\n"
        f"Of {number(day.bystanders, 'customer')} who bought nothing that day, {day.moved} have another list of ten."
    )
    if all(line.rank == line.rank_before for line in day.visitor.lines[:SHOWN]):
        console.print(f"A visitor of whom nothing is known sees the same {SHOWN} products first.")
    else:
        console.print("\nA visitor of whom nothing is known:")
        _show_list(console, day.visitor.lines, reasons=False)
    bought = " · ".join(map(clean_text, day.customer.bought))
    console.print(f"\nCustomer {clean_text(day.customer.user_id)}, who bought that day: {bought}")
    _show_list(console, day.customer.lines)


def _of_arrival(arrival: "Arrival") -> str:
    unsold, sold = arrival.reach
    near = "\n".join(f"   - {clean_text(title)}" for title in arrival.near)
    return (
        f"“{clean_text(arrival.title)}” (we made it up, of a kind that sells well here; others begin lower).\n"
        f"rec.add_items(it) takes {unsold.milliseconds:.0f} ms.\n"
        f"Nearest to it by their texts:\n{near}\n"
        f"Search for “{arrival.query}”: {_place(arrival.search_rank)}. "
        f"Products similar to the first of these: {_place(arrival.similar_rank)}.\n\n"
        f"{number(arrival.asked, 'customer')} who have one of these are asked for their lists of ten.\n"
        f"Nobody has bought it yet: it is in {_of_reach(unsold)}\n"
        f"{sold.sold} others buy it (made up, too; rec.update takes {sold.milliseconds:.0f} ms): it is in "
        f"{_of_reach(sold)}"
    )


def _place(rank: int | None) -> str:
    return f"not among the first {FAR}" if rank is None else f"place {rank}"


def _of_reach(reach: "Reach") -> str:
    if reach.best is None:
        return f"{number(reach.listed, 'list')}."
    return (
        f"{number(reach.listed, 'list')}; highest for customer {clean_text(reach.best_user or '')}, at place "
        f"{reach.best.rank}.\n   {clean_text(reach.best.explanation or '')}"
    )


def _of_forgotten(gone: "Forgotten") -> str:
    remembered = "They are STILL remembered" if gone.is_remembered else "They are remembered no more"
    stranger = ", and would be shown what an unknown visitor is" if gone.is_stranger else ""
    same = "the same" if gone.digest_after == gone.digest_recounted else "NOT the same"
    stays = (
        "\nTheir part in the weights that were learned from all customers together stays until the next fit."
        if gone.in_weights
        else ""
    )
    return (
        f"rec.forget([them]) takes {gone.milliseconds:.0f} ms and deletes {number(gone.n_events, 'purchase')}. "
        f"{remembered}{stranger}. Before the next list, weights between products are computed anew: "
        f"{gone.next_milliseconds:,.0f} ms.\n"
        "SHA-256 of everything counted:\n"
        f"   with them                                        {gone.digest_before[:16]}…\n"
        f"   now                                              {gone.digest_after[:16]}…\n"
        f"   counted anew from the log without them           {gone.digest_recounted[:16]}…  {same}{stays}"
    )


def _closing(result: DemoResult) -> str:
    size = f"{result.model_bytes / 1e6:.1f} MB"
    folder, user = result.saved_to, clean_text(result.forgotten.user_id)
    kept = (
        f"The model as it was after step 3 ({size}) is kept:\n"
        f"   recllm recommend --model {folder} --user {user} --explain\n"
        f'   recllm search --model {folder} "something for the garden"'
        if folder
        else f"The model ({size}) was not kept; this keeps it:\n   recllm demo --out model/"
    )
    weeks, due = result.freshness.half_life_weeks, "due" if result.freshness.refit_due else "not due"
    lasts = (
        ""
        if weeks is None
        else f"Lists that are not kept up to date lose a tenth of NDCG@10 in {weeks:.0f} weeks here.\n"
    )
    return (
        f"Learned in {duration(result.fit_seconds)}; steps 1 to 5 took {duration(result.seconds)}.\n"
        f"{lasts}A refit is {due}; `recllm doctor --model model/` says when it is.\n{kept}\n"
        "Your own shop:\n"
        "   recllm fit --items items.csv --events events.csv --out model/"
    )
