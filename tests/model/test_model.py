"""The fitted model is shared between threads: each gets its own answers, and nothing in it is changed by asking."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recllm.adaptation.meta import AdaptationConfig
from recllm.data.catalog import Catalog
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.model.grown import grown as grown_by
from recllm.model.model import Model
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for

BOTH = AdaptationConfig(places=("head", "history"), inner_learning_rate=5.0, epochs=0)


@pytest.fixture(scope="module")
def model(tiny: Path, toy: ToyShop) -> Model:
    """Adapters of head and history encoder, so that everything that could be mixed up is there."""
    return Recommender(config_for(tiny, adaptation=BOTH)).fit(toy.catalog, toy.events, options=TrainOptions()).model


def test_nothing_is_left_in_training_mode(model: Model, tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    rec = Recommender(config_for(tiny)).fit(toy.catalog, toy.events)
    rec.save(tmp_path / "model")
    for one in (model, rec.model, Recommender.load(tmp_path / "model").model):
        parts = [one.encoder, one.items, one.head]
        assert not [name for part in parts for name, module in part.named_modules() if module.training]


def test_every_thread_gets_its_own_answers(model: Model, toy: ToyShop) -> None:
    """Batches of different sizes, through the users' adapters of head and encoder and through the shared start."""
    asked = [
        make_histories(
            Interactions.from_mapping(
                {f"{k}-{j}": [toy.catalog.item_ids[(k + j * m) % 48] for m in range(k % 6)] for j in range(1 + k % 5)}
            ),
            model.catalog,
            model.feedback,
        )
        for k in range(60)
    ]

    def answer(number: int) -> np.ndarray:
        histories = asked[number]
        return model.scores(histories, model.adapt(histories, None if number % 3 else 0)).numpy()

    alone = [answer(number) for number in range(len(asked))]
    assert not np.allclose(alone[1], model.scores(asked[1], model.adapt(asked[1], 0)).numpy(), atol=1e-4)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, [*range(len(asked))] * 5))
    assert torch.get_num_threads() == threads
    for number, found in enumerate(together):
        np.testing.assert_array_equal(found, alone[number % len(asked)])


def test_a_thread_does_not_see_the_adapters_of_another(model: Model) -> None:
    from recllm.encoders.lora import _present, bringing

    with bringing({"x.A": torch.zeros(1)}), ThreadPoolExecutor(1) as pool:
        assert _present.get() is not None
        assert pool.submit(_present.get).result() is None
    assert _present.get() is None


def test_layers_are_made_ready_once(model: Model) -> None:
    """Training wraps and unwraps the layers; each still adds its users' matrices exactly once."""
    assert [len(layer._forward_hooks) for layer in model.encoder.last_block_inputs().values()] == [1, 1]


def test_adapters_belong_to_encoder_head_and_start_whatever_the_catalog(model: Model, toy: ToyShop) -> None:
    """Each of them is in the fingerprint; what new items bring is in the digest, which proofs name, only."""
    assert model.learner is not None
    before, whole = model.fingerprint(), model.digest()
    fresh = Catalog.from_frame(pl.DataFrame({"item_id": ["new"], "title": ["garden thing"]}))
    grown = grown_by(model, model.catalog.extend(fresh), model.text[:1])
    assert grown.fingerprint() == before
    assert grown.digest() != whole
    renamed = model.catalog.frame.with_columns(title=pl.lit("another title"))
    retold = replace(model, catalog=Catalog(renamed, model.catalog.report))
    assert (retold.fingerprint() == before, retold.digest() != whole) == (True, True), "reasons name titles"
    for part in (model.encoder, model.head, model.learner, model.items.project):
        weight = next(part.parameters())
        kept = weight.detach().clone()
        try:
            weight.data.add_(1.0)
            assert model.fingerprint() != before, type(part).__name__
        finally:
            weight.data.copy_(kept)
    assert model.fingerprint() == before


def test_new_items_are_whitened_as_the_others_were(model: Model) -> None:
    fresh = Catalog.from_frame(pl.DataFrame({"item_id": ["new"], "title": ["garden thing"]}))
    grown = grown_by(model, model.catalog.extend(fresh), model.text[:1])
    torch.testing.assert_close(grown.channels.text[:-1], model.channels.text)
    torch.testing.assert_close(grown.channels.text[-1], model.channels.text[0], msg="its text is that of item 0")
