"""Which transformer blocks read histories: the backbone's where they can, else a small transformer of its own.

A history is no text. Its events come as vectors, a mask says which of them each may look at, and events of one moment
share a position. Blocks that find positions by themselves (relative ones of MPNet, T5 and DeBERTa), or that want words
(CLIP), cannot read it; such a backbone reads the texts only.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from recllm.encoders.backbone import Backbone, load_blocks, reads_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION_INPUTS = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "Wqkv")
"""Names of the query and value projections in blocks of BERT, Llama, DistilBERT and ModernBERT, and of their kin."""

MOMENTS = (0, 1, 2, 2, 3)
"""Of the events that are looked at to find out what blocks can do: two of them are of one moment."""


def pretrained_blocks(backbone: Backbone, depth: int) -> "PreTrainedModel | None":
    """The backbone's first blocks; None where they cannot read histories.

    Raises:
        BackboneError: The backbone's files cannot be read, or it has fewer blocks than are asked for.
    """
    blocks = load_blocks(backbone, depth) if reads_vectors(backbone) else None
    return blocks if blocks is not None and reads_histories(blocks) else None


def adapted_layers(blocks: nn.Module) -> dict[str, nn.Linear]:
    """The query and value projections of the last block, by name; empty where they are not found."""
    numbers = [int(part) for name, _ in blocks.named_modules() for part in name.split(".") if part.isdigit()]
    last = str(max(numbers, default=0))
    return {
        name: module
        for name, module in blocks.named_modules()
        if name.split(".")[-1] in ATTENTION_INPUTS and last in name.split(".") and hasattr(module, "weight")
    }


def reads_histories(blocks: "PreTrainedModel") -> bool:
    """Whether blocks look back and never forward, and tell events of one moment apart by their vectors alone.

    They also need query and value projections, which users' adapters change.
    """
    training, size = blocks.training, getattr(blocks.config, "max_position_embeddings", None)
    if not isinstance(size, int) or not adapted_layers(blocks):
        return False
    moments = torch.tensor(MOMENTS)
    forward = moments.unsqueeze(0) > moments.unsqueeze(1)
    mask = torch.zeros(forward.shape).masked_fill(forward, torch.finfo(torch.float32).min)[None, None]
    # A generator of its own: what the fit draws stays what it was.
    events = torch.randn(1, len(MOMENTS), int(blocks.config.hidden_size), generator=torch.Generator().manual_seed(0))
    last_gone, exchanged = events.clone(), [0, 1, 3, 2, 4]
    last_gone[:, -1] = 0
    try:
        with torch.no_grad():
            states, before, turned = (
                blocks.eval()(inputs_embeds=x, attention_mask=mask, position_ids=moments[None]).last_hidden_state
                for x in (events, last_gone, events[:, exchanged])
            )
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return False  # each kind of transformer fails at foreign inputs in its own way
    finally:
        blocks.train(training)
    causal = _near(states[:, :-1], before[:, :-1]) and not _near(states[:, -1], before[:, -1])
    return causal and _near(turned[:, exchanged], states)


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)
