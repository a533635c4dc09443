"""`recllm prompts list | show | render | lint | test | diff | export`: prompts as files, looked at and checked."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

import recllm
from recllm.cli.app import AsJson, command, prompts_app, write_json
from recllm.cli.files import Files, ItemColumns
from recllm.terminal import make_console, make_table
from recllm.texts import clean_text

Folder = Annotated[Path | None, typer.Option("--prompts", help="A folder of prompts; those of recllm without it.")]
Name = Annotated[str, typer.Argument(help="A prompt, such as item.neutral.")]


@command("list", prompts_app)
def list_all(*, folder: Folder = None, as_json: AsJson = False) -> None:
    """List prompts: name, version, domain, what they are for."""
    prompts = [recllm.prompts.load(name, folder) for name in recllm.prompts.list(_there(folder))]
    if as_json:
        write_json([_facts(prompt) for prompt in prompts])
        return
    table = make_table("prompt", "domain", "reads", "what for")
    for prompt in prompts:
        row = (prompt.reference, prompt.domain or "", ", ".join(prompt.variables), prompt.description)
        table.add_row(*(Text(clean_text(cell)) for cell in row))
    make_console().print(table)


@command(on=prompts_app)
def show(*, name: Name, folder: Folder = None, as_json: AsJson = False) -> None:
    """Show a prompt's file, its version and its variables."""
    prompt = recllm.prompts.load(name, folder)
    if as_json:
        write_json(_facts(prompt) | {"metadata": prompt.metadata, "source": prompt.source})
        return
    typer.echo(f"# {prompt.reference}\n{prompt.source.rstrip()}")


@command(on=prompts_app)
def render(
    *,
    name: Name,
    values: Annotated[Path | None, typer.Option(help='A JSON file with the values: {"title": "A lamp"}.')] = None,
    items: Annotated[Path | None, typer.Option(help="A catalog, in place of values.")] = None,
    item: Annotated[str | None, typer.Option(help="Which of its items.")] = None,
    item_columns: ItemColumns = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Print the text that a prompt makes of values, or of an item of a catalog."""
    prompt = recllm.prompts.load(name, folder)
    if (items is None) != (item is None) or (items is not None and values is not None):
        raise recllm.ConfigError("give either --values FILE, or --items FILE and --item ID")
    if items is not None and item is not None:
        given = _values_of_item(Files(item_columns=item_columns).catalog(items), item, prompt)
    else:
        given = {} if values is None else _read_values(values)
    text = recllm.prompts.render(name, given, folder)
    if as_json:
        write_json({"prompt": prompt.reference, "values": given, "text": text})
    else:
        typer.echo(text)


@command(on=prompts_app)
def lint(*, folder: Folder = None, as_json: AsJson = False) -> None:
    """Say what is wrong with prompts, partials and cases: file, line, key. Exit code 1 if anything is."""
    found = recllm.prompts.lint(folder)
    if as_json:
        write_json([finding.to_dict() for finding in found])
    else:
        for one in found:
            typer.echo(f"{one.file}{f':{one.line}' if one.line else ''}: {clean_text(one.message)}")
        typer.echo(f"{len(found)} faults" if found else "nothing is wrong")
    if found:
        raise typer.Exit(1)


@command("test", prompts_app)
def try_cases(
    *,
    names: Annotated[list[str] | None, typer.Argument(help="Prompts; all if none is named.")] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Try prompts on their frozen cases: PASS or FAIL. Exit code 1 if any fails."""
    outcomes = recllm.prompts.test(folder, tuple(names or ()))
    failed = [one for one in outcomes if not one.passed]
    if as_json:
        write_json([one.to_dict() for one in outcomes])
    else:
        for one in outcomes:
            typer.echo(clean_text(f"{'PASS' if one.passed else 'FAIL'} {one.prompt}: {one.case}"))
            for fault in one.faults:
                typer.echo(f"     {clean_text(fault)}")
        typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases pass")
    if failed:
        raise typer.Exit(1)


@command(on=prompts_app)
def diff(
    *,
    one: Name,
    other: Annotated[str | None, typer.Argument(help="Another; the one of that name in --prompts without it.")] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Compare two prompts: their files, what they say in the frozen cases, and what the second may not lose."""
    if other is None and folder is None:
        raise recllm.ConfigError("give another prompt, or --prompts FOLDER to compare recllm's own with the folder's")
    first = recllm.prompts.load(one, None if other is None else folder)
    found = recllm.prompts.diff(first, recllm.prompts.load(other or one, folder))
    if as_json:
        write_json(found.to_dict())
        return
    for line in found.source:
        start = len(line) - len(line[1:].lstrip(" "))  # + or -, and what the line is indented by
        typer.echo(line[:start] + clean_text(line[start:]))
    for case, before, after in found.texts:
        typer.echo(f"\n{clean_text(case)}\n- {_line(before)}\n+ {_line(after)}")
    for complaint in found.complaints:
        typer.echo(f"may not take its place: {clean_text(complaint)}")
    if not (found.source or found.texts):
        typer.echo("alike")


@command("export", prompts_app)
def export(
    *,
    target: Annotated[Path, typer.Argument(help="The folder to write to.")],
    to: Annotated[Literal["dotprompt", "promptfoo"], typer.Option(help="For which tool.")] = "dotprompt",
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Write prompts for other tools: files of dotprompt, or a configuration of promptfoo with the cases as tests."""
    files = recllm.prompts.export(to, target, folder)
    if as_json:
        write_json({"to": to, "files": [str(file) for file in files]})
    else:
        typer.echo(f"{len(files)} file{'' if len(files) == 1 else 's'} written to {target}")


def _there(folder: Path | None) -> Path | None:
    if folder is not None and not folder.is_dir():
        raise recllm.PromptError(f"there is no folder {folder}; give one with files such as item.neutral.prompt")
    return folder


def _facts(prompt: "recllm.prompts.Prompt") -> dict[str, Any]:
    kinds = {
        one.name: {"type": one.type, "optional": one.optional, "description": one.description}
        for one in prompt.variables.values()
    }
    facts = {"name": prompt.name, "reference": prompt.reference, "digest": prompt.digest, "domain": prompt.domain}
    return facts | {"description": prompt.description, "max_tokens": prompt.max_tokens, "variables": kinds}


def _read_values(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise recllm.DataError(f"{file} is not JSON: {error}") from None
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise recllm.DataError(f'{file} holds {kind}; write the values by name: {{"title": "A lamp"}}')
    return values


def _values_of_item(catalog: "recllm.Catalog", item: str, prompt: "recllm.prompts.Prompt") -> dict[str, Any]:
    from recllm.prompting.items import check_columns, item_values

    (row,) = catalog.rows([item])
    if row < 0:
        raise recllm.DataError(f"the catalog has no item {item!r}; its first are: {', '.join(catalog.item_ids[:5])}")
    check_columns(prompt, catalog.frame.columns)
    return item_values(catalog.item(int(row)), prompt)


def _line(text: str | None) -> str:
    return "(no text)" if text is None else " / ".join(clean_text(line) for line in text.split("\n"))
