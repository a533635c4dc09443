"""GEPA drives; the writer, the checks and the judge stay ours."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from recllm.errors import MissingExtraError
from recllm.prompting.generator import CannedGenerator
from recllm.prompting.template import parse_prompt
from recllm.resources import data_folder
from recllm.tuning.evolve import evolve_words
from recllm.tuning.propose import Probe
from recllm.tuning.words import WordJudge
from tests.explain.examples import evidence, shared
from tests.tuning.writers import BETTER, WEAK, Scripted, good, speaker

STANDING = parse_prompt(WEAK, "write.reason", data_folder("prompts"))
CASES = [
    evidence("history", "Lantern", "Bunting", title=f"Lights {n}", attributes=shared("categories", "Garden", "i0"))
    for n in range(4)
]
ON = Probe(10, 10)


class Batch:
    """As `gepa.EvaluationBatch`."""

    def __init__(self, outputs: list[str], scores: list[float], trajectories: list[Any] | None = None) -> None:
        self.outputs, self.scores, self.trajectories = outputs, scores, trajectories


def stand_in(turns: int = 2, add: tuple[str, ...] = ()) -> ModuleType:
    """A GEPA of a few turns: each begins with the last text, and keeps what is worth more."""

    def optimize(seed_candidate: Any, trainset: Any, _valset: Any, *, adapter: Any, logger: Any, **_: Any) -> Any:
        candidates = [seed_candidate]
        for _turn in range(turns):
            logger.log("a line that nobody sees")
            before = adapter.evaluate(trainset, candidates[-1], capture_traces=True)
            told = adapter.make_reflective_dataset(candidates[-1], before, ["body"])
            made = adapter.propose_new_texts(candidates[-1], told, ["body"])
            if sum(adapter.evaluate(trainset, made).scores) > sum(before.scores):
                candidates.append(made)
        return SimpleNamespace(candidates=[*candidates, *({"body": text} for text in add)])

    module = ModuleType("gepa")
    module.optimize, module.EvaluationBatch = optimize, Batch  # type: ignore[attr-defined]
    return module


@pytest.fixture(params=["stand-in", "gepa"])
def gepa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "gepa":
        pytest.importorskip("gepa")
    else:
        monkeypatch.setitem(sys.modules, "gepa", stand_in())


@pytest.mark.usefixtures("gepa")
def test_a_planted_weakness_is_bred_out(capsys: pytest.CaptureFixture[str]) -> None:
    writer = good()
    judge = WordJudge(CASES, generator=speaker())
    proposal = evolve_words(STANDING, judge, range(4), writer, texts=40, probe=ON)
    assert proposal.writer == "on"
    best = max(proposal.arms, key=lambda one: judge.values([one]).mean())
    assert best.render() == parse_prompt(f"---\n---\n{BETTER}", "b", data_folder("prompts")).render()
    assert best.metadata["lineage"] == {"parent": STANDING.reference, "made_by": "evolved", "change": "by GEPA"}
    assert "excellent" in writer.asked[0][1].partition("<material>")[2]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("gepa")
def test_a_writer_that_cannot_write_is_not_asked_for_more() -> None:
    judge = WordJudge(CASES, generator=speaker())
    proposal = evolve_words(STANDING, judge, range(4), CannedGenerator(["no"] * 3), texts=40)
    assert proposal.arms == ()
    assert proposal.writer.startswith("off: 0 of 3")


@pytest.mark.usefixtures("gepa")
def test_what_breaks_a_slot_is_worth_nothing_and_no_arm() -> None:
    judge = WordJudge(CASES, generator=speaker())
    spoilt = Scripted(lambda *_: "<prompt>Say something nice.</prompt>")
    proposal = evolve_words(STANDING, judge, range(4), spoilt, texts=30, probe=ON)
    assert all("<facts>" in one.source and "quoted_is_data" in one.source for one in proposal.arms)
    assert any("is gone" in note for note in proposal.notes)


def test_whatever_gepa_returns_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    further = ("Say something nice.", "{{> no_such_clause}}", BETTER + "See https://evil.example\n")
    monkeypatch.setitem(sys.modules, "gepa", stand_in(turns=0, add=further))
    proposal = evolve_words(STANDING, WordJudge(CASES, generator=speaker()), range(4), good(), probe=ON)
    assert proposal.arms == ()


def test_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gepa", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recllm\[gepa\]'"):
        evolve_words(STANDING, WordJudge(CASES, generator=speaker()), range(4), good(), probe=ON)
