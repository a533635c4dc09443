"""Lists, reasons and adapters of all users, shard by shard: one file for each, on as many workers as there are.

    recllm.scale.recommend("model/", "lists/", executor="local:4")     # or "ray://head:6379"
    polars.read_parquet("lists/*.parquet")

A job that was stopped is called again and goes on: what its manifest has is not made again.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, final

from recllm.data.doors import read_path, truth, whole_number
from recllm.errors import AdapterMismatch, ArtifactError, ConfigError, DataError, WorkerError
from recllm.explain.explainer import Explainer
from recllm.lists.request import ListRequest
from recllm.model.fitted import tell
from recllm.options import Progress
from recllm.ranking.asked import RuleOptions, Rules
from recllm.resources import __version__
from recllm.scale.executor import Executor, workers_of
from recllm.scale.manifest import Manifest, Part
from recllm.scale.shards import number_of_shards
from recllm.scale.sources import Divided, Source, source_of
from recllm.scale.work import Kind, Shard, Work, model_checksum

__all__ = ["Finished", "adapt", "explain", "recommend"]

Folder = str | PathLike[str]

SHARDS = 64
"""How many, where nothing is said."""

OF_LISTS = tuple(field.name for field in dataclasses.fields(ListRequest) if field.name != "rules")
OF_REASONS = ("n", "adapt", "without", "wishes", "filters", "by")
"""What `Recommender.recommend` and `Recommender.explain` can be asked by name, beside rules."""

TOLD = 3
"""Notes and failures that are told in words; the manifest has all notes, and `Finished` all failures."""


@final
@dataclass(frozen=True)
class Finished:
    """What a job made.

    Attributes:
        folder: Where its files are.
        files: Names of all finished files, in the order of the shards.
        users: Of whom they are.
        rows: Lines of all tables; of adapters, users who have one.
        kept: How many of the files were there already, made by a run that was stopped.
        failed: Names of files that could not be made, and why; call the job again to try once more.
    """

    folder: Path
    files: tuple[str, ...]
    users: int
    rows: int
    kept: int
    failed: Mapping[str, str]


def recommend(
    model: Folder,
    out: Folder,
    users: Any = None,
    *,
    n: int = 10,
    explain: bool = False,
    adapters: Folder | None = None,
    executor: str | Executor = "local",
    shards: int | None = None,
    progress: Progress | None = None,
    **asked: Any,
) -> Finished:
    """Ranked lists of many users as parquet files, one for each shard of users.

    Args:
        model: Folder of a saved recommender. With Ray, every machine has to see it, and `out`, under this path.
        out: Folder for the files; one that a stopped run of the same job has left, to go on.
        users: As in `Recommender.recommend`, or `PartitionedEvents`, of which a worker reads one part at a time. None:
            all whom the model remembers.
        n: Length of the lists.
        explain: Add reasons, and the proofs by which `Recommender.verify_explanation` computes them again.
        adapters: What `adapt` made with this model, in as many shards.
        executor: Where to work, see `open_executor`.
        shards: Files to make, each of some thousand users. None: 64, or as many as a divided log has parts.
        progress: Called as shards are finished.
        asked: What else `Recommender.recommend` takes by name: `filters`, `exclude_seen`, `diversity`, `caps` …

    Returns:
        What was made. The columns are those of `Recommendations.to_polars`.

    Raises:
        ArtifactError: There is no model, or `out` holds something else, such as lists of another model or request.
        ConfigError: There is nothing of a name to be asked, or a value is out of range.
    """
    said = _checked({"n": n, **asked}) | {"explain": truth(explain, "explain")}
    return _run("recommend", model, out, users, said, executor, shards, progress, adapters=adapters)


def explain(
    model: Folder,
    out: Folder,
    users: Any = None,
    *,
    n: int = 10,
    lists: Folder | None = None,
    executor: str | Executor = "local",
    shards: int | None = None,
    progress: Progress | None = None,
    **asked: Any,
) -> Finished:
    """Reasons for lists of many users as parquet files, one for each shard of users.

    Args:
        model: As in `recommend`.
        out: As in `recommend`.
        users: As in `recommend`.
        n: Length of the lists.
        lists: What `recommend` made for these users with this model, in as many shards; None: lists are made.
        executor: As in `recommend`.
        shards: As in `recommend`.
        progress: As in `recommend`.
        asked: What else `Recommender.explain` takes by name: `generator` (a name), `level`, `audience`, `filters` …

    Returns:
        What was made. The columns are those of `Explanations.to_polars`, and `proof`.

    Raises:
        ArtifactError: As in `recommend`.
        ConfigError: As in `recommend`.
    """
    words = {name: asked.pop(name) for name in ("generator", "level", "audience") if name in asked}
    if not isinstance(words.get("generator"), str | None):
        raise ConfigError("generator is the name of a language model, which each worker opens; got an object.")
    Explainer(level=words.get("level"), audience=words.get("audience", "customer"))  # or refused
    return _run(
        "explain",
        model,
        out,
        users,
        _checked({"n": n, **asked}, OF_REASONS) | words,
        executor,
        shards,
        progress,
        lists=lists,
    )


def adapt(
    model: Folder,
    out: Folder,
    users: Any = None,
    *,
    steps: int | None = None,
    executor: str | Executor = "local",
    shards: int | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Adapters of many users as files of `Adapters`, one for each shard of users.

    Args:
        model: As in `recommend`.
        out: As in `recommend`.
        users: As in `recommend`.
        steps: Gradient steps; None takes the configured number.
        executor: As in `recommend`.
        shards: As in `recommend`.
        progress: As in `recommend`.

    Raises:
        ArtifactError: As in `recommend`.
    """
    said = {"steps": None if steps is None else whole_number(steps, "steps, the number of gradient steps,", 0)}
    return _run("adapt", model, out, users, said, executor, shards, progress)


