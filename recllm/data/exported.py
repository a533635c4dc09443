"""Tables for other libraries: polars, pandas, pyarrow, Hugging Face data sets."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import polars as pl

from recllm.data.process import stay_in_process
from recllm.errors import require

if TYPE_CHECKING:
    import datasets
    import pandas
    import pyarrow


class Exported(ABC):
    """What can be had as a table of any of these libraries; all are made of the one that `to_polars` gives."""

    @abstractmethod
    def to_polars(self) -> pl.DataFrame:
        """A polars frame."""

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require("pandas", extra="pandas")
        return self.to_polars().to_pandas()

    def to_arrow(self) -> "pyarrow.Table":
        """A pyarrow table, with the columns and types of `to_polars`."""
        # The oldest layout is what every reader of Arrow knows; the newer one for text is not read by all.
        return self.to_polars().to_arrow(compat_level=pl.CompatLevel.oldest())

    def to_dataset(self) -> "datasets.Dataset":
        """A Hugging Face data set, with the columns of `to_polars`; `from_frame` reads it back."""
        stay_in_process()
        import datasets

        return datasets.Dataset(self.to_arrow())


class Framed(Exported):
    """The same for what keeps a polars frame of its own."""

    frame: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        """A polars frame; changing it changes nothing here."""
        return self.frame.clone()
