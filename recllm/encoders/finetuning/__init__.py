"""Fine-tuning the text encoder on the catalog: pairs, the trainer, what it was worth, the adapter on disk."""
