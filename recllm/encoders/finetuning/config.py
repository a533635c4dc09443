"""What people set about fine-tuning on catalog text."""

from dataclasses import dataclass
from typing import Annotated, final

from recllm.config import Count, Positive, Within, checked


@final
@dataclass(frozen=True)
@checked
class FinetuneConfig:
    """Fine-tuning on catalog text.

    Attributes:
        blocks: How many of the encoder's last blocks learn; the lower ones run once for each text.
        lora_rank: Rank of the LoRA on their linear layers.
        lora_alpha: Its scale is `lora_alpha / lora_rank`.
        items: Items to learn from at most, those with most events; all others profit from what was learned.
        pairs: Pairs to read at most.
        epochs: Times at most that a small catalog's pairs are read.
        neighbours: Pairs of each item: with those that the same people like, by cosine.
        titles: Share of pairs of a title with its item's whole text, where texts say more than titles.
        batch_pairs: Pairs per step; every other pair's texts are the negatives.
        tokens: Tokens of a text that a step reads, drawn anew each time.
        learning_rate: At its peak.
        scale: Inverse temperature of the softmax over whitened cosines.
        held_out: Share of items that are in no pair, to see what fine-tuning does to new items.
        looks: Times that the adapter is measured on validation users; the best state is kept.
        cached_mb: Memory for activations, in MB.
    """

    blocks: Count = 1
    lora_rank: Count = 16
    lora_alpha: Positive = 32.0
    items: Count = 5000
    pairs: Annotated[int, Within("[2, ∞)")] = 15000
    epochs: Count = 10
    neighbours: Count = 8
    titles: Annotated[float, Within("[0, 1)")] = 0.1
    batch_pairs: Annotated[int, Within("[2, ∞)")] = 128
    tokens: Annotated[int, Within("[4, ∞)")] = 48
    learning_rate: Positive = 2e-3
    scale: Positive = 7.0
    held_out: Annotated[float, Within("(0, 1)")] = 0.15
    looks: Count = 2
    cached_mb: Count = 1000
