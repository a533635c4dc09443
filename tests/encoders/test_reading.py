"""Texts that workers read have the vectors that they have when one process reads them, to the last bit."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.encoders import reading
from recllm.encoders.reading import Reader
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.errors import BackboneError
from recllm.scale.executor import open_executor
from tests.workers import Here

WORDS = ["garden", "books", "lights", "winter", "tea", "glass", "paper", "cosy", "red", "blue"]


def some_texts(count: int) -> list[str]:
    chance = random.Random(0)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 30))) for _ in range(count)] + ["\u200b", ""]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As workers have it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_what_workers_read_is_what_one_process_reads(tiny: Path) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny), batch_size=4))
    texts, told, workers = some_texts(90), [], Here()
    found = encoder.encode(texts, keep=False, workers=workers, progress=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(found, encoder.encode(texts, keep=False))
    assert found.dtype == np.float32
    distinct = len(set(texts))
    assert told[-1] == (distinct, distinct)
    assert len(told) == len(workers.shards) == -(-distinct // 32)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_so_it_is_in_processes_of_their_own(tiny: Path) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny), batch_size=4))
    with open_executor("local:2") as workers:
        found = encoder.encode(some_texts(90), keep=False, workers=workers)
    np.testing.assert_array_equal(found, encoder.encode(some_texts(90), keep=False))


def test_a_worker_loads_the_transformer_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = reading.load_reader
    monkeypatch.setattr(reading, "load_reader", lambda *what: loaded.append(what) or load(*what))
    reading._here.clear()
    digest = TextEncoder(TextEncoderConfig(backbone=str(tiny))).backbone.digest()
    reader = Reader(str(tiny), digest, None, 16, 4)
    assert len(reader(["garden"])) == len(reader(["books"])) == 1
    assert len(loaded) == 1


def test_another_backbone_on_a_workers_machine_is_refused(tiny: Path) -> None:
    reading._here.clear()
    with pytest.raises(BackboneError, match="put the same one on every machine"):
        Reader(str(tiny), "0" * 64, None, 16, 4)(["garden"])


def test_no_texts_have_no_vectors(tiny: Path) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny)))
    assert encoder.encode([], workers=Here(), keep=False).shape == encoder.encode([], keep=False).shape
