"""A model over a catalog that has grown."""

from dataclasses import replace

import numpy as np
import torch

from recllm.data.catalog import Catalog
from recllm.encoders.history import ItemEncoder
from recllm.model.model import Model


def grown(model: Model, catalog: Catalog, text: np.ndarray) -> Model:
    """The same model over more items at the catalog's end; they are known by their texts and other vectors only.

    Args:
        model: Over the catalog as it was.
        catalog: With the new items.
        text: Sentence vectors of the new ones, float32 [new items, dim].
    """
    fresh = len(catalog) - len(model.catalog)
    vectors = model.text.plus(text)
    white = torch.from_numpy(model.whitening(vectors.read()))
    # The items that were there before are as they were read then.
    senses = torch.cat([model.channels.senses, model.senses.white(catalog)[len(model.catalog) :]])
    warm = torch.nn.functional.pad(model.items.warm, (0, fresh))
    whole = model.senses.beside(white, senses)
    items = ItemEncoder(whole, warm, model.encoder.width, model.items.bound, learns=model.items.learns)
    with torch.no_grad():
        items.project.load_state_dict(model.items.project.state_dict())
        if items.learns:
            items.delta[: len(model.catalog)] = model.items.delta
    items.requires_grad_(False)
    ratings = None if model.ratings is None else model.ratings.extended(white.numpy())
    channels = model.channels.extended(white, senses)
    return replace(model, catalog=catalog, text=vectors, items=items, channels=channels, ratings=ratings)
