"""Where a prompt comes from, as its file tells, and what came from what."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import yaml

from recllm.prompting.front_matter import without_metadata
from recllm.prompting.template import Prompt

_VERSION = re.compile(r"-[0-9a-f]{8}$")


@final
@dataclass(frozen=True)
class Node:
    """A prompt in the tree of what came from what.

    Attributes:
        name: Of the file.
        reference: Name and version.
        parent: Reference of what it came from; None for a prompt without lineage.
        facts: Its lineage, as the file tells it.
        aliases: Which point here.
        lost: Whether it is an arm that lost its race.
    """

    name: str
    reference: str
    parent: str | None
    facts: Mapping[str, Any]
    aliases: tuple[str, ...] = ()
    lost: bool = False
    children: list["Node"] = field(default_factory=list)


def lineage_of(prompt: Prompt) -> Mapping[str, Any]:
    """Where a prompt comes from, as its file tells: raced, or composed; empty where it does not."""
    told = prompt.metadata.get("lineage", prompt.metadata.get("composed"))
    return told if isinstance(told, Mapping) else {}


def with_metadata(prompt: Prompt, further: Mapping[str, Any]) -> str:
    """The prompt's file with more metadata; its version stays the same."""
    block = yaml.safe_dump({"metadata": {**prompt.metadata, **further}}, sort_keys=False, allow_unicode=True, width=110)
    plain = without_metadata(prompt.source, prompt.name)
    end = plain.index("\n---", 3) + 1
    return plain[:end] + block + plain[end:]


def plain_name(name: str) -> str:
    """A file's name without the version at its end."""
    return _VERSION.sub("", name)


def grown(prompts: Iterable[tuple[Prompt, bool]], serving: Mapping[str, str]) -> tuple[Node, ...]:
    """The tree of prompts, each with whether it lost its race: those without a parent here come back.

    Args:
        prompts: All that are known.
        serving: Alias -> version in full of what is in use.
    """
    nodes = []
    for prompt, lost in prompts:
        facts = lineage_of(prompt)
        parent = facts.get("parent")
        aliases = tuple(sorted(alias for alias, digest in serving.items() if digest == prompt.digest))
        nodes.append(Node(prompt.name, prompt.reference, parent and str(parent), facts, aliases, lost))
    known = {node.reference: node for node in nodes} | {_unversioned(node.reference): node for node in nodes}
    roots: dict[str, Node] = {}
    for node in nodes:
        above = None if node.parent is None else known.get(node.parent) or known.get(_unversioned(node.parent))
        if above is None and node.parent is not None:  # such as one that came with recllm
            above = roots.setdefault(node.parent, Node(node.parent.partition("@")[0], node.parent, None, {}))
        if above is None or above is node:
            roots[node.reference] = node
        else:
            above.children.append(node)
    return tuple(roots.values())


def _unversioned(reference: str) -> str:
    """`item.arm-1a2b3c4d@1a2b3c4d` as `item.arm@1a2b3c4d`: a file's name holds its version, too."""
    name, _, version = reference.partition("@")
    return f"{plain_name(name)}@{version}"
