"""The items' texts as the model keeps them."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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
        senses: How other vectors of the items are whitened; None where there are none.
        felt: These vectors, whitened, float32 [items, width].
    """

    vectors: np.ndarray
    whitening: Whitening
    adapter: TextAdapter | None = None
    backbone: str | None = None
    prompt: Prompt | None = None
    senses: Senses | None = None
    felt: Tensor | None = None

    @cached_property
    def white(self) -> Float[Tensor, "items dim"]:
        """Whitened unit vectors."""
        return torch.from_numpy(self.whitening(self.vectors))

    @cached_property
    def beside(self) -> Float[Tensor, "items width"]:
        """Whitened other vectors, of width 0 where there are none."""
        return torch.zeros(len(self.vectors), 0) if self.felt is None else self.felt

    @cached_property
    def whole(self) -> Float[Tensor, "items dim_and_width"]:
        """What item vectors are made of: texts, and other vectors beside them."""
        return torch.cat([self.white, self.beside[:, : self.inside]], dim=1)

    @property
    def inside(self) -> int:
        """How many numbers of the other vectors are part of item vectors."""
        return 0 if self.senses is None else self.senses.inside
