"""A folder of prompts with a memory: what each came from, which one is in use, and what was in use before.

Prompts are files, and none is ever changed: a result is a new file whose name ends with its version, and whose front
matter says where it comes from. What is in use is an alias, such as `item`, and moving it writes a line to
`history.jsonl`, which only ever grows. A promoted prompt is kept by its version as well (`versions/`), so that a file
which was edited or damaged since is noticed, and what was promoted goes on serving.
"""

import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from recllm.errors import PromptError
from recllm.prompting.floor import complaints
from recllm.prompting.front_matter import without_metadata
from recllm.prompting.template import SUFFIX, Prompt, list_prompts, load_prompt, parse_prompt
from recllm.tuning.lineage import Node, grown, lineage_of, plain_name, with_metadata

ITEM = "item"
"""The alias of the prompt that puts items into words."""

HISTORY, ARMS, VERSIONS = "history.jsonl", "arms", "versions"

_ALIAS = re.compile(r"[a-z][a-z0-9_.-]*")


@final
@dataclass(frozen=True)
class Move:
    """A line of the history: an alias was moved.

    Attributes:
        alias: Which.
        prompt: Where to, by name.
        digest: Its version, in full.
        why: `promote` or `rollback`.
        at: When, in ISO 8601, UTC.
        before: Where it was; None at first.
        catalog: Fingerprint of the catalog that the prompt was promoted for; None where nobody said.
        model: Digest of the encoder's weights; likewise.
        price: What the move costs, in words.
    """

    alias: str
    prompt: str
    digest: str
    why: str
    at: str
    before: str | None = None
    catalog: str | None = None
    model: str | None = None
    price: str = ""


