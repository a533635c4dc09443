"""Ratings: what a user would give an item, as U·V + I, learned by squared loss."""
