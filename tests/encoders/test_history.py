"""The history encoder: causal, blind to the order inside a block, blind to deltas of new items."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.data.histories import Histories
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.history import EventBatch, HistoryEncoder, HistoryEncoderConfig, ItemEncoder, encode_users
from recllm.encoders.validation import evaluating
from recllm.errors import ConfigError
from recllm.testing import TINY_WIDTH


def histories(*users: list[tuple[int, int]]) -> Histories:
    """Users as lists of (item row, timestamp)."""
    events = [event for user in users for event in user]
    offsets = np.concatenate([[0], np.cumsum([len(user) for user in users])]).astype(np.int64)
    return Histories(
        tuple(f"u{row}" for row in range(len(users))),
        offsets,
        np.array([item for item, _ in events], dtype=np.int64),
        np.array([time for _, time in events], dtype=np.int64),
        np.ones(len(events), dtype=np.int8),
        np.zeros(len(events), dtype=np.int64),
    )


@pytest.fixture(params=["pretrained", "scratch"])
def encoder(request: pytest.FixtureRequest, tiny: Path) -> HistoryEncoder:
    torch.manual_seed(0)
    config = HistoryEncoderConfig(max_events=6, blocks=request.param, width=TINY_WIDTH)
    return HistoryEncoder.build(resolve_backbone(str(tiny)), 1, config)


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(20, TINY_WIDTH, generator=torch.Generator().manual_seed(1))


def test_later_events_do_not_change_earlier_states(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    with evaluating(encoder):
        long = encoder(EventBatch.collate(histories([(1, 1), (2, 2), (3, 3), (4, 4)]), 6), vectors)
        short = encoder(EventBatch.collate(histories([(1, 1), (2, 2)]), 6), vectors)
    torch.testing.assert_close(long[0, :3], short[0, :3])


def test_the_order_inside_a_block_does_not_matter(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    with evaluating(encoder):
        one, other = (
            encode_users(encoder, histories(user), vectors)
            for user in ([(1, 1), (2, 5), (3, 5), (4, 5)], [(1, 1), (4, 5), (2, 5), (3, 5)])
        )
        apart = encode_users(encoder, histories([(1, 1), (2, 5), (3, 6), (4, 7)]), vectors)
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, apart)


def test_users_in_a_batch_do_not_influence_each_other(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    with evaluating(encoder):
        together = encode_users(encoder, histories([(1, 1)], [], [(5, 1), (6, 2), (7, 3)]), vectors)
        alone = encode_users(encoder, histories([(1, 1)]), vectors)
        nobody = encode_users(encoder, histories([]), vectors)
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together[1:2], nobody)


def test_only_the_newest_events_are_read(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    events = [(row, row) for row in range(1, 15)]
    with evaluating(encoder):
        torch.testing.assert_close(
            encode_users(encoder, histories(events), vectors), encode_users(encoder, histories(events[-6:]), vectors)
        )


def test_a_new_item_has_its_text_vector_whatever_its_delta() -> None:
    text = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    items = ItemEncoder(text, torch.tensor([True, True, False]), 8, bound=0.5)
    with torch.no_grad():
        items.delta.fill_(10.0)
    vectors, plain = items().detach(), items.project(text).detach()
    torch.testing.assert_close(vectors[2], plain[2])
    torch.testing.assert_close((vectors - plain)[:2].norm(dim=1), torch.full((2,), 0.5))
    torch.testing.assert_close(items(hidden_delta=torch.tensor([True, False, False])).detach()[0], plain[0])


def test_a_zero_delta_has_a_finite_gradient() -> None:
    items = ItemEncoder(torch.randn(3, 8), torch.ones(3, dtype=torch.bool), 8, bound=0.5)
    items().square().sum().backward()
    assert items.delta.grad is not None
    assert torch.isfinite(items.delta.grad).all()
    assert items.delta.grad.abs().sum() > 0


def test_config_errors() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        HistoryEncoderConfig(depth=0)
    with pytest.raises(ConfigError, match="delta_bound"):
        HistoryEncoderConfig(delta_bound=-1.0)