def _checked(asked: Mapping[str, Any], names: Sequence[str] = OF_LISTS) -> dict[str, Any]:
    """What is asked of a recommender, refused here rather than by each worker."""
    rules = set(RuleOptions.__annotations__)
    known = {*names, *rules}
    if unknown := sorted(set(asked) - known):
        raise ConfigError(f"{unknown[0]!r} cannot be asked of many users; what can is {', '.join(sorted(known))}.")
    read = Rules(**{name: value for name, value in asked.items() if name in rules})
    request = ListRequest(**{name: value for name, value in asked.items() if name not in rules}, rules=read)
    return {name: getattr(read if name in rules else request, name) for name in asked}


def _run(
    kind: Kind,
    model: Folder,
    out: Folder,
    users: Any,
    asked: dict[str, Any],
    executor: str | Executor,
    shards: int | None,
    progress: Progress | None,
    **others: Folder | None,
) -> Finished:
    folder = read_path(out, "the folder to write to").resolve()
    place = read_path(model, "the folder of a saved recommender").resolve()
    paths = {name: str(Path(other).resolve()) for name, other in others.items() if other is not None}
    source = source_of(users)
    number = _number(shards, source)
    work = Work(kind, str(place), model_checksum(place), str(folder), number, source, asked, **paths)
    manifest = Manifest.to_go_on(folder, _job(work))
    manifest.write()
    kept, damaged = _look(work, manifest)
    with workers_of(executor) as workers:
        failed = _made(work, manifest, workers, progress)
    if len(failed) == work.shards and len(set(failed.values())) == 1:
        raise DataError(next(iter(failed.values())))  # it is not the shards
    _tell(manifest, damaged, failed)
    parts = manifest.parts
    counts = {name: sum(getattr(part, name) for part in parts.values()) for name in ("users", "rows")}
    return Finished(folder, tuple(sorted(parts)), **counts, kept=kept, failed=failed)


def _number(shards: int | None, source: Source) -> int:
    parts = source.parts if isinstance(source, Divided) else None
    number = number_of_shards(parts or SHARDS if shards is None else shards)
    if parts not in (None, number):
        raise ConfigError(f"shards: the events are in {parts} parts, and each is a shard; leave shards out.")
    return number


def _job(work: Work) -> dict[str, Any]:
    """What is asked of what, for the manifest; of folders, their checksums."""
    job = {
        "kind": work.kind,
        "model": work.checksum,
        "users": work.users.digest,
        "shards": work.shards,
        "request": json.loads(json.dumps(work.asked, default=_as_json, sort_keys=True)),
        "version": __version__,
    }
    for name, folder, kind in (("adapters", work.adapters, "adapt"), ("lists", work.lists, "recommend")):
        if folder is None:
            continue
        other = Manifest.read(Path(folder)).job
        if other["kind"] != kind or other["shards"] != work.shards:
            raise ArtifactError(
                f"{folder} holds what {other['kind']!r} made in {other['shards']} shards; give a folder that {kind!r} "
                f"made in {work.shards}."
            )
        if other["model"] != work.checksum:
            raise AdapterMismatch(f"{folder} was made with another model; make it again with the one in {work.model}.")
        job[name] = other
    return job


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _look(work: Work, manifest: Manifest) -> tuple[int, list[str]]:
    """How many shards are finished, and which of them are damaged, and so not finished any more."""
    damaged = [name for name in sorted(manifest.parts) if not manifest.is_whole(name)]
    for name in damaged:
        manifest.drop(name)
    return len(manifest.parts), damaged


def _made(work: Work, manifest: Manifest, executor: Executor, progress: Progress | None) -> dict[str, str]:
    """Make what is not finished; what could not be made, and why."""
    failed: dict[str, str] = {}
    try:
        while todo := [one for one in _all(work) if one.name not in manifest.parts and one.name not in failed]:
            try:
                with contextlib.closing(executor.map(work, todo)) as results:
                    for shard, made in zip(todo, results, strict=True):
                        if isinstance(made, Part):
                            manifest.add(shard.name, made)
                        else:
                            failed[shard.name] = made.why
                        if progress is not None:
                            progress(work.kind, len(manifest.parts) + len(failed), work.shards)
            except WorkerError as error:
                if error.shard is None:
                    raise
                failed[todo[error.shard].name] = str(error)
    finally:
        manifest.write()
    return failed


def _all(work: Work) -> Iterator[Shard]:
    return map(work.shard, range(work.shards))


def _tell(manifest: Manifest, damaged: list[str], failed: Mapping[str, str]) -> None:
    notes = [
        f"{manifest.folder / name} was damaged, and has been made again." for name in damaged if name not in failed
    ]
    notes += [note for name in sorted(manifest.parts) for note in manifest.parts[name].notes]
    failures = [f"{manifest.folder / name} could not be made: {why}" for name, why in sorted(failed.items())]
    for said in (list(dict.fromkeys(notes)), failures):
        more = [f"… and {len(said) - TOLD:,} more of this kind"] if len(said) > TOLD else []
        tell([*said[:TOLD], *more], stacklevel=5)
