"""Weights between items apart from the counts that they follow, for who cannot wait for them while events come in."""

from dataclasses import replace
from functools import partial

from recllm.counts.later import Later
from recllm.model.counted import counted_pairs
from recllm.model.fitted import Fitted


def weights_due(state: Fitted) -> bool:
    """Whether weights between items should follow what is counted."""
    return bool(state.model.channels.settings) and state.counted.weights_due


def without_pairs(state: Fitted) -> Fitted:
    """The same with pairs of items to be counted when they are needed.

    Only weights between items need them. Held, they are the largest part of what is counted, and each event adds to
    all of them. Pairs with noise over them stay: what is remembered would give exact ones.
    """
    if not state.config.recounts:
        return state
    later = Later(partial(counted_pairs, state.memory, state.model, state.seed))
    counts = replace(state.counted.counts, given_pairs=later)
    return _with(state, replace(state, counted=replace(state.counted, counts=counts)))


def with_renewed_weights(state: Fitted) -> Fitted:
    """The same with weights between items fitted to what is counted; takes seconds."""
    counted, model = without_pairs(state).counted.renewed(state.model)
    return without_pairs(_with(state, replace(state, counted=counted, model=model)))


def taking_weights(state: Fitted, renewed: Fitted, since: Fitted) -> Fitted:
    """The same with the weights of another.

    Args:
        state: What came of `since` by events, new items or forgetting.
        renewed: `with_renewed_weights(since)`.
        since: What the weights were fitted to.
    """
    # What moves with every event is not among the weights.
    pairs = zip(state.model.channels.fitted, renewed.model.channels.fitted, strict=True)
    fitted = tuple(theirs if theirs.counted else ours for ours, theirs in pairs)
    if len(state.model.catalog) > len(since.model.catalog):
        text = state.model.channels.text
        fitted = tuple(one.extended(text) if one.counted else one for one in fitted)
    model = state.model.with_channels(state.model.channels.changed(fitted=fitted))
    left = max(state.counted.since_weights - since.counted.since_weights, 0)
    return _with(state, replace(state, model=model, counted=replace(state.counted, since_weights=left)))


def _with(state: Fitted, changed: Fitted) -> Fitted:
    return state.keeping(changed, "fingerprint", "text_encoder")
