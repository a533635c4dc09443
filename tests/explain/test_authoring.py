"""Whoever writes clauses, only true ones are sealed."""

import shutil
from pathlib import Path

import pytest

from recllm.errors import PromptError
from recllm.explain.authoring import clause_complaints, samples, seal_clauses, verify_bank, write_clauses
from recllm.explain.clauses import load_clauses, parse_clauses
from recllm.explain.wording import VERBS, verb_for
from recllm.prompting.generator import CannedGenerator
from recllm.resources import data_folder

FOLDER = data_folder("prompts") / "clauses"
PROPOSALS = """
1. {{cited}}, which you {{verb}}, led to this.
- Because of {{cited}}.
* Because you {{verb}} this.
Because you {{verb}} {{cited}}, the best product ever.
Because you {{verb}} {{cited}}, see https://example.org.
Because you {{verb}} {{cited}}, <b>buy now</b>.
Without {{cited}} it would not be in your list.
You asked for more of {{cited}}.
Because you bought {{cited}}.
Because you {{verb}} {{cited}} and {{against}}.
Because you {{verb}} “Another item” and {{cited}}.
{{cited}} in your history speaks against it.
Because you {{verb}} {{cited}}.
Here are some sentences:
Because of {{cited}}.
"""


@pytest.mark.slow
def test_the_shipped_clauses_are_true_of_every_sample() -> None:
    assert verify_bank() == ()


def test_samples_have_every_shape() -> None:
    causes = [sample.causes for sample in samples()]
    assert {len(cited) for cited in causes} == {0, 1, 2, 3}
    assert {verb_for(cited[0].event) for cited in causes if cited} == {*VERBS.values(), None}
    assert {sample.reason_code for sample in samples()} == {
        "history",
        "asked",
        "popular",
        "weak",
        "cold_start",
        "owned",
    }
    kinds = {attribute.kind for sample in samples() for attribute in sample.attributes}
    assert kinds == {"categories", "brand_name", "title"}


def test_the_bank_is_read_in_full(tmp_path: Path) -> None:
    """A seal that somebody computed without verifying does not get past `verify_bank`."""
    path = tmp_path / "weak.neutral.prompt"
    source = (FOLDER / path.name).read_text().replace("A guess;", "An excellent guess;")
    forged = parse_clauses(source, "weak.neutral")
    path.write_text(source.replace(forged.verified, forged.seal))
    assert load_clauses("weak.neutral", tmp_path).lines
    (wrong,) = verify_bank(tmp_path)
    assert wrong.startswith("clauses/weak.neutral@")
    assert "excellent" in wrong


def test_sealing() -> None:
    source = (FOLDER / "cited.neutral.prompt").read_text()
    assert seal_clauses(source, "cited.neutral") == source
    unsealed = "".join(line for line in source.splitlines(True) if not line.startswith("verified:"))
    assert seal_clauses(unsealed, "cited.neutral") == source
    wrong = source.replace("Because of", "Because of the excellent")
    with pytest.raises(PromptError, match=r"'cited.neutral' are not true of all evidence; .*#5: .*excellent"):
        seal_clauses(wrong, "cited.neutral")


def test_complaints_name_the_sentence() -> None:
    file = load_clauses("against.neutral")
    assert list(clause_complaints(file)) == [file.reference(line) for line in file.lines]
    assert not any(clause_complaints(file).values())


def test_written_clauses(tmp_path: Path) -> None:
    generator = CannedGenerator([PROPOSALS])
    generator.name = 'a "model": 7b'
    source = write_clauses(generator, "cited", "social", 12)
    assert source.splitlines() == [
        "---",
        'description: "The history items that made the recommendation."',
        "domain: social",
        "input:",
        "  schema:",
        "    cited: string",
        "    verb: string",
        'made_by: "a \\"model\\": 7b"',
        f"verified: {parse_clauses(source, 'cited.social').seal}",
        "---",
        "{{cited}}, which you {{verb}}, led to this.",
        "Because of {{cited}}.",
    ]
    (tmp_path / "cited.social.prompt").write_text(source)
    assert verify_bank(tmp_path) == ()
    asked = repr(generator.asked)
    assert "{{cited}}" in asked
    assert "Write 12 others" in asked


def test_written_clauses_without_slots_become_part_of_a_bank(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    answer = "This is a guess.\nA guess, as nothing in your history stands out.\nBuy it."
    source = write_clauses(CannedGenerator([answer]), "weak", "finance", 2)
    (tmp_path / "weak.finance.prompt").write_text(source)
    assert [line.source for line in load_clauses("weak.finance", tmp_path).lines] == answer.splitlines()[:2]


@pytest.mark.parametrize("answer", ["", "Buy now!", "Because you {{verb}} {{cited}}."])
def test_no_clause_that_can_be_kept(answer: str) -> None:
    with pytest.raises(PromptError, match="'canned' wrote no clause that can be kept"):
        write_clauses(CannedGenerator([answer]), "cited")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"no clauses of the kind 'praise'; the kinds are: cited, "):
        write_clauses(CannedGenerator([""]), "praise")
