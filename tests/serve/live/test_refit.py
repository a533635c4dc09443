"""A model is fitted anew beside what is served, and takes over without a pause."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recllm.serve.live.refitting as refitting
from recllm.errors import ConflictError
from recllm.recommender import Recommender
from recllm.serve.answers import Ask
from recllm.serve.live.live import Live
from recllm.serve.live.refit import refitted
from recllm.serve.state.records import ItemRecord
from tests.serve.live.test_taking import event


@pytest.fixture(scope="session")
def fitted_again(learned: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fit makes of the toy shop, so that only one test has to fit."""
    place = tmp_path_factory.mktemp("refit")
    learned.save(place / "snapshot")
    refitted(place / "snapshot", place / "fitted")
    return place / "fitted"


class Fit:
    """Stands for the process: it is done when it is told to be."""

    def __init__(self, fitted: Path) -> None:
        self.fitted, self.returncode = fitted, 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.snapshots: list[Path] = []

    def start(self, snapshot: Path, target: Path, budget: str | None = None) -> "Fit":
        import shutil

        self.returncode = 0
        self.snapshots.append(snapshot)
        self.target = target
        shutil.copytree(self.fitted, target)
        self.users = Recommender.load(snapshot).user_ids
        self.go_on.clear()
        self.begun.set()
        return self

    def communicate(self) -> tuple[str, str]:
        assert self.go_on.wait(30)
        return "", "it was killed" if self.returncode else ""

    def kill(self) -> None:
        self.returncode = -9
        self.begun.clear()
        self.go_on.set()


@pytest.fixture
def fit(fitted_again: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    made = Fit(fitted_again)
    monkeypatch.setattr(refitting, "in_a_process", made.start)
    return made


def wait_for(live: Live) -> Any:
    return live._refitting.wait()


def test_a_new_model_takes_over_with_all_that_came_meanwhile(
    opened: Callable[..., Live], fit: Fit, tmp_path: Path
) -> None:
    live = opened()
    asyncio.run(live.refit())
    assert fit.begun.wait(20)
    assert live._refitting.last.state == "running"
    with pytest.raises(ConflictError, match="under way"):
        asyncio.run(live.refit())
    asyncio.run(live.put_items([ItemRecord("fresh", {"title": "toys thing number 2"}), ItemRecord("i9", {}, True)]))
    asyncio.run(live.feedback([event(2, "during", "i2"), event(3, "u0", "fresh")]))
    counts = live.now.state.counted.counts.digest()
    fit.go_on.set()
    assert wait_for(live).state == "done"
    now = live.now
    assert now.state.counted.counts.digest() == counts
    assert "during" in now.state.memory.user_ids
    assert now.state.counted.since_fit <= 2, "it was fitted to all that came before"
    assert now.as_of_event == 2
    assert "i9" not in [line.item_id for line in asyncio.run(live.recommend("during", Ask(n=49))).items]
    assert not (tmp_path / "data" / "refit").exists()
    live.close()
    assert opened(None).now.state.counted.counts.digest() == counts


def test_nobody_is_refused_while_models_are_exchanged(live: Live, fit: Fit) -> None:
    stop, failed, answered = threading.Event(), [], []

    def ask(number: int) -> None:
        while not stop.is_set():
            try:
                answered.append(asyncio.run(live.recommend(f"u{number}", Ask(n=3))))
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(live.refit())
    assert fit.begun.wait(20)
    fit.go_on.set()
    assert wait_for(live).state == "done"
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert all(len(one.items) == 3 for one in answered)


def test_who_is_erased_meanwhile_is_in_no_file_of_the_fit(live: Live, fit: Fit, tmp_path: Path) -> None:
    asyncio.run(live.feedback([event(1, "canary-9f86d08", "i1")]))
    asyncio.run(live.refit())
    assert fit.begun.wait(20)
    assert "canary-9f86d08" in fit.users
    asyncio.run(live.erase("canary-9f86d08"))
    assert fit.begun.wait(20), "the fit begins anew"
    assert "canary-9f86d08" not in fit.users
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path for path in files if b"canary-9f86d08" in path.read_bytes()] == []
    fit.go_on.set()
    assert wait_for(live).state == "done"
    assert "canary-9f86d08" not in live.now.state.memory


def test_a_fit_that_fails_changes_nothing_and_says_why(live: Live, fit: Fit) -> None:
    before = live.now
    asyncio.run(live.refit())
    assert fit.begun.wait(20)
    fit.kill()
    last = wait_for(live)
    assert (last.state, live.now) == ("failed", before)
    assert "it was killed" in last.said
    asyncio.run(live.refit())  # and another can begin
    assert fit.begun.wait(20)
    fit.go_on.set()
    assert wait_for(live).state == "done"


@pytest.mark.slow
def test_the_fit_is_a_process_of_its_own(learned: Recommender, tmp_path: Path) -> None:
    Recommender.of(learned.fitted).update({"new": ["i1", "i2"]}).save(tmp_path / "snapshot")
    command = [sys.executable, "-m", "recllm.serve.live.refit", str(tmp_path / "snapshot"), str(tmp_path / "fitted")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = Recommender.load(tmp_path / "fitted")
    assert "new" in again.user_ids
    assert again.freshness().events_since_fit == 0
    broken = subprocess.run([*command[:3], str(tmp_path), str(tmp_path / "other")], capture_output=True, text=True)
    assert broken.returncode == 1
    assert broken.stderr.count("\n") == 1
    assert "Traceback" not in broken.stderr
