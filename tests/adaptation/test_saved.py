"""Adapters on the disk: the same adapters are the same bytes."""

import json
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from recllm.adaptation.saved import read_adapters, write_adapters
from recllm.data.interactions import Interactions


def test_the_same_adapters_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors writes what a file says of itself in an order that changes from call to call."""
    events, lora = Interactions.from_mapping({"mia": ["a", "b"]}), {"a": torch.ones(1, 2, 3)}
    save, contents = safetensors.numpy.save, []
    for turn in range(2):

        def swapped(arrays: object, metadata: dict[str, str], turn: int = turn) -> bytes:
            content = bytearray(save(arrays, metadata))
            end = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:end])
            header["__metadata__"] = dict(sorted(metadata.items(), reverse=bool(turn)))
            text = json.dumps(header, separators=(",", ":")).encode().ljust(end - 8)
            return bytes(content[:8] + text + content[end:])

        monkeypatch.setattr(safetensors.numpy, "save", swapped)
        write_adapters(tmp_path / str(turn), events, lora, "base", 3)
        contents.append((tmp_path / str(turn)).read_bytes())
    assert contents[0] == contents[1]
    assert int.from_bytes(contents[0][:8], "little") % 8 == 0
    found = read_adapters(tmp_path / "0")
    assert (found.base, found.steps, found.events.user_ids) == ("base", 3, ("mia",))
    assert torch.equal(found.lora({"a": torch.zeros(2, 3)})["a"], lora["a"])
