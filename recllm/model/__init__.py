"""What `fit` makes: the fitted parts, how they are fitted stage by stage, and how they are kept on disk."""
