"""What answers: a recommender that takes in every acknowledged event, and is exchanged without a pause."""
