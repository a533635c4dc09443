"""Co-occurrence by text: against least squares, and in a world where who goes together is not who reads alike."""

import numpy as np
import torch
from scipy import sparse

from recllm.counts.cooccurrence import Cooccurrence
from recllm.retrieval.channels.text_cooccurrence import TextCooccurrence


def world(per_kind: int = 6) -> tuple[Cooccurrence, np.ndarray, np.ndarray, np.ndarray]:
    """Four kinds of items with a text direction each: 0 goes with 1, 2 with 3. The last of each kind has no events."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(4), per_kind)
    text = np.eye(8)[kind] + rng.normal(0, 0.05, (len(kind), 8))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    warm = np.arange(len(kind)) % per_kind < per_kind - 1
    together = (kind[:, None] // 2 == kind // 2) & (kind[:, None] != kind) & warm[:, None] & warm
    weights = sparse.csr_array(together * rng.uniform(0.5, 1, together.shape).astype(np.float32))
    return Cooccurrence(weights), text, warm, kind


def test_golden() -> None:
    model, text, warm, _ = world()
    channel = TextCooccurrence.of(model, text, warm, ridge=2.0)
    columns = model.weights.toarray()[np.ix_(warm, warm)].T  # a target's weights are to be predicted from its text
    design, zeros = np.concatenate([text[warm], np.sqrt(2) * np.eye(8)]), np.zeros((8, warm.sum()))
    solved = np.linalg.lstsq(design, np.concatenate([columns, zeros]), rcond=None)[0].T  # [warm, dim]
    np.testing.assert_allclose(channel.sources[warm], solved, atol=1e-5)
    again = np.linalg.lstsq(design, np.concatenate([solved, np.zeros((8, 8))]), rcond=None)[0]
    np.testing.assert_allclose(channel.sources[~warm], text[~warm] @ again, atol=1e-5)


def test_a_new_item_is_known_by_what_its_text_is_taken_with() -> None:
    model, text, warm, kind = world()
    channel = TextCooccurrence.of(model, text, warm, ridge=1.0)
    new = np.flatnonzero(~warm)
    scores = channel.sources @ text.T  # of users with one item each
    # From every item, known or new, the best new one is of the kind that goes with it, whose words are others.
    assert (kind[new][scores[:, new].argmax(axis=1)] == (kind ^ 1)).all()
    assert (scores[:, new].max(axis=1) > 3 * np.abs(scores[np.arange(len(kind)), np.arange(len(kind))])).all()


def test_a_grown_catalog_is_predicted_alike() -> None:
    model, text, warm, kind = world()
    known = np.concatenate([np.flatnonzero(warm), np.flatnonzero(~warm)])
    whole = TextCooccurrence.of(Cooccurrence(model.weights[known][:, known]), text[known], warm[known])
    small = np.flatnonzero(warm)
    fitted = TextCooccurrence.of(Cooccurrence(model.weights[small][:, small]), text[small], warm[small])
    grown = fitted.extended(torch.from_numpy(text[known]))
    np.testing.assert_allclose(grown.sources, whole.sources, atol=1e-6)
    assert len(grown.sources) == len(kind)


def test_without_events_it_is_silent() -> None:
    nothing = Cooccurrence(sparse.csr_array((5, 5), dtype=np.float32))
    channel = TextCooccurrence.of(nothing, np.eye(5, dtype=np.float32), np.zeros(5, dtype=bool))
    assert not channel.sources.any()
