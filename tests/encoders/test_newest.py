"""What nobody reads is not computed, and what is read stays what it was."""

import numpy as np
import pytest
import torch

from recllm.data.histories import Histories
from recllm.encoders.history import EventBatch, HistoryEncoder, HistoryEncoderConfig, encode_users, scratch_blocks
from recllm.encoders.newest import is_known


def encoder_of(depth: int) -> HistoryEncoder:
    torch.manual_seed(depth)
    config = HistoryEncoderConfig(blocks="scratch", width=32, depth=depth, max_events=12)
    return HistoryEncoder(scratch_blocks(config), 4, config).eval()


def histories(seed: int) -> Histories:
    """Users with 0 to 20 events; about two in three are of the same moment as the one before."""
    rng = np.random.default_rng(seed)
    lengths = np.array([0, 1, 20, *rng.integers(0, 20, 5)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    events = int(offsets[-1])
    times = np.concatenate([np.cumsum(rng.random(length) < 0.4) for length in lengths]).astype(np.float64)
    columns = (rng.integers(0, 50, events), times, np.ones(events, dtype=np.int8), rng.integers(0, 4, events))
    ratings = np.full(events, np.nan, dtype=np.float32)
    return Histories(tuple(f"u{row}" for row in range(len(lengths))), offsets, *columns, np.arange(events), ratings)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("personal", [False, True])
def test_the_newest_moment_alone_gives_the_same_vectors(depth: int, personal: bool) -> None:
    encoder, vectors = encoder_of(depth), torch.randn(50, 32)
    assert is_known(encoder.blocks)
    for seed in range(5):
        some = histories(seed)
        lora = None
        if personal:
            lora = {
                f"{name}.{side}": 0.3 * torch.randn(len(some), *shape)
                for name in encoder.last_block_inputs()
                for side, shape in (("A", (32, 2)), ("B", (2, 32)))
            }
        batch = EventBatch.collate(some, 12)
        with torch.no_grad():
            whole = encoder(batch, vectors, lora)[torch.arange(len(some)), batch.real.sum(dim=1)]
            found = encode_users(encoder, some, vectors, lora)
            alone = [
                encode_users(encoder, some.of([row]), vectors, lora and {k: part[[row]] for k, part in lora.items()})
                for row in range(len(some))
            ]
        torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(torch.cat(alone), whole, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[1:], found[:-1]), "users differ"


def test_feed_forward_layers_see_the_newest_events_only() -> None:
    encoder, some, seen = encoder_of(2), histories(1), []
    last = encoder.blocks.encoder.layer[-1]
    last.intermediate.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].numel() // 32))
    with torch.no_grad():
        encode_users(encoder, some, torch.randn(50, 32))
    kept = some.last(12)
    newest = sum(
        max(1, int((own == own.max()).sum()) if len(own) else 1) for own in np.split(kept.blocks, kept.offsets[1:-1])
    )
    assert seen == [newest]
