"""What metrics know of the items, apart from who ranks them: popularity, categories, words."""

from dataclasses import dataclass
from typing import final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import require

_SPACELESS = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
"""Japanese and Chinese are written without spaces: each character counts as a word."""


@final
@dataclass(frozen=True, eq=False)
class ItemFacts:
    """What metrics need to know of the catalog.

    Attributes:
        popularity: float64 [items], the share of training users with any event on it, above 0: one more user who has
            everything is counted, so that the novelty of an item that nobody has is finite.
        categories: bool CSR [items, categories]; None if no item has one.
        words: float32 CSR [items, terms], TF-IDF of title, text and categories, rows of length 1 (0 without text): a
            space that rankers do not see.
    """

    popularity: NDArray[np.float64]
    categories: sparse.csr_array | None
    words: sparse.csr_array

    def __len__(self) -> int:
        """Number of items."""
        return len(self.popularity)

    @classmethod
    def of(cls, catalog: Catalog, train: Interactions) -> "ItemFacts":
        """Facts of a catalog and the events that methods are trained on."""
        pairs = np.unique(np.stack([train.item_rows(catalog), train.user_rows]), axis=1)[0]
        users = np.bincount(pairs[pairs >= 0], minlength=len(catalog)).astype(np.float64)
        return cls((users + 1.0) / (len(train.user_ids) + 1.0), _categories(catalog), _words(catalog))


def _categories(catalog: Catalog) -> sparse.csr_array | None:
    """bool CSR [items, categories]; None without any."""
    preprocessing = require("sklearn.preprocessing", extra="eval")
    lists = catalog.frame["categories"].fill_null([]).to_list()
    found = preprocessing.MultiLabelBinarizer(sparse_output=True).fit_transform(lists)
    return sparse.csr_array(found, dtype=bool) if found.shape[1] else None


def _words(catalog: Catalog) -> sparse.csr_array:
    """Single words; character n-grams where no item has a word (only signs, emoji); else rows of length 0."""
    text = require("sklearn.feature_extraction.text", extra="eval")
    texts = catalog.frame.select(
        pl.concat_str("title", "text", pl.col("categories").list.join(" "), separator=" ")
    ).to_series()
    pattern = rf"{_SPACELESS}|(?:(?!{_SPACELESS})\w)+"
    for options in ({"token_pattern": pattern}, {"analyzer": "char_wb", "ngram_range": (1, 3)}):
        vectorizer = text.TfidfVectorizer(dtype=np.float32, **options)
        try:
            return sparse.csr_array(vectorizer.fit_transform(texts.to_list()))
        except ValueError:  # "empty vocabulary"
            continue
    return sparse.csr_array((len(catalog), 1), dtype=np.float32)
