"""One user at a time: batched LoRA, the inner loop, meta-training, and the users' adapters."""
