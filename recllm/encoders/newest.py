"""Users' vectors without what nobody reads: of the last block only the states of each history's newest moment.

A user's vector is the mean state of the events of their newest timestamp. The last block's query, output and
feed-forward layers, five sixths of its work, are therefore needed for these events alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedModel


def is_known(blocks: "PreTrainedModel") -> bool:
    """Whether these blocks can be taken apart: those of BERT, whose layers have stood still since it was published."""
    from transformers import BertModel

    return type(blocks) is BertModel and not blocks.config.is_decoder


def newest_means(
    blocks: "BertModel",
    embedded: Float[Tensor, "users T width"],
    positions: Int[Tensor, "users T"],
    mask: Callable[[], Float[Tensor, "users 1 T T"]],
    last: Int[Tensor, "users"],
    counts: Int[Tensor, "users"],
) -> Float[Tensor, "users width"]:
    """The mean state of each user's newest events, as `blocks` gives it.

    Args:
        blocks: For which `is_known`, not in training.
        embedded: Vectors of events.
        positions: Of them.
        mask: Gives, additive, which of them each may look at; for blocks before the last.
        last: Where each user's events end.
        counts: How many of them, up to there, are wanted; at least one.
    """
    states = blocks.embeddings(inputs_embeds=embedded, position_ids=positions)
    layers = list(blocks.encoder.layer)
    if len(layers) > 1:
        visible = mask()
        for layer in layers[:-1]:
            states = layer(states, visible)
    layer, attention = layers[-1], layers[-1].attention.self
    most = int(counts.max())
    # The newest first; as many columns as the user with the most of them needs. They look at all there is.
    columns = (last.unsqueeze(1) - torch.arange(most, device=last.device)).clamp(min=0)
    asking = states.gather(1, columns.unsqueeze(2).expand(-1, -1, states.shape[2]))
    seen = torch.arange(states.shape[1], device=last.device) <= last.unsqueeze(1)

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    query, key, value = attention.query(asking), attention.key(states), attention.value(states)
    found = nn.functional.scaled_dot_product_attention(
        heads(query), heads(key), heads(value), seen[:, None, None], scale=attention.scaling
    )
    found = found.transpose(1, 2).flatten(2)
    if most == int(counts.min()):  # nothing is padded
        wanted = layer.feed_forward_chunk(layer.attention.output(found, asking))
        return wanted.mean(dim=1)
    users, places = (torch.arange(most, device=counts.device) < counts.unsqueeze(1)).nonzero(as_tuple=True)
    wanted = layer.feed_forward_chunk(layer.attention.output(found[users, places], asking[users, places]))
    sums = wanted.new_zeros(len(states), wanted.shape[1]).index_add(0, users, wanted)
    return sums / counts.unsqueeze(1)
