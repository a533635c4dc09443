"""Whoever writes clauses, only true ones are sealed."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from recllm.errors import PromptError
from recllm.explain.clauses import load_clauses, parse_clauses
from recllm.explain.wording import VERBS, verb_for
from recllm.resources import data_folder

FOLDER = data_folder("prompts") / "clauses"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "clauses.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clauses_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clauses = script()
clause_complaints, samples = clauses.clause_complaints, clauses.samples
seal_clauses, verify_bank = clauses.seal_clauses, clauses.verify_bank


@pytest.mark.slow
def test_the_shipped_clauses_are_true_of_every_sample() -> None:
    assert verify_bank() == ()


def test_samples_have_every_shape() -> None:
    causes = [sample.causes for sample in samples()]
    assert {len(cited) for cited in causes} == set(range(7))
    assert {verb_for(cited[0].event) for cited in causes if cited} == {*VERBS.values(), None}
    assert {sample.reason_code for sample in samples()} == {
        "history",
        "asked",
        "popular",
        "weak",
        "cold_start",
        "profile",
        "promoted",
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


def test_sealing_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cited.neutral.prompt"
    source = (FOLDER / path.name).read_text()
    path.write_text("".join(line for line in source.splitlines(True) if not line.startswith("verified:")))
    assert clauses.main([str(path)]) == 0
    assert path.read_text() == source
    path.write_text(source.replace("Because of", "Because of the excellent"))
    assert clauses.main([str(path)]) == 1
    assert "excellent" in capsys.readouterr().err
