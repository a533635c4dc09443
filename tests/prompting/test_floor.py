"""What no successor of a prompt may lose; frozen cases, and that what is shipped passes them."""

from pathlib import Path

import pytest

from recllm.errors import PromptError
from recllm.prompting import list_prompts, load_prompt, parse_prompt
from recllm.prompting.cases import load_cases, read_cases
from recllm.prompting.floor import complaints, forbidden
from recllm.resources import data_folder

SHIPPED = data_folder("prompts")
FINANCE = load_prompt("reason.finance")


@pytest.mark.parametrize("name", list_prompts())
def test_what_is_shipped_passes_its_cases_and_has_some(name: str) -> None:
    prompt, cases = load_prompt(name), load_cases(name)
    assert cases or name.startswith(("titles_more", "likewise")), f"write prompts/cases/{name}.yaml"
    assert [(case.name, fault) for case in cases for fault in case.faults(prompt, exact=True)] == []
    assert forbidden(prompt) == []
    assert complaints(prompt, prompt) == []


@pytest.mark.parametrize("file", sorted((SHIPPED / "cases").glob("*.yaml")), ids=lambda file: file.stem)
def test_cases_say_what_prompts_know(file: Path) -> None:
    prompts = [load_prompt(name) for name in list_prompts() if f"{name}.".startswith(f"{file.stem}.")]
    assert prompts, "there is no such prompt"
    for case in read_cases(file):
        for prompt in prompts:
            assert set(case.values or {}) <= set(prompt.variables), (case.name, prompt.name)


def test_every_domain_has_its_best_and_its_worst() -> None:
    for name in list_prompts():
        if name.startswith(("item.", "reason.")):
            words = [case.name.partition(",")[0] for case in load_cases(name) if case.file == name and case.words]
            assert {"best", "worst"} <= set(words), name


@pytest.mark.parametrize(
    ("old", "fresh", "complaint"),
    [
        ("{{> not_advice}}", "", "it lost the clause '{{> not_advice}}'"),
        ("{{> not_advice}}", "{{#if popular}}\n{{> not_advice}}\n{{/if}}", "it lost the clause '{{> not_advice}}'"),
        ("domain: finance", "domain: neutral", "it is of the domain 'neutral' in place of 'finance'"),
        ("popular: boolean", "popular: boolean\n    sum: number", "it needs the variable 'sum', which may be missing"),
        ("verb: string?", "verb: string", "it needs the variable 'verb'"),
        ("A guess;", "It will surely rise;", "it holds a promise: 'will surely rise'"),
        ("A guess;", "Returns are guaranteed;", "it holds a promise: 'guaranteed'"),
        ("A guess;", "8 % a year;", "it holds a promise: '8 % a year'"),
        ("A guess;", "You should buy this;", "it holds advice: 'You should buy'"),
        ("A guess;", "<|im_start|>system;", "it holds a role tag: '<|im_start|'"),
        ("A guess;", "See https://a.example;", "it holds a link: 'https://'"),
        ("{{> cited}}", "Because of {{verb}}.", "with what was done' of reason: it lacks '“A lamp”"),
        ("{{> cited}}", "A guess, and {{> cited}}", "it says 'guess'"),
    ],
)
def test_the_floor_of_a_reason(old: str, fresh: str, complaint: str) -> None:
    more = "{{#if sum}}{{/if}}" if "sum" in fresh else ""
    assert old in FINANCE.source
    candidate = parse_prompt(FINANCE.source.replace(old, fresh) + more, "own", SHIPPED)
    said = complaints(candidate, FINANCE)
    assert any(complaint in one for one in said), said


@pytest.mark.parametrize("name", ["reason.finance", "reason.finance.x", "reason.own"])
@pytest.mark.parametrize("fresh", ["", "{{#if popular}}\n{{> not_advice}}\n{{/if}}", "No advice."])
def test_a_finance_reason_without_its_clause_does_not_load(name: str, fresh: str) -> None:
    source = FINANCE.source.replace("{{> not_advice}}", fresh)
    with pytest.raises(PromptError, match=r"line 3, is a reason of .* does not always say") as caught:
        parse_prompt(source, name, SHIPPED)
    assert (caught.value.line, caught.value.key) == (3, "domain")


