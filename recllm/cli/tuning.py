"""`recllm prompts compose | optimize | tree | promote | rollback`: prompts that improve by measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import recllm
from recllm.cli.app import (
    AsJson,
    Budget,
    Config,
    Device,
    Events,
    Items,
    Seed,
    command,
    prompts_app,
    settings,
    write_json,
)
from recllm.cli.files import Files
from recllm.terminal import ProgressBar, say

Folder = Annotated[Path, typer.Option("--prompts", help="A folder of prompts of your own.")]
Alias = Annotated[str, typer.Option(help="What a prompt is in use as.")]


@command("compose", prompts_app)
def compose(
    *,
    items: Annotated[Path, typer.Argument(help="The catalog: csv, parquet, jsonl …, also packed.")],
    out: Annotated[Path | None, typer.Option(help="Write the prompt to this file.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--prompts", help="Keep it in this folder of prompts, under its version.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Whose words it uses; chosen by the catalog without it.")] = None,
    config: Config = None,
    files: Files,
    as_json: AsJson = False,
) -> None:
    """Compose an item prompt from a catalog's columns, and say which it reads and why."""
    from recllm import prompts
    from recllm.tuning.store import PromptStore

    composed = prompts.compose(files.catalog(items), domain=domain, config=settings(config).text)
    kept = {}
    if out is not None:
        out.write_text(composed.prompt.source, encoding="utf-8")
        kept["file"] = str(out)
    if folder is not None:
        kept["prompt"] = PromptStore(folder).add(composed.prompt).name
    if as_json:
        facts = {"domain": composed.domain.name, "why": composed.domain.why, "language": composed.profile.language}
        told = {"reads": composed.read, "leaves_out": composed.left, "source": composed.prompt.source}
        write_json({**facts, **told, **kept})
        return
    typer.echo(str(composed).rstrip())
    for what, where in kept.items():
        typer.echo(f"\nKept as {what} {where}.")


@command("optimize", prompts_app)
def optimize(
    *,
    items: Items,
    events: Events,
    folder: Annotated[
        Path | None, typer.Option("--prompts", help="A folder of prompts of your own, to keep the result in.")
    ] = None,
    standing: Annotated[
        str | None, typer.Option(help="The prompt in use; without it what was promoted, else the domain's own.")
    ] = None,
    arms: Annotated[int, typer.Option(min=2, help="Prompts that are tried at most.")] = 32,
    config: Config = None,
    budget: Budget = None,
    files: Files,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Race item prompts on held-out users and items, and keep the result, its lineage and the arms that lost."""
    from recllm import prompts

    asked = settings(config)
    recllm.TrainOptions(seed=seed, device=device, budget=budget)  # or refused, before files are read
    catalog = files.catalog(items)
    log = files.events(events)
    with ProgressBar(quiet=as_json) as progress:
        options = recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=progress)
        how: dict[str, Any] = {"config": asked.text, "liked_from": asked.liked_from, "options": options}
        result = prompts.optimize(catalog, log, folder=folder, standing=standing, most=arms, **how)
    if as_json:
        write_json(result.to_dict())
        return
    typer.echo(str(result))
    if folder is None:
        typer.echo("\nNothing was kept; say where to, with --prompts FOLDER.")
    elif not result.kept:
        name = result.chosen.prompt.name
        typer.echo(f"\nTo use it: recllm prompts promote {name} --prompts {folder} --items {items}")


@command("tree", prompts_app)
def tree(*, folder: Folder, as_json: AsJson = False) -> None:
    """Show which prompt came from which, arms that lost their race included."""
    from recllm import prompts

    roots = prompts.tree(folder)
    if as_json:
        write_json([asdict(root) for root in roots])
        return
    if not roots:
        raise recllm.PromptError(f"there are no prompts in {folder}; compose or optimize writes some")
    typer.echo("\n".join(_branches(roots)))


@command("promote", prompts_app)
def promote(
    *,
    name: Annotated[str, typer.Argument(help="The prompt, as `recllm prompts tree` shows it.")],
    folder: Folder,
    items: Annotated[
        Path | None, typer.Option("--items", help="The catalog it shall describe: checked, and the price is told.")
    ] = None,
    alias: Alias = "item",
    config: Config = None,
    files: Files,
    as_json: AsJson = False,
) -> None:
    """Put a prompt into use: the next `recllm fit --prompts FOLDER` reads it."""
    from recllm import prompts

    catalog = None if items is None else files.catalog(items)
    move = prompts.promote(folder, name, alias=alias, catalog=catalog, config=settings(config).text)
    _tell(asdict(move), as_json)


@command("rollback", prompts_app)
def rollback(*, folder: Folder, alias: Alias = "item", as_json: AsJson = False) -> None:
    """Put what was in use before into use again."""
    from recllm import prompts

    _tell(asdict(prompts.rollback(folder, alias)), as_json)


def _tell(move: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_json(move)
        return
    before = f" (before: {move['before']})" if move["before"] else ""
    say(f"'{move['alias']}' is {move['prompt']} from now on{before}.")
    if move["price"]:
        say(f"Price: the next fit {move['price']}.")


def _branches(nodes: Sequence[Any], depth: int = 0) -> Iterator[str]:
    for node in sorted(nodes, key=lambda node: (node.lost, node.name)):
        gain = node.facts.get("gain")
        told = f"  {gain['value']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}], {gain['n']} users" if gain else ""
        lost = f"  lost: {node.facts.get('stopped', '')}" if node.lost else ""
        layout = f"  {node.facts['layout']}" if "layout" in node.facts else ""
        used = f"  <- {', '.join(node.aliases)}" if node.aliases else ""
        yield f"{'  ' * depth}{node.name}{layout}{told}{lost}{used}"
        yield from _branches(node.children, depth + 1)
