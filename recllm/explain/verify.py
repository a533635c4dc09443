"""Stand-in."""
from recllm.explain.evidence import Evidence
def complaints(text: str, evidence: Evidence, *, domain: str = "neutral") -> tuple[str, ...]: return ()
