"""The vectors of all items, as they are served."""

import torch
from jaxtyping import Float
from torch import Tensor

from recllm.encoders.history import ItemEncoder

ROWS = 65_536
"""Items whose deltas are added at once."""


def served_vectors(items: ItemEncoder) -> Float[Tensor, "items width"]:
    """All vectors, without a gradient; where nothing was learned they are the text as it lies, held once."""
    weight, text = items.project.weight, items.text
    if not items.learns and weight.shape[0] == weight.shape[1] and weight.equal(torch.eye(len(weight)).to(weight)):
        return text
    with torch.no_grad():
        # One product: the last bit of a row depends on how many there are, and a kept graph is of these bits.
        vectors: Tensor = items.project(text)
        if items.bound and items.learns:
            for some in torch.arange(len(text)).split(ROWS):  # in parts: what is between takes several times as much
                vectors[some] += items.shift(some)
    return vectors
