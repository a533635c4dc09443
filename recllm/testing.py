"""For tests, yours and ours: tiny models that need no download, and toy worlds with a known answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions

TINY_WIDTH = 32


def tiny_backbone(folder: Path, words: Iterable[str], kind: Literal["bert", "llama"] = "bert", seed: int = 0) -> Path:
    """Write a sentence-transformers model with random weights: two blocks of width 32.

    Args:
        folder: Where to; made if missing.
        words: The words its tokenizer knows.
        kind: The architecture.
        seed: Of the weights.

    Returns:
        The folder, to be used as `TextEncoderConfig(backbone=str(folder))`.
    """
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(seed)
    vocabulary = ["[PAD]", "[UNK]", *dict.fromkeys(word for text in words for word in text.casefold().split())]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": TINY_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    if kind == "bert":
        model: transformers.PreTrainedModel = transformers.BertModel(transformers.BertConfig(**sizes))
    else:
        model = transformers.LlamaModel(transformers.LlamaConfig(**sizes, num_key_value_heads=2))
    parts = folder / "parts"
    model.save_pretrained(parts)
    fast.save_pretrained(parts)
    transformer = Transformer(str(parts))
    pooling = Pooling(TINY_WIDTH)
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "model"))
    return folder / "model"


@final
@dataclass(frozen=True)
class ToyShop:
    """A shop of a few departments whose customers keep to one of them.

    Attributes:
        catalog: Items; the title names the department.
        events: Purchases.
        department: Department of each item row.
        favourite: Department of each user.
    """

    catalog: Catalog
    events: Interactions
    department: np.ndarray
    favourite: dict[str, int]


DEPARTMENTS = ("garden", "kitchen", "toys", "books")


def toy_shop(users: int = 80, items_per_department: int = 12, purchases: int = 10, seed: int = 0) -> ToyShop:
    """A shop in which 9 of 10 purchases are from the customer's own department: what to recommend is known."""
    import polars as pl

    rng = np.random.default_rng(seed)
    department = np.repeat(np.arange(len(DEPARTMENTS)), items_per_department)
    titles = [f"{DEPARTMENTS[d]} thing number {row}" for row, d in enumerate(department)]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles}))
    rows, favourite = [], {}
    for user in range(users):
        favourite[f"u{user}"] = own = user % len(DEPARTMENTS)
        inside, outside = np.flatnonzero(department == own), np.flatnonzero(department != own)
        count = min(purchases, len(inside))
        chosen = np.where(rng.random(count) < 0.9, rng.permutation(inside)[:count], rng.permutation(outside)[:count])
        rows += [(f"u{user}", f"i{item}", 1_600_000_000 + 3600 * time) for time, item in enumerate(chosen.tolist())]
    events = Interactions.from_frame(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))
    return ToyShop(catalog, events, department, favourite)


def opposite_tastes(users: int, items: int, shown: int, seed: int = 0) -> tuple[Histories, np.ndarray]:
    """Users who see the same kind of items and judge them the opposite way; their event tokens do not tell.

    Half of the items are of one kind, half of the other. Every user is shown both alike; one half of the users likes
    the first kind and dislikes the second, the other half the reverse. A model that reads items but not verdicts cannot
    tell the users apart; one that learns from the verdicts can.

    Returns:
        Histories with signals +1 and −1 and all tokens 0, and each user's liked kind (0 or 1) [users].
    """
    rng = np.random.default_rng(seed)
    liked_kind = np.arange(users) % 2
    rows = np.stack([rng.permutation(items)[:shown] for _ in range(users)])
    kind = (rows >= items // 2).astype(np.int64)
    signals = np.where(kind == liked_kind[:, None], 1, -1).astype(np.int8)
    histories = Histories(
        user_ids=tuple(f"u{user}" for user in range(users)),
        offsets=np.arange(users + 1, dtype=np.int64) * shown,
        item_rows=rows.ravel().astype(np.int64),
        timestamps=np.tile(np.arange(shown, dtype=np.int64), users),
        signals=signals.ravel(),
        tokens=np.zeros(users * shown, dtype=np.int64),
    )
    return histories, liked_kind
