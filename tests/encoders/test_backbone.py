"""Backbones are found in three places, and one error names them all."""

from pathlib import Path

import pytest
import torch

from recllm.encoders.backbone import load_blocks, resolve_backbone
from recllm.errors import BackboneError
from recllm.testing import TINY_WIDTH, tiny_backbone


def test_a_folder_wins(tiny: Path) -> None:
    found = resolve_backbone(str(tiny))
    assert found.source == "path"
    assert found.path == tiny.resolve()


def test_the_embedded_model_needs_no_network() -> None:
    found = resolve_backbone("minilm")
    assert found.source == "package"
    assert (found.path / "config.json").is_file()


def test_a_hub_name_falls_back_to_the_embedded_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.encoders.backbone._from_hub", lambda name: (None, "OfflineModeIsEnabled"))
    assert resolve_backbone("sentence-transformers/all-MiniLM-L6-v2").source == "package"


def test_a_hub_snapshot_is_preferred(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setattr("recllm.encoders.backbone._from_hub", lambda name: (tiny, ""))
    assert resolve_backbone("somebody/model").source == "hub"


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "some/body/else", ""])
def test_one_error_names_all_places(name: str) -> None:
    with pytest.raises(BackboneError, match=r"no folder.*hub.*embedded models.*minilm"):
        resolve_backbone(name)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_blocks_are_causal_under_a_mask(tmp_path: Path, kind: str) -> None:
    folder = tiny_backbone(tmp_path, ["a b"], kind=kind)  # type: ignore[arg-type]
    blocks = load_blocks(resolve_backbone(str(folder)), 1).eval()
    assert sum(name.endswith(("query.weight", "q_proj.weight")) for name, _ in blocks.named_parameters()) == 1
    x = torch.randn(1, 4, TINY_WIDTH)
    mask = torch.full((4, 4), torch.finfo(torch.float32).min).triu(1)[None, None]
    changed = x.clone()
    changed[:, 2:] = 0
    before, after = (
        blocks(inputs_embeds=e, attention_mask=mask, position_ids=torch.arange(4)[None]).last_hidden_state
        for e in (x, changed)
    )
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_too_deep_is_said(tiny: Path) -> None:
    with pytest.raises(BackboneError, match="has 2 blocks, but depth=9"):
        load_blocks(resolve_backbone(str(tiny)), 9)


def test_unreadable_weights_are_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 2}')
    with pytest.raises(BackboneError, match="could not be loaded"):
        load_blocks(resolve_backbone(str(tmp_path)), 1)
