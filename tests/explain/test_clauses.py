"""Clauses are true of the evidence they are given for, and those that come with recllm are the verified ones."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from recllm.errors import PromptError
from recllm.explain.clauses import (
    DETAILS,
    KINDS,
    MOST_OPTIONS,
    bank,
    clauses_for,
    compose,
    load_clauses,
    options_for,
    parse_clauses,
)
from recllm.explain.verify.complaints import complaints
from recllm.prompting import list_prompts
from recllm.prompting.template import prompt_domains
from recllm.resources import data_folder
from tests.explain.examples import RICH, against, evidence, shared, without

FOLDER = data_folder("prompts") / "clauses"
NAMES = list_prompts(FOLDER)
SOURCE = """---
description: Causes.
domain: neutral
input:
  schema:
    cited: string
    verb: string
made_by: hand
---
Because you {{verb}} {{cited}}.
Because of {{cited}} in your history.
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_comes_with_recllm(name: str) -> None:
    file = load_clauses(name)
    assert file.name == name
    assert file.description.endswith(".")
    assert 4 <= len(file.lines) <= 8
    assert len({line.source for line in file.lines}) == len(file.lines)


def test_every_kind_has_neutral_clauses_and_every_file_a_known_domain() -> None:
    assert {f"{kind}.neutral" for kind in KINDS} <= set(NAMES)
    assert {name.rpartition(".")[2] for name in NAMES} == set(prompt_domains())
    assert all(len(bank(domain)) == len(KINDS) for domain in prompt_domains())


def test_clauses_are_no_prompts() -> None:
    assert not [name for name in list_prompts() if name.startswith("c") and not name.startswith("choose")]


def test_all_that_is_true_and_where_it_stands() -> None:
    clauses = clauses_for(evidence("history", "A", "B"), "ecommerce")
    digest = load_clauses("cited.ecommerce").digest[:8]
    assert clauses[0].kind == "cited"
    assert clauses[0].text == "Because you bought “A” and “B”."
    assert clauses[0].prompt == f"clauses/cited.ecommerce@{digest}#1"
    assert clauses[1].prompt == f"clauses/cited.ecommerce@{digest}#2"
    assert {clause.kind for clause in clauses} == {"cited"}


def test_without_a_verb_no_clause_has_one() -> None:
    known, unknown = (clauses_for(evidence("history", "A", events=(event,))) for event in ("purchase", None))
    assert {clause.text for clause in unknown} == {clause.text for clause in known if "bought" not in clause.text}
    assert 0 < len(unknown) < len(known)


@pytest.mark.parametrize(
    ("given_evidence", "kinds"),
    [
        (evidence("asked", wishes=("Garden",)), {"asked"}),
        (evidence("popular", popular=True), {"popular"}),
        (evidence("weak"), {"weak"}),
        (evidence("weak", popular=True), {"weak"}),
        (evidence("cold_start"), {"cold_start"}),
        (evidence("cold_start", popular=True), {"cold_start.popular"}),
        (evidence("profile", popular=True), {"profile"}),
        (evidence("promoted", popular=True), {"promoted"}),
        (evidence("history", "A", attributes=shared("categories", "G")), {"cited", "attribute.category"}),
        (evidence("history", "A", attributes=shared("sector", "G")), {"cited", "attribute.column"}),
        (evidence("history", "A", attributes=shared("title", "G")), {"cited", "attribute.title"}),
        (evidence("history", "A", counterfactual=without("A")), {"cited", "counterfactual"}),
        (evidence("history", "A", against=against("Z")), {"cited", "against"}),
        (RICH, {"cited", "attribute.category", "counterfactual", "against"}),
    ],
)
def test_kinds(given_evidence, kinds) -> None:
    for domain in prompt_domains():
        clauses = clauses_for(given_evidence, domain)
        assert {clause.kind for clause in clauses} == kinds
        for clause in clauses:
            assert complaints(clause.text, given_evidence, domain=domain) == ()


def test_instead_is_only_said_where_it_is_known() -> None:
    texts = [c.text for c in clauses_for(evidence("history", "A", counterfactual=without("A"))) if "Without" in c.text]
    assert texts
    assert not [text for text in texts if "instead" in text]


def test_an_unknown_domain_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"there is no prompt 'reason.poetry'"):
        clauses_for(RICH, "poetry")


def test_a_list_of_ten_does_not_read_like_ten_copies() -> None:
    texts = Counter(compose(replace(RICH, item_id=f"i{number}")).text for number in range(10))
    assert len(texts) >= 4
    assert compose(RICH) == compose(RICH)


