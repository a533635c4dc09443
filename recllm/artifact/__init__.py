"""Saved folders, whole or not there at all: what is in them, how they are replaced, and what is checked at load."""

from recllm.artifact.saved import Artifact, check_table, check_target, fingerprint, load_artifact, save_artifact

__all__ = ["Artifact", "check_table", "check_target", "fingerprint", "load_artifact", "save_artifact"]
