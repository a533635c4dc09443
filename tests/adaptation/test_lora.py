"""Batched LoRA equals PEFT, user by user."""

from pathlib import Path

import peft
import torch

from recllm.adaptation.lora import for_each_user, starting_lora
from recllm.data.histories import Histories
from recllm.encoders.backbone import load_blocks, resolve_backbone
from recllm.encoders.history import EventBatch, HistoryEncoder, HistoryEncoderConfig
from recllm.encoders.validation import evaluating
from recllm.testing import TINY_WIDTH, opposite_tastes


def encoder_of(tiny: Path) -> HistoryEncoder:
    torch.manual_seed(0)
    return HistoryEncoder.build(resolve_backbone(str(tiny)), 1, HistoryEncoderConfig(depth=2, max_events=8))


def random_stack(encoder: HistoryEncoder, users: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    start = starting_lora(encoder.last_block_inputs(), 3, generator)
    return {name: torch.randn(users, *t.shape, generator=generator) * 0.3 for name, t in start.items()}


def test_golden_against_peft(tiny: Path) -> None:
    encoder, users = encoder_of(tiny), 3
    histories, _ = opposite_tastes(users, 20, 6)
    vectors = torch.randn(20, TINY_WIDTH)
    stack = random_stack(encoder, users)
    with evaluating(encoder):
        ours = encoder.read(EventBatch.collate(histories, 8), vectors, stack)
    for user in range(users):
        modules = list(encoder.last_block_inputs())
        config = peft.LoraConfig(r=3, lora_alpha=3, target_modules=modules)
        plain = encoder_of(tiny)
        wrapped = peft.get_peft_model(plain.blocks, config)
        with torch.no_grad():
            for module in modules:
                layer = wrapped.get_submodule(f"base_model.model.{module}")
                layer.lora_A["default"].weight.copy_(stack[f"{module}.A"][user].T)
                layer.lora_B["default"].weight.copy_(stack[f"{module}.B"][user].T)
        plain.blocks = wrapped
        with evaluating(plain):
            theirs = plain.read(EventBatch.collate(histories.of([user]), 8), vectors)
        torch.testing.assert_close(ours[user : user + 1], theirs, atol=1e-5, rtol=0)


def test_the_start_changes_nothing_and_nothing_stays(tiny: Path) -> None:
    encoder = encoder_of(tiny)
    histories, _ = opposite_tastes(2, 20, 6)
    batch, vectors = EventBatch.collate(histories, 8), torch.randn(20, TINY_WIDTH)
    start = starting_lora(encoder.last_block_inputs(), 3, torch.Generator().manual_seed(0))
    with evaluating(encoder):
        plain = encoder.read(batch, vectors)
        torch.testing.assert_close(encoder.read(batch, vectors, for_each_user(start, 2)), plain)
        assert not torch.allclose(encoder.read(batch, vectors, random_stack(encoder, 2)), plain)
        torch.testing.assert_close(encoder.read(batch, vectors), plain)


def test_only_the_last_block_is_adapted(tiny: Path) -> None:
    names = encoder_of(tiny).last_block_inputs()
    assert set(names) == {f"encoder.layer.1.attention.self.{side}" for side in ("query", "value")}


def test_a_llama_backbone_is_adapted_alike(tmp_path: Path) -> None:
    from recllm.testing import tiny_backbone

    folder = tiny_backbone(tmp_path, ["a"], kind="llama")
    blocks = load_blocks(resolve_backbone(str(folder)), 2)
    encoder = HistoryEncoder(blocks, 1, HistoryEncoderConfig(depth=2))
    histories, _ = opposite_tastes(2, 20, 6)
    batch, vectors = EventBatch.collate(histories, 8), torch.randn(20, TINY_WIDTH)
    assert set(encoder.last_block_inputs()) == {"layers.1.self_attn.q_proj", "layers.1.self_attn.v_proj"}
    with evaluating(encoder):
        plain = encoder.read(batch, vectors)
        assert not torch.allclose(encoder.read(batch, vectors, random_stack(encoder, 2)), plain)


def test_empty_histories(tiny: Path) -> None:
    encoder = encoder_of(tiny)
    with evaluating(encoder):
        states = encoder.read(EventBatch.collate(Histories.empty(2), 8), torch.randn(20, TINY_WIDTH))
    assert torch.isfinite(states).all()
