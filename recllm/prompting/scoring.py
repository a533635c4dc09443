"""How probable a causal language model of transformers finds answers, many at once."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import Cache

Tokens = tuple[int, ...]

_LOGITS_AT_ONCE = 2**25  # 128 MB as float32


def read(model: Any, texts: Sequence[Tokens], cache: "Cache | None") -> "Cache":
    """Read `texts` [batch, time], after what `cache` holds and padded at the end, without computing any logits."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config) if cache is None else cache
    before = cache.get_seq_length()
    ids, mask = _padded(texts, 0, model.device)
    if ids.shape[1]:
        mask = torch.cat([mask.new_ones(len(texts), before), mask], dim=1)
        places = before + torch.arange(ids.shape[1], device=model.device).expand_as(ids)
        model.base_model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
    return cache


def log_probabilities(model: Any, pairs: Sequence[tuple[Tokens, Tokens]]) -> dict[tuple[Tokens, Tokens], float]:
    """log p(answer | prompt) of each pair, summed over the answer's tokens."""
    import torch

    prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    row_of = {prompt: row for row, prompt in enumerate(prompts)}
    shared = _shared(prompts)
    rests = [prompt[shared:-1] for prompt in prompts]
    cache = read(model, [prompts[0][:shared]], None)
    cache.batch_repeat_interleave(len(prompts))
    cache = read(model, rests, cache)
    there = _padded(rests, 0, model.device)[1]
    there = torch.cat([there.new_ones(len(prompts), shared), there], dim=1)
    scores: dict[tuple[Tokens, Tokens], float] = {}
    waiting = sorted(pairs, key=lambda pair: len(pair[1]))  # batches of like length waste no padding
    while waiting:
        width = len(waiting[-1][1]) * model.get_input_embeddings().num_embeddings
        batch = waiting[-max(1, _LOGITS_AT_ONCE // width) :]
        waiting = waiting[: -len(batch)]
        rows = torch.tensor([row_of[prompt] for prompt, _ in batch], device=model.device)
        own = copy.deepcopy(cache)
        own.batch_select_indices(rows)
        scores |= zip(batch, _score(model, batch, own, there[rows]), strict=True)
    return scores


def _score(model: Any, batch: Sequence[tuple[Tokens, Tokens]], cache: "Cache", there: "torch.Tensor") -> list[float]:
    """log p(answer | prompt) of each pair; `there` [batch, time] says which places of `cache` are no padding."""
    import torch

    # The last token of a prompt predicts the first of its answer, so it is read here.
    ids, own = _padded([(prompt[-1], *answer[:-1]) for prompt, answer in batch], 0, model.device)
    places = there.sum(dim=1, keepdim=True) + torch.arange(ids.shape[1], device=model.device)
    mask = torch.cat([there, own], dim=1)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
    ).logits
    targets, _ = _padded([answer for _, answer in batch], -100, model.device)
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100, reduction="none"
    )
    return [-loss for loss in losses.view_as(targets).sum(dim=1).tolist()]


def _padded(texts: Sequence[Tokens], filler: int, device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
    """Tokens [batch, time] and which of them are there."""
    import torch

    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *[filler] * (longest - len(text))] for text in texts], dtype=torch.long)
    there = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], dtype=torch.long)
    return ids.view(len(texts), longest).to(device), there.view(len(texts), longest).to(device)


def _shared(prompts: Sequence[Tokens]) -> int:
    """How many tokens all prompts begin with, each one's last token aside."""
    first, last = min(prompts), max(prompts)
    most = min(len(prompt) for prompt in prompts) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)
