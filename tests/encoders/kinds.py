"""Tiny sentence encoders with random weights, one for each kind of transformer that people bring."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers

WIDTH, BLOCKS, POSITIONS = 32, 2, 77
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>")


def _shape(words: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": words,
        "hidden_size": WIDTH,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        "bos_token_id": 4,
        "eos_token_id": 5,
        **more,
    }


def _distilbert(words: int) -> Any:
    shape = {"dim": WIDTH, "n_layers": BLOCKS, "n_heads": 2, "hidden_dim": 64}
    config = transformers.DistilBertConfig(vocab_size=words, max_position_embeddings=POSITIONS, **shape)
    return transformers.DistilBertModel(config)


def _t5(words: int) -> Any:
    shape = {"d_model": WIDTH, "d_kv": 16, "d_ff": 64, "num_layers": BLOCKS, "num_heads": 2}
    return transformers.T5EncoderModel(transformers.T5Config(vocab_size=words, **shape))


def _gpt2(words: int) -> Any:
    shape = {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": 2, "n_positions": POSITIONS}
    return transformers.GPT2Model(transformers.GPT2Config(vocab_size=words, bos_token_id=4, eos_token_id=5, **shape))


def _clip(words: int) -> Any:
    seen = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    vision = seen | {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=_shape(words), vision_config=vision, projection_dim=24)
    return transformers.CLIPModel(config)


def _of(kind: str, **more: Any) -> Callable[[int], Any]:
    model, config = getattr(transformers, f"{kind}Model"), getattr(transformers, f"{kind}Config")
    return lambda words: model(config(**_shape(words, **more)))


READ_HISTORIES: dict[str, Callable[[int], Any]] = {
    "roberta": _of("Roberta"),
    "distilbert": _distilbert,
    "modernbert": _of("ModernBert", cls_token_id=2, sep_token_id=3),
    "mistral": _of("Mistral", num_key_value_heads=1),
    "qwen3": _of("Qwen3", num_key_value_heads=1, head_dim=16),
}
"""Kinds whose blocks read histories."""

READ_TEXTS: dict[str, Callable[[int], Any]] = {
    "mpnet": _of("MPNet"),
    "deberta": _of("DebertaV2"),
    "t5": _t5,
    "gpt2": _gpt2,
    "clip": _clip,
}
"""Kinds that read texts only."""


def write(folder: Path, kind: str, texts: Iterable[str], *, dense: int | None = None) -> Path:
    """A model of this kind whose tokenizer knows the words of texts; with a further layer drawn by the seed `dense`."""
    words = [*SPECIAL, *dict.fromkeys(word for text in texts for word in text.casefold().split())]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(0)
    parts, target = folder / "parts", folder / "model"
    (READ_HISTORIES | READ_TEXTS)[kind](len(words)).save_pretrained(parts)
    fast.save_pretrained(parts)
    if kind == "clip":
        size = {"height": 32, "width": 32}
        images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
        transformers.CLIPProcessor(images, fast).save_pretrained(parts)
    modules: list[Any] = [Transformer(str(parts))]
    if kind != "clip":
        modules.append(Pooling(WIDTH))
    if dense is not None:
        torch.manual_seed(dense)
        modules.append(Dense(WIDTH, 16))
    SentenceTransformer(modules=modules, device="cpu").save(str(target))
    return target
