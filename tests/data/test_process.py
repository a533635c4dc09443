"""After a fork a sentence, not an endless wait; a process that was started afresh works."""

import multiprocessing
import multiprocessing.connection
import os
from pathlib import Path
from typing import Any

import pytest

import recllm
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for

EVENTS = {"mia": ["i0", "i1"]}


@pytest.fixture(scope="module")
def fitted(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events)


def ask(answer: multiprocessing.connection.Connection, given: Any, what: str) -> None:
    """In the child: ask, and send what came of it."""
    questions = {
        "recommend": lambda: len(given.recommend(EVENTS, n=3)),
        "score": lambda: given.score(EVENTS, ["i5"]).shape[1],
        "adapt": lambda: len(given.adapt(EVENTS)),
        "load": lambda: len(Recommender.load(given).catalog),
        "events": lambda: len(recllm.Interactions.from_mapping(EVENTS)),
        "catalog": lambda: len(recllm.Catalog.from_frame({"item_id": ["a"], "title": ["b"]})),
    }
    try:
        answer.send(questions[what]())
    except recllm.RecllmError as error:
        answer.send(f"{type(error).__name__}: {error}")


def answer_of(method: str, given: Any, what: str) -> Any:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=ask, args=(theirs, given, what))
    child.start()
    try:
        assert ours.poll(60), f"{what} after {method} does not come back"
        return ours.recv()
    finally:
        child.kill()
        child.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
@pytest.mark.parametrize("what", ["recommend", "score", "adapt", "load", "events", "catalog"])
def test_a_fork_is_told_what_to_do(fitted: Recommender, tmp_path: Path, what: str) -> None:
    said = answer_of("fork", tmp_path if what == "load" else fitted, what)
    assert str(said).startswith("ForkError"), said
    assert "spawn" in said


def test_a_process_started_afresh_works(fitted: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    assert answer_of("spawn", tmp_path / "model", "load") == len(toy.catalog)