def test_details_follow_in_the_order_asked_for() -> None:
    clause = compose(RICH, "neutral", DETAILS)
    assert clause.kind == "cited+attribute.category+counterfactual+against"
    assert [part.partition("@")[0] for part in clause.prompt.split("+")] == [
        "clauses/cited.neutral",
        "clauses/attribute.category.neutral",
        "clauses/counterfactual.neutral",
        "clauses/against.neutral",
    ]
    assert [len(re.findall(title, clause.text)) for title in ("Garden", "Cake tin|not be", "Office chair")] == [1, 1, 1]
    assert compose(evidence("history", "A"), "neutral", DETAILS).kind == "cited"


def test_options_are_of_different_kinds() -> None:
    options = options_for(RICH)
    assert [option.clause.kind for option in options] == [
        "cited+attribute.category",
        "cited+counterfactual",
        "cited+against",
    ]
    assert len(options) == MOST_OPTIONS
    for clause, offered in options:
        assert clause.text.endswith(f". {offered}")
    one_detail = replace(RICH, counterfactual=None, against=None)
    assert [option.clause.kind for option in options_for(one_detail)] == ["cited", "cited+attribute.category"]


def test_where_there_is_one_thing_to_say_options_are_wordings_of_it() -> None:
    options = options_for(evidence("history", "A"))
    assert {option.clause.kind for option in options} == {"cited"}
    assert len({option.offered for option in options}) == MOST_OPTIONS


# --- files -------------------------------------------------------------------------------------------------------


def test_a_changed_sentence_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cited.neutral.prompt"
    shutil.copy(FOLDER / path.name, path)
    assert load_clauses("cited.neutral", tmp_path).lines
    path.write_text(path.read_text().replace("Because of", "Because of the excellent"))
    with pytest.raises(PromptError, match=r"'cited.neutral' are not the ones that were verified; .*scripts/clauses"):
        load_clauses("cited.neutral", tmp_path)


def test_a_seal_is_for_one_kind_and_domain(tmp_path: Path) -> None:
    source = (FOLDER / "weak.neutral.prompt").read_text()
    (tmp_path / "popular.neutral.prompt").write_text(source)
    with pytest.raises(PromptError, match="not the ones that were verified"):
        load_clauses("popular.neutral", tmp_path)


def test_a_file_that_was_never_verified_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cited.neutral.prompt").write_text(SOURCE)
    with pytest.raises(PromptError, match="not the ones that were verified"):
        load_clauses("cited.neutral", tmp_path)
    with pytest.raises(PromptError, match=r"there are no clauses 'weak.neutral' .*cited.neutral"):
        load_clauses("weak.neutral", tmp_path)


def test_the_text_of_a_file() -> None:
    file = parse_clauses(SOURCE, "cited.neutral")
    assert (file.kind, file.domain, file.description, file.verified) == ("cited", "neutral", "Causes.", "")
    assert [line.slots for line in file.lines] == [("cited", "verb"), ("cited",)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("Because of {{cited}} in your history.", "Because of your history."),
            "line 11, have .*: cited; needed: cited",
        ),
        (("Because of {{cited}}", "Because of {{cited}} {{against}}"), "line 11, has the variable 'against'"),
        (("    verb: string", "    verb: string\n    against: string"), "declare 'against' and never use it"),
        (("Because of {{cited}}", "Because of “{{cited}}”"), "line 11, are not a plain sentence"),
        (("Because of {{cited}}", "See www.example.org, {{cited}}"), "line 11, are not a plain sentence"),
        (("Because of {{cited}}", "<b>Because</b> of {{cited}}"), "line 11, are not a plain sentence"),
        (("in your history.", "in your history"), "line 11, are not a plain sentence with a full stop"),
        (
            ("Because of {{cited}}", "{{#if verb}}Because{{/if}} of {{cited}}"),
            "line 11, have a tag other than {{slot}}",
        ),
        (("Because of {{cited}}", "Because {{> cited}} {{cited}}"), "use the partial 'cited'"),
        (("made_by: hand", "made_with: hand"), "unknown key 'made_with'"),
        (("domain: neutral", "domain: social"), "have the domain 'social'"),
        (("Because you {{verb}} {{cited}}.\nBecause of {{cited}} in your history.\n", ""), "never use it"),
    ],
)
def test_what_a_file_may_not_hold(change: tuple[str, str], message: str) -> None:
    assert change[0] in SOURCE
    with pytest.raises(PromptError, match=message):
        parse_clauses(SOURCE.replace(*change), "cited.neutral")


def test_a_slot_of_another_kind_is_an_error() -> None:
    source = SOURCE.replace("verb", "wishes")
    with pytest.raises(PromptError, match=r"line 10, have a slot too few or too many: wishes; .*allowed: verb"):
        parse_clauses(source, "cited.neutral")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"'praise\.neutral' are of no known kind"):
        parse_clauses(SOURCE, "praise.neutral")
