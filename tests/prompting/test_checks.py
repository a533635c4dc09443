"""Folders of prompts looked through; and that rendering costs next to nothing."""

import shutil
import time
from pathlib import Path

import pytest

import recllm
from recllm.errors import PromptError
from recllm.prompting import list_prompts, load_prompt
from recllm.prompting.checks import check_prompts, diff_prompts, lint_prompts, render_prompt
from recllm.resources import data_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what is shipped."""
    return Path(shutil.copytree(data_folder("prompts"), tmp_path / "prompts"))


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_nothing_is_wrong_with_what_is_shipped(folder: Path) -> None:
    assert lint_prompts() == ()
    assert lint_prompts(folder) == ()
    assert all(outcome.passed for outcome in check_prompts())
    assert {outcome.prompt.partition("@")[0] for outcome in check_prompts()} >= {"reason.finance", "item.social"}


SOUND = "---\ndescription: d\ninput:\n  schema:\n    x: string\n---\n{{x}}\n"


@pytest.mark.parametrize(
    ("name", "text", "line", "key", "message"),
    [
        ("own.prompt", SOUND.replace("input", "inptu"), 3, "inptu", "unknown key 'inptu' in the front matter"),
        ("own.prompt", SOUND.replace("schema", "shcema"), 4, "input.shcema", "unknown key 'shcema' in 'input'"),
        ("own.prompt", SOUND.replace("{{x}}", "{{y}}"), 7, None, "the variable 'y', which 'input.schema' does not"),
        ("own.prompt", SOUND.replace("{{x}}", ""), 5, "input.schema.x", "declares the variable 'x' and never uses it"),
        ("own.prompt", SOUND.replace(": string", ": text"), 5, "input.schema.x", "declares 'x' as 'text'"),
        ("own.prompt", SOUND.replace("{{x}}", "{{x}} {{> gone}}"), 7, None, "no '_gone.prompt'"),
        ("own.prompt", SOUND.replace("input", "config: {max_tokens: 2}\ninput"), 3, "config.max_tokens", "has 2 as"),
        ("own.prompt", SOUND.replace("input", "metadata: [a]\ninput"), 3, "metadata", "has list as 'metadata'"),
        ("own.prompt", SOUND.replace("description: d\n", ""), 1, "description", "does not say what it is for"),
        ("own.prompt", SOUND.replace("{{x}}", "{{x}} will surely rise"), None, None, "it holds a promise"),
        ("own.prompt", SOUND.replace("---\n", ""), 1, None, "no front matter"),
        ("Own.prompt", SOUND, None, None, "there is no prompt 'Own'"),
        ("_details.prompt", "{{nothing}}", 1, None, "partial 'details' of prompt 'facts.reason', line 1"),
        ("_unused.prompt", "words", None, None, "no prompt uses this partial"),
        ("reason.finance.prompt", "---\ndescription: d\n---\nYours.", 2, "domain", "does not always say"),
        ("cases/item.yaml", "cases: [{name: a}]", None, None, "either 'values' or 'item'"),
        ("cases/thing.yaml", "cases: []", None, None, "there is no prompt that these cases are for"),
    ],
)
def test_what_is_wrong_has_file_line_and_key(
    folder: Path, name: str, text: str, line: int | None, key: str | None, message: str
) -> None:
    write(folder, name, text)
    found = [finding for finding in lint_prompts(folder) if finding.file == name]
    assert found, lint_prompts(folder)
    assert message in found[0].message
    assert (found[0].line, found[0].key) == (line, key)
    assert str(folder) not in found[0].message or key is None


def test_a_case_that_gets_worse_fails(folder: Path) -> None:
    source = (folder / "reason.neutral.prompt").read_text(encoding="utf-8")
    write(folder, "reason.neutral.prompt", source.replace("A guess;", "For you;"))
    failed = [outcome for outcome in check_prompts(folder, ("reason.neutral",)) if not outcome.passed]
    assert {outcome.case for outcome in failed} == {"worst, nothing stands out", "worst, in this domain"}
    assert failed[0].faults == ("it says 'for you'",)
    assert failed[0].to_dict()["passed"] is False


def test_a_folder_without_cases_is_measured_by_those_of_recllm(folder: Path) -> None:
    shutil.rmtree(folder / "cases")
    source = (folder / "reason.finance.prompt").read_text(encoding="utf-8")
    write(folder, "reason.finance.prompt", source.replace("A guess;", "A shot in the dark;"))
    assert all(outcome.passed for outcome in check_prompts(folder, ("reason.finance",))), "its words are its own"
    write(folder, "reason.finance.prompt", source.replace("A guess;", "For you;"))
    assert not all(outcome.passed for outcome in check_prompts(folder, ("reason.finance",)))


def test_how_two_prompts_differ() -> None:
    neutral, shop = load_prompt("item.neutral"), load_prompt("item.ecommerce")
    found = diff_prompts(neutral, shop)
    assert "+Product category: {{#each categories}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}" in found.source
    said = {case: (one, other) for case, one, other in found.texts}
    assert said["categories have a label"] == ("T\nx, y", "T\nProduct category: x, y")
    assert found.complaints == ()
    assert diff_prompts(shop, shop).to_dict() == {
        "one": shop.reference, "other": shop.reference, "source": [], "texts": [], "complaints": []
    }  # fmt: skip
    assert any("lost" in one for one in diff_prompts(load_prompt("reason.finance"), neutral).complaints)


def test_render_by_name(folder: Path) -> None:
    assert render_prompt("item.neutral", {"title": "A lamp"}) == "A lamp"
    write(folder, "own.prompt", SOUND)
    assert render_prompt("own", {"x": "{{x}}"}, folder) == "{{x}}"
    with pytest.raises(PromptError, match="needs the variable 'x'"):
        render_prompt("own", folder=folder)
    with pytest.raises(PromptError, match="there is no folder"):
        lint_prompts(folder / "gone")


def test_the_door_from_python() -> None:
    prompts = recllm.prompts
    assert prompts.list() == list_prompts()
    assert prompts.load("item.neutral").digest == load_prompt("item.neutral").digest
    assert prompts.render("item.neutral", {"title": "A lamp"}) == "A lamp"
    assert prompts.lint() == ()
    assert all(outcome.passed for outcome in prompts.test())
    with pytest.raises(recllm.PromptError):
        prompts.parse("nothing")


@pytest.mark.parametrize("name", ["item.ecommerce", "reason.finance", "facts.reason"])
def test_rendering_costs_next_to_nothing(name: str) -> None:
    """The bar is .2 ms; best of five, and twice the bar, because others may be busy here."""
    prompt = load_prompt(name)
    words = {"string": "A lamp of brass, with a shade " * 4, "number": 3.5, "boolean": False, "list": ["light", "home"]}
    values = {one.name: words[one.type] for one in prompt.variables.values()}

    def seconds() -> float:
        begin = time.process_time()
        for _ in range(200):
            prompt.render(**values)
        return (time.process_time() - begin) / 200

    assert min(seconds() for _ in range(5)) < 2 * 0.2e-3
