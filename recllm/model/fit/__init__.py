"""How a model is fitted: one file a stage."""