@final
class PromptStore:
    """A folder of prompts, their lineage and their aliases.

    Args:
        folder: Of one's own; it is made when something is written. Prompts that come with recllm are never in it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def make_room(self) -> None:
        """Make the folder, where it is not there yet.

        Raises:
            PromptError: It cannot be made, or is a file.
        """
        _made(self.folder)

    def holds(self, name: str) -> bool:
        """Whether a prompt of this name is in the folder, arms that lost included."""
        return any((folder / f"{name}{SUFFIX}").is_file() for folder in (self.folder, self.folder / ARMS))

    # -- files --------------------------------------------------------------------------------------------------------

    def add(self, prompt: Prompt, lineage: Mapping[str, Any] | None = None, *, lost: bool = False) -> Prompt:
        """Write a prompt as a new file that ends with its version.

        Args:
            prompt: What to keep.
            lineage: Where it comes from; goes into the front matter and is no part of the version.
            lost: Whether it is an arm that lost its race, which is kept apart.

        Returns:
            The prompt as it was written. One that is there already is not written again.
        """
        source = prompt.source if lineage is None else with_metadata(prompt, {"lineage": dict(lineage)})
        name = f"{plain_name(prompt.name)}-{prompt.digest[:8]}"
        folder = self.folder / ARMS if lost else self.folder
        _made(folder)
        for partial, text in prompt.partials.items():
            _write_new(folder / f"_{partial}{SUFFIX}", text)
        kept = parse_prompt(source, name, prompt.partials)
        _write_new(folder / f"{name}{SUFFIX}", source)
        return kept

    def prompt(self, name: str) -> Prompt:
        """A prompt of the folder by its name, arms that lost included.

        Raises:
            PromptError: There is none, or it is not well formed.
        """
        if not (self.folder / f"{name}{SUFFIX}").is_file() and (self.folder / ARMS / f"{name}{SUFFIX}").is_file():
            return load_prompt(name, self.folder / ARMS)
        return load_prompt(name, self.folder)

    # -- aliases ------------------------------------------------------------------------------------------------------

    def history(self, alias: str | None = None) -> tuple[Move, ...]:
        """Every move, the oldest first; of one alias, or of all.

        Raises:
            PromptError: A line of the file is none.
        """
        path, moves = self.folder / HISTORY, []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            try:
                moves.append(Move(**json.loads(line)))
            except (ValueError, TypeError) as error:
                if number == len(lines):  # a write that was cut short; nothing was moved
                    continue
                raise PromptError(f"{path}, line {number} moves no alias ({error}); restore the file") from error
        return tuple(move for move in moves if alias in (None, move.alias))

    def current(self, alias: str = ITEM) -> Prompt:
        """The prompt in use; if its file was changed or broken since, as it was promoted, with a warning.

        Raises:
            PromptError: Nothing was ever promoted under this alias, or no version of it can be read.
        """
        moves = self.history(alias)
        if not moves:
            raise PromptError(
                f"no prompt of {self.folder} is in use as '{alias}'; promote one with `recllm prompts promote`"
            )
        for place, move in enumerate(reversed(moves)):
            found, fault = self._as_promoted(move)
            if fault and not place:
                warnings.warn(f"{fault}; what was promoted goes on serving", stacklevel=2)
            if found is not None:
                return found
        raise PromptError(f"no version of '{alias}' in {self.folder} can be read; promote a prompt again")

    def promote(
        self,
        name: str,
        alias: str = ITEM,
        *,
        catalog: str | None = None,
        model: str | None = None,
        price: str = "",
        standing: Prompt | None = None,
    ) -> Move:
        """Put a prompt into use.

        Args:
            name: Of a prompt in this folder.
            alias: What it shall be in use as.
            catalog: Fingerprint of the catalog it shall describe.
            model: Digest of the weights of the encoder that shall read it.
            price: What that costs, for the history.
            standing: What it has to keep the promises of; None: what is in use now, if anything is.

        Raises:
            PromptError: It was chosen for another catalog or encoder, breaks a promise, or is not well formed. What is
                in use stays in use.
        """
        prompt = self.check(name, alias, catalog=catalog, model=model, standing=standing)
        return self._move(prompt, alias, "promote", self.history(alias), catalog, model, price)

    def check(
        self,
        name: str,
        alias: str = ITEM,
        *,
        catalog: str | None = None,
        model: str | None = None,
        standing: Prompt | None = None,
    ) -> Prompt:
        """The prompt, if it may be promoted; see there."""
        if not _ALIAS.fullmatch(alias):
            raise PromptError(f"{alias!r} is no alias; write lower-case letters, digits, '.', '_' and '-'")
        prompt = self.prompt(name)
        lineage = lineage_of(prompt)
        for what, ours, theirs in (
            ("catalog", lineage.get("catalog"), catalog),
            ("model", lineage.get("model"), model),
        ):
            if ours is not None and theirs is not None and not theirs.startswith(str(ours)):
                raise PromptError(
                    f"prompt '{name}' was chosen for another {what} ({str(ours)[:16]}, and this is {theirs[:16]}); "
                    "run `recllm prompts optimize` for this one"
                )
        moves = self.history(alias)
        if standing is None and moves:
            standing = self._as_promoted(moves[-1])[0]
        if faults := [] if standing is None else complaints(prompt, standing):
            raise PromptError(f"prompt '{name}' cannot take the place of the one in use: {'; '.join(faults)}")
        return prompt

    def rollback(self, alias: str = ITEM) -> Move:
        """Put what was in use before into use again; twice, what was in use before that.

        Raises:
            PromptError: Nothing was in use before.
        """
        moves = self.history(alias)
        stack: list[Move] = []
        for move in moves:  # what a rollback went back from is no longer before it
            if move.why == "rollback":
                stack.pop()
            elif not stack or stack[-1].digest != move.digest:  # promoted twice, it is not before itself
                stack.append(move)
        if len(stack) < 2:
            raise PromptError(f"nothing was in use as '{alias}' in {self.folder} before, so there is no way back")
        target = stack[-2]
        prompt, _ = self._as_promoted(target)
        if prompt is None:
            raise PromptError(f"'{target.prompt}', which was in use before, can no longer be read; promote another")
        return self._move(prompt, alias, "rollback", moves, target.catalog, target.model, "")

    def tree(self) -> tuple[Node, ...]:
        """What came from what: prompts without a parent here, each with what came from it."""
        serving = {alias: self.history(alias)[-1].digest for alias in {move.alias for move in self.history()}}
        read = [
            (prompt, folder.name == ARMS) for folder in (self.folder, self.folder / ARMS) for prompt in _all(folder)
        ]
        return grown(read, serving)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _as_promoted(self, move: Move) -> tuple[Prompt | None, str]:
        """The version that was promoted, and what is the matter with its file."""
        fault = ""
        try:
            prompt = self.prompt(move.prompt)
            if prompt.digest == move.digest:
                return prompt, ""
            fault = f"'{move.prompt}' in {self.folder} has been changed since it was promoted; add it as a new prompt"
        except PromptError as error:
            fault = str(error)
        try:
            saved = json.loads((self.folder / VERSIONS / f"{move.digest}.json").read_text(encoding="utf-8"))
            kept = parse_prompt(saved["source"], move.prompt, saved["partials"])
            return (kept if kept.digest == move.digest else None), fault
        except (OSError, ValueError, KeyError, TypeError, PromptError):
            return None, fault

    def _move(
        self,
        prompt: Prompt,
        alias: str,
        why: str,
        moves: tuple[Move, ...],
        catalog: str | None,
        model: str | None,
        price: str,
    ) -> Move:
        before = moves[-1].prompt if moves else None
        at = datetime.now(UTC).isoformat(timespec="seconds")
        move = Move(alias, prompt.name, prompt.digest, why, at, before, catalog, model, price)
        versions = self.folder / VERSIONS
        _made(versions)
        kept = json.dumps({"source": prompt.source, "partials": dict(prompt.partials)}, ensure_ascii=False, indent=1)
        _write_new(versions / f"{prompt.digest}.json", kept, replaces=True)
        path = self.folder / HISTORY
        whole = path.read_bytes().rpartition(b"\n") if path.is_file() else (b"", b"", b"")
        with path.open("ab") as file:
            file.truncate(len(whole[0]) + len(whole[1]))  # a line that was cut short moved nothing
            file.write((json.dumps(asdict(move), ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        return move


def _all(folder: Path) -> Iterator[Prompt]:
    """Those that can be read; `recllm prompts lint` says why others cannot."""
    for name in list_prompts(folder) if folder.is_dir() else ():
        with contextlib.suppress(PromptError):
            yield load_prompt(name, folder)


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("it cannot be written to")
    except OSError as error:
        reason = error.strerror or error
        raise PromptError(f"prompts cannot be kept in {folder}: {reason}; choose another folder") from error


def _write_new(path: Path, text: str, *, replaces: bool = False) -> None:
    """Whole or not at all; a file that is there is left as it is, and refused if it holds something else."""
    if path.is_file() and not replaces:
        if path.read_text(encoding="utf-8") != text and not _same_version(path, text):
            raise PromptError(f"{path} is there already and holds something else; move it away")
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _same_version(path: Path, text: str) -> bool:
    """Whether two files differ in their metadata only."""
    return without_metadata(path.read_text(encoding="utf-8"), path.name) == without_metadata(text, path.name)
