"""Any sentence encoder is a backbone: all read texts, some read histories, too, and all of it can be saved."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.artifact.arrays import SavedArrays
from recllm.encoders.backbone import Backbone, resolve_backbone
from recllm.encoders.blocks import reads_histories
from recllm.encoders.history import EventBatch, HistoryEncoder, HistoryEncoderConfig, scratch_blocks
from recllm.encoders.saved import block_settings, load_history_encoder
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.errors import BackboneError
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop, opposite_tastes, toy_shop
from tests.encoders.kinds import READ_HISTORIES, READ_TEXTS, write
from tests.small import config_for, newcomer

CONFIG = HistoryEncoderConfig(depth=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each kind, written once."""
    folder, made = tmp_path_factory.mktemp("kinds"), dict[str, Path]()
    titles = toy_shop().catalog.frame["title"].to_list()

    def model(kind: str) -> Path:
        if kind not in made:
            made[kind] = write(folder / kind, kind, titles)
        return made[kind]

    return model


@pytest.mark.parametrize("kind", [*READ_HISTORIES, *READ_TEXTS])
def test_long_texts_and_texts_of_nothing_are_read(models: Callable[[str], Path], kind: str) -> None:
    """More tokens are asked for than there are positions."""
    encoder = TextEncoder(TextEncoderConfig(backbone=str(models(kind)), max_tokens=400))
    vectors = encoder.encode(["garden thing " * 300, "toys thing", "\u200b", ""], keep=False)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:2], axis=1), 1, atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1])


@pytest.mark.parametrize("kind", [*READ_HISTORIES, *READ_TEXTS])
def test_histories_are_read_and_stay_what_they_were(models: Callable[[str], Path], kind: str) -> None:
    encoder = HistoryEncoder.build(resolve_backbone(str(models(kind))), 1, CONFIG).eval()
    assert encoder.config.blocks == ("pretrained" if kind in READ_HISTORIES else "scratch")
    histories, _ = opposite_tastes(3, 20, 6)
    vectors = torch.randn(20, encoder.width)
    batch = EventBatch.collate(histories, 8)
    saved = SavedArrays("encoder", {name: tensor.numpy() for name, tensor in encoder.state_dict().items()})
    again = load_history_encoder(block_settings(encoder), saved, 1, CONFIG).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(batch, vectors), encoder(batch, vectors), rtol=0, atol=0)


def test_what_can_be_done_is_found_out_without_a_trace() -> None:
    blocks = scratch_blocks(HistoryEncoderConfig(width=32)).train()
    before = torch.get_rng_state()
    assert reads_histories(blocks)
    assert torch.equal(torch.get_rng_state(), before)
    assert blocks.training


def test_blocks_that_look_forward_or_know_an_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = scratch_blocks(HistoryEncoderConfig(width=32)).eval()
    plain = type(blocks).forward

    def sees_all(self: torch.nn.Module, **given: torch.Tensor) -> object:
        return plain(self, **(given | {"attention_mask": torch.zeros_like(given["attention_mask"])}))

    def counts(self: torch.nn.Module, **given: torch.Tensor) -> object:
        return plain(self, **(given | {"position_ids": torch.arange(given["inputs_embeds"].shape[1])[None]}))

    for other in (sees_all, counts):
        monkeypatch.setattr(type(blocks), "forward", other)
        assert not reads_histories(blocks), other.__name__


def test_more_blocks_of_whole_attention_than_there_are(models: Callable[[str], Path]) -> None:
    """Qwen's settings say 28 of them whatever is there: what is saved says as many as there are."""
    encoder = HistoryEncoder.build(resolve_backbone(str(models("qwen3"))), 1, CONFIG)
    assert encoder.blocks.config.max_window_layers == 28
    assert block_settings(encoder)["max_window_layers"] == 1


def test_further_layers_are_part_of_the_digest(tmp_path: Path) -> None:
    one, other = (
        Backbone("some", write(tmp_path / str(seed), "roberta", ["a b"], dense=seed), "path") for seed in (1, 2)
    )
    plain = Backbone("some", write(tmp_path / "plain", "roberta", ["a b"]), "path")
    assert len({one.digest(), other.digest(), plain.digest()}) == 3
    assert one.has_digest(one.digest())
    assert not one.has_digest(other.digest())
    assert one.has_digest(plain.digest()), "models that were saved before further layers counted are still read"


def test_a_model_may_have_all_its_parts_in_folders(tmp_path: Path, models: Callable[[str], Path]) -> None:
    """As CLIP's used to be saved: nothing but `modules.json` is on top."""
    folder = tmp_path / "parts"
    part = folder / "0_Transformer"
    part.mkdir(parents=True)
    for file in models("roberta").iterdir():
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        else:
            shutil.copy(file, (folder if "sentence_transformers" in file.name else part) / file.name)
    listed = (part / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"')
    (part / "modules.json").unlink()
    (folder / "modules.json").write_text(listed)
    found = resolve_backbone(str(folder))
    assert found.transformer == part.resolve()
    assert found.digest() == resolve_backbone(str(models("roberta"))).digest()
    texts = ["garden thing", "toys thing"]
    vectors = [
        TextEncoder(TextEncoderConfig(backbone=str(one))).encode(texts, keep=False)
        for one in (folder, models("roberta"))
    ]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert HistoryEncoder.build(found, 1, CONFIG).config.blocks == "pretrained"


def test_unreadable_settings_are_said(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(BackboneError, match="could not be loaded"):
        HistoryEncoder.build(resolve_backbone(str(tmp_path)), 1, CONFIG)


@pytest.mark.parametrize(
    "kind", ["clip", "qwen3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mpnet", "modernbert", "t5"))]
)
def test_a_shop_is_learned(models: Callable[[str], Path], kind: str, toy: ToyShop, tmp_path: Path) -> None:
    rec = Recommender(config_for(models(kind))).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))
    said = [note for note in rec.report.notes if "cannot read histories" in note]
    assert len(said) == (kind in READ_TEXTS)
    right = [
        toy.department[toy.catalog.item_ids.index(row.item_id)] == department
        for department in range(4)
        for row in rec.recommend({"new": newcomer(toy, department)}, n=3)
    ]
    assert np.mean(right) >= 0.9
    rec.save(tmp_path / "model")
    ids = list(toy.catalog.item_ids)
    asked = {"new": ids[:3]}
    assert (Recommender.load(tmp_path / "model").score(asked, ids) == rec.score(asked, ids)).all()
