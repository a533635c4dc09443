"""The pretrained transformer: items to vectors, events to vectors, and base training."""