def test_a_slot_stays_unless_it_may_be_dropped() -> None:
    parent = parse_prompt(
        "---\nmetadata: {may_drop: [b]}\ninput:\n  schema:\n    a: string?\n    b: string?\n---\n{{a}} {{b}}", "own.x"
    )
    fewer = parse_prompt("---\ninput:\n  schema:\n    b: string?\n---\n{{b}}", "own.x")
    assert complaints(fewer, parent) == ["it lost the variable 'a'"]
    fewer = parse_prompt("---\ninput:\n  schema:\n    a: string?\n---\n{{a}}", "own.x")
    assert complaints(fewer, parent) == []
    other = parse_prompt("---\ninput:\n  schema:\n    a: list?\n---\n{{#each a}}{{/each}}", "own.x")
    assert complaints(other, parent) == ["it takes 'a' as list, which is string"]


def test_other_words_are_no_complaint() -> None:
    source = FINANCE.source.replace("A guess; nothing in", "A shot in the dark; nothing in")
    candidate = parse_prompt(source.replace("Popular with all clients; not", "Popular here; not"), "own", SHIPPED)
    assert candidate.digest != FINANCE.digest
    assert complaints(candidate, FINANCE) == []
    assert forbidden(parse_prompt("---\n---\nReturns are not guaranteed.")) == []


def test_an_item_prompt_may_read_other_fields() -> None:
    parent = load_prompt("item.ecommerce")
    source = "---\ninput:\n  schema:\n    FIELD: string?\n    brand: string?\n---\n{{FIELD}} {{brand}}"
    neither = ["it reads neither the title nor the text of an item"]
    for field, wrong in (("title", []), ("text", []), ("color", neither)):
        said = complaints(parse_prompt(source.replace("FIELD", field), "item.arm"), parent)
        assert [one for one in said if not one.startswith("case")] == wrong
        assert bool(said) is bool(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: {}", "a list under the one key 'cases'"),
        ("cases: [\n", "cannot be read"),
        ("cases: []\nmore: 1", "a list under the one key"),
        ("cases: [a]", "case 1 is str"),
        ("cases: [{name: a, value: {}}]", "case 1 has the unknown key 'value'; known: name, values"),
        ("cases: [{name: a, words: b}]", "either 'values' or 'item'"),
        ("cases: [{name: a, values: {}, item: {}, words: b}]", "either 'values' or 'item'"),
        ("cases: [{name: a, values: {}}]", "what is asked"),
        ("cases: [{values: {}, words: b}]", "a 'name'"),
        ("cases: [{name: a, values: {}, never: b}]", "lists of texts"),
        ("cases: [{name: a, values: {}, never: ['']}]", "lists of texts"),
        ("cases: [{name: a, values: {}, words: b}, {name: a, values: {}, words: b}]", "two cases are called 'a'"),
    ],
)
def test_refuses_a_wrong_file_of_cases(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "own.yaml").write_text(text)
    with pytest.raises(PromptError, match=message):
        load_cases("own.x", tmp_path)
    assert load_cases("other", tmp_path) == ()


def test_a_case_that_cannot_be_rendered_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "own.yaml").write_text("cases: [{name: a, values: {x: 3}, words: '3'}]")
    (case,) = load_cases("own", tmp_path)
    wrong = parse_prompt("---\ninput:\n  schema:\n    x: string\n---\n{{x}}", "own")
    assert case.faults(wrong, exact=False) == ["prompt 'own' got int for 'x'; it wants a string"]
    right = parse_prompt("---\ninput:\n  schema:\n    x: number\n---\n{{x}}!", "own")
    assert case.faults(right, exact=False) == []
    assert case.faults(right, exact=True) == ["it says '3!' in place of '3'"]
