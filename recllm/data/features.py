"""Numbers about users and items that rankers and people look at."""

import numpy as np
import polars as pl

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions

_DAY = 86_400.0


def user_features(interactions: Interactions) -> pl.DataFrame:
    """How active users are, in the order of `interactions.user_ids`.

    Returns:
        [users] `user_id`; `n_events`; `n_items` distinct; `active_days` from first to last event (at least 1, or 0
        without events); `events_per_day` of that span; `recency_days` from the user's last event to the log's last
        (null: no events).
    """
    frame = interactions.frame
    end = frame["timestamp"].max()
    users = pl.DataFrame({"user_id": pl.Series(interactions.user_ids, dtype=pl.String)})
    grouped = frame.group_by("user_id").agg(
        n_events=pl.len().cast(pl.Int64),
        n_items=pl.col("item_id").n_unique().cast(pl.Int64),
        active_days=((pl.col("timestamp").max() - pl.col("timestamp").min()) / _DAY).clip(lower_bound=1.0),
        recency_days=(pl.lit(end, dtype=pl.Float64) - pl.col("timestamp").max()) / _DAY,
    )
    joined = users.join(grouped, on="user_id", how="left", maintain_order="left")
    counted = joined.with_columns(pl.col("n_events", "n_items").fill_null(0), pl.col("active_days").fill_null(0.0))
    per_day = (pl.col("n_events") / pl.col("active_days")).fill_nan(0.0)
    return counted.with_columns(events_per_day=per_day).select(
        "user_id", "n_events", "n_items", "active_days", "events_per_day", "recency_days"
    )


def item_features(interactions: Interactions, catalog: Catalog) -> pl.DataFrame:
    """How popular items are, in the order of the catalog's rows.

    Returns:
        [items] `item_id`; `n_events`; `popularity` distinct users; `recency_days` from the item's last event to the
        log's last (null: no events).
    """
    rows = interactions.item_rows(catalog)
    known = rows >= 0
    times = interactions.frame["timestamp"].to_numpy()
    last = np.full(len(catalog), -np.inf)
    np.maximum.at(last, rows[known], times[known])
    end = times.max(initial=0.0)
    n_events = np.bincount(rows[known], minlength=len(catalog))
    popularity = np.asarray(interactions.matrix(catalog).sum(axis=0)).ravel()
    recency = np.where(n_events > 0, (end - last) / _DAY, np.nan)
    return pl.DataFrame(
        {
            "item_id": pl.Series(catalog.item_ids, dtype=pl.String),
            "n_events": n_events.astype(np.int64),
            "popularity": popularity.astype(np.int64),
            "recency_days": pl.Series(recency).fill_nan(None),
        }
    )
