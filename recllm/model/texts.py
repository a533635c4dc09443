"""The items' texts as the model keeps them."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recllm.artifact.rows import Rows
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.senses import Senses
from recllm.encoders.text import Whitening
from recllm.prompting.template import Prompt


@final
@dataclass(frozen=True, eq=False)
class ItemTexts:
    """The items' texts as an encoder has read them.

    Attributes:
        vectors: Sentence vectors, float32 [items, dim].
        whitening: Its statistics over items with events.
        adapter: What fine-tuning taught the encoder; None for the frozen one.
        backbone: Digest of its weights, with which new texts have to be read as well.
        prompt: What put the items into words, and puts new ones.
        senses: How other vectors of the items are whitened.
        beside: These vectors, whitened, float32 [items, width]; of width 0 where there are none.
    """

    vectors: np.ndarray | Rows
    whitening: Whitening
    adapter: TextAdapter | None
    backbone: str | None
    prompt: Prompt | None
    senses: Senses
    beside: Float[Tensor, "items width"]

    @cached_property
    def white(self) -> Float[Tensor, "items dim"]:
        """Whitened unit vectors."""
        return torch.from_numpy(self.whitening(np.asarray(self.vectors)))

    @cached_property
    def whole(self) -> Float[Tensor, "items dim_and_width"]:
        """What item vectors are made of: texts, and other vectors beside them."""
        return self.senses.beside(self.white, self.beside)
