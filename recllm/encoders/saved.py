"""The history encoder as it is saved: settings and weights, held against each other before anything is built.

Settings are a few numbers, and building what they say may take all memory there is; weights are there byte by byte. So
a model without memory is built first, and only what the weights fill is built in earnest.
"""

from collections.abc import Mapping
from typing import Any

import torch

from recllm.artifact.arrays import SavedArrays
from recllm.encoders.backbone import without_unused_parts
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig
from recllm.errors import ArtifactError

__all__ = ["block_settings", "load_history_encoder"]

NOT_OF_THE_BLOCKS = frozenset(
    {"architectures", "attn_implementation", "auto_map", "experts_implementation", "quantization_config"}
    | {"chunk_size_feed_forward", "gradient_checkpointing", "return_dict", "torchscript", "transformers_version"}
)
"""Settings of transformers that say how to run or where code is, not what the weights are; all that begin with an
underscore are such, too."""

NO_WORDS = {"vocab_size": 1, "pad_token_id": 0}
"""The table of words is not used, and not saved."""

WHOLE_ATTENTION = "max_window_layers"
"""In blocks of Qwen's kind, how many look at everything; there it may be more than there are."""

LARGEST_SCALE = 10.0
"""Of the logarithm of the length of user vectors."""


def block_settings(encoder: HistoryEncoder) -> dict[str, Any]:
    """What has to be saved of the blocks besides their weights."""
    return _of_the_blocks(encoder.blocks.config.to_dict()) | NO_WORDS


def load_history_encoder(
    settings: Mapping[str, Any], saved: SavedArrays, n_tokens: int, config: HistoryEncoderConfig
) -> HistoryEncoder:
    """The inverse of `block_settings` and the encoder's state.

    Raises:
        ArtifactError: Settings and weights do not belong together.
    """
    settings = _of_the_blocks(settings)
    for name, value in settings.items():
        # Every block has weights of its own; blocks are the one thing that costs time even without memory.
        if ("layer" in name or "expert" in name) and isinstance(value, int) and value > len(list(saved)):
            raise ArtifactError(f"{name} is {value}, and there are {len(list(saved))} weights")
    with torch.device("meta"):
        sketch = _built(settings, n_tokens, config)
    for name, tensor in sketch.state_dict().items():
        most = LARGEST_SCALE if name == "log_scale" else None
        bounds = {} if most is None else {"least": -most, "most": most}
        saved.floats(name, *tensor.shape, **bounds)
        if tensor.dtype != torch.float32:
            raise ArtifactError(f"the blocks compute in {tensor.dtype}; float32 was expected")
    saved.all_taken()
    weights = sum(tensor.numel() for tensor in sketch.parameters())
    if sum(tensor.numel() for tensor in sketch.buffers()) > weights:  # positions and the like are far fewer
        raise ArtifactError("the blocks want more memory than they have weights")
    encoder = _built(settings, n_tokens, config)
    encoder.load_state_dict({name: torch.from_numpy(saved.floats(name, *saved.shape(name)).copy()) for name in saved})
    return encoder


def _of_the_blocks(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in settings.items() if name not in NOT_OF_THE_BLOCKS and name[:1] != "_"}
    window, blocks = kept.get(WHOLE_ATTENTION), kept.get("num_hidden_layers")
    if isinstance(window, int) and isinstance(blocks, int):
        kept[WHOLE_ATTENTION] = min(window, blocks)
    return kept


def _built(settings: Mapping[str, Any], n_tokens: int, config: HistoryEncoderConfig) -> HistoryEncoder:
    from transformers import AutoConfig, AutoModel

    rest = {name: value for name, value in settings.items() if name != "model_type"} | NO_WORDS
    blocks = AutoModel.from_config(AutoConfig.for_model(settings["model_type"], **rest), trust_remote_code=False)
    return HistoryEncoder(without_unused_parts(blocks), n_tokens, config)
