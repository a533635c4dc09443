"""`recllm prompts …`: what the library says of prompts, in a terminal."""

import json
import shutil
from pathlib import Path

import pytest

import recllm
from recllm.resources import data_folder
from tests.cli.command_line import refuses, run, told


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of prompts of one's own, beside a catalog."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data_folder("prompts"), "own")
    (tmp_path / "items.csv").write_text("item_id,title,Brand Name\ni1,A lamp,Lux\ni2,A chair,\n", encoding="utf-8")
    return tmp_path / "own"


SCHEMA = "input:\n  schema:\n    title: string\n    brand_name: string?\n"
BRAND = f"---\ndescription: d\n{SCHEMA}---\n{{{{title}}}} by {{{{brand_name}}}}"


def test_list_and_show(own: Path) -> None:
    rows = told("prompts", "list")
    assert [row["name"] for row in rows] == list(recllm.prompts.list())
    shown = told("prompts", "show", "item.neutral")
    assert shown["source"] == recllm.prompts.load("item.neutral").source
    assert shown["variables"]["title"] == {"type": "string", "optional": True, "description": ""}
    (own / "mine.prompt").write_text(BRAND.replace("description", "config: {max_tokens: 9}\ndescription"))
    mine = [row for row in told("prompts", "list", "--prompts", "own") if row["name"] == "mine"]
    assert [row["max_tokens"] for row in mine] == [9]
    assert "item.neutral@" in run("prompts", "list").output
    assert run("prompts", "show", "mine", "--prompts", "own").stdout.endswith("{{title}} by {{brand_name}}\n")


def test_render(own: Path) -> None:
    Path("values.json").write_text(json.dumps({"title": "A lamp", "categories": ["light"]}))
    assert run("prompts", "render", "item.neutral", "--values", "values.json").stdout == "A lamp\nlight\n"
    (own / "mine.prompt").write_text(BRAND)
    mine = ("prompts", "render", "mine", "--prompts", "own")
    assert run(*mine, "--items", "items.csv", "--item", "i1").stdout == "A lamp by Lux\n"
    answer = told(*mine, "--items", "items.csv", "--item", "i2")
    assert (answer["values"], answer["text"]) == ({"title": "A chair"}, "A chair by")
    assert answer["prompt"] == recllm.prompts.load("mine", own).reference
    refuses(run(*mine), "needs the variable 'title'")
    refuses(run(*mine, "--items", "items.csv"), "give either --values FILE, or --items FILE and --item ID")
    refuses(run(*mine, "--items", "items.csv", "--item", "i9"), "no item 'i9'", "i1, i2")
    Path("values.json").write_text("[1]")
    refuses(run(*mine, "--values", "values.json"), "holds list")
    Path("values.json").write_text("{")
    refuses(run(*mine, "--values", "values.json"), "is not JSON")
    (own / "mine.prompt").write_text(BRAND.replace("brand_name", "colour"))
    refuses(run(*mine, "--items", "items.csv", "--item", "i1"), "'colour', which no column of the catalog gives")


def test_lint(own: Path) -> None:
    assert told("prompts", "lint") == []
    (own / "mine.prompt").write_text(BRAND.replace("string?", "text"))
    result = run("prompts", "lint", "--prompts", "own")
    assert result.exit_code == 1
    assert "mine.prompt:6: prompt 'mine', line 6, declares 'brand_name' as 'text'" in result.stdout
    (finding,) = json.loads(run("prompts", "lint", "--prompts", "own", "--json").stdout)
    assert (finding["file"], finding["line"], finding["key"]) == ("mine.prompt", 6, "input.schema.brand_name")
    refuses(run("prompts", "lint", "--prompts", "gone"), "there is no folder gone")
    refuses(run("prompts", "list", "--prompts", "own"), "mine.prompt: prompt 'mine', line 6")


def test_test(own: Path) -> None:
    outcomes = told("prompts", "test", "reason.finance")
    assert len(outcomes) == len(recllm.prompts.test(names=("reason.finance",)))
    assert all(one["passed"] for one in outcomes)
    source = (own / "reason.social.prompt").read_text(encoding="utf-8")
    (own / "reason.social.prompt").write_text(source.replace("{{> cited}}", "Of {{verb}}."), encoding="utf-8")
    result = run("prompts", "test", "--prompts", "own")
    assert result.exit_code == 1
    assert "FAIL reason.social@" in result.stdout
    assert "it lacks '“A lamp”'" in result.stdout
    refuses(run("prompts", "test", "nothing"), "there is no prompt 'nothing'")


def test_diff(own: Path) -> None:
    assert run("prompts", "diff", "item.neutral", "item.neutral").stdout == "alike\n"
    source = (own / "reason.social.prompt").read_text(encoding="utf-8")
    (own / "reason.social.prompt").write_text(source.replace("A guess;", "For you;"), encoding="utf-8")
    shown = run("prompts", "diff", "reason.social", "--prompts", "own").stdout
    assert "For you; nothing in your history stands out" in shown
    assert "\n-{{#if popular}}" in shown
    listed = run("prompts", "diff", "item.neutral", "item.social").stdout
    assert "\n   schema:\n     title: string?\n" in listed
    assert "may not take its place: case 'worst, nothing stands out' of reason: it says 'for you'" in shown
    told_too = told("prompts", "diff", "reason.social", "--prompts", "own")
    assert told_too["source"]
    assert told_too["complaints"]
    refuses(run("prompts", "diff", "item.neutral"), "give another prompt, or --prompts FOLDER")


def test_export(own: Path) -> None:
    files = told("prompts", "export", "out", "--to", "promptfoo")["files"]
    assert files == ["out/promptfooconfig.yaml"]
    assert run("prompts", "export", "dot").stdout.startswith(f"{len(list(own.glob('*.prompt')))} files written")
    assert (Path("dot") / "item.neutral.prompt").is_file()
    assert run("prompts", "export", "out", "--to", "word").exit_code == 2
