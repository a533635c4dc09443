"""Stand-in."""
from dataclasses import dataclass, asdict
from typing import Any, Literal
from recllm.explain.evidence import Evidence
from recllm.explain.wording import word
Level = Literal["L0", "L1", "L2", "L3"]
@dataclass
class Wording:
    text: str; method: str="L0"; verified: bool=True; fallback: str|None=None; share: float=0.0; prompt: str=""; generator: str|None=None
    def to_dict(self)->dict[str,Any]: return asdict(self)
class Explainer:
    def __init__(self, generator=None, *, domain="neutral", level=None, detail="short"): self.domain, self.detail = domain, detail
    def explain(self, evidence): return [Wording(word(e, self.domain, detail=self.detail), share=e.share) for e in evidence]
