"""Evaluation that survives scrutiny; `recllm.evaluate(...)` is `recllm.evaluation.run.evaluate`."""
