"""Users' vectors without what nobody reads: of the last block only the states of each history's newest moment.

A user's vector is the mean state of the events of their newest timestamp. The last block's query, output and
feed-forward layers, five sixths of its work, are therefore needed for these events alone.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
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
    mask: Float[Tensor, "users 1 T T"],
    newest: Bool[Tensor, "users T"],
) -> Float[Tensor, "users width"]:
    """The mean state of each user's newest events, as `blocks` gives it.

    Args:
        blocks: For which `is_known`, not in training.
        embedded: Vectors of events.
        positions: Of them.
        mask: Additive, which of them each may look at.
        newest: Which are wanted; at least one of each user.
    """
    states = blocks.embeddings(inputs_embeds=embedded, position_ids=positions)
    layers = list(blocks.encoder.layer)
    for layer in layers[:-1]:
        states = layer(states, mask)
    last, attention = layers[-1], layers[-1].attention.self
    counts = newest.sum(dim=1)
    # The wanted ones first, in their order; as many columns as the user with the most of them needs.
    columns = newest.int().argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
    asking = states.gather(1, columns.unsqueeze(2).expand(-1, -1, states.shape[2]))
    visible = mask.gather(2, columns[:, None, :, None].expand(-1, 1, -1, mask.shape[3]))

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    query, key, value = attention.query(asking), attention.key(states), attention.value(states)
    found = nn.functional.scaled_dot_product_attention(
        heads(query), heads(key), heads(value), visible, scale=attention.scaling
    )
    users, places = (torch.arange(columns.shape[1], device=counts.device) < counts.unsqueeze(1)).nonzero(as_tuple=True)
    wanted = found.transpose(1, 2).flatten(2)[users, places]
    wanted = last.feed_forward_chunk(last.attention.output(wanted, asking[users, places]))
    sums = wanted.new_zeros(len(states), wanted.shape[1]).index_add(0, users, wanted)
    return sums / counts.unsqueeze(1)
