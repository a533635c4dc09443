"""Catalogs, event logs, histories and tasks. Nothing here needs torch."""

from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions, load_demo
from recllm.data.tasks import Tasks, make_tasks, rolling_tasks, split_users

__all__ = [
    "Catalog",
    "CleaningReport",
    "Feedback",
    "Histories",
    "Interactions",
    "Tasks",
    "load_demo",
    "make_histories",
    "make_tasks",
    "rolling_tasks",
    "split_users",
]
