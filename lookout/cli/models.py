"""`lookout models`: which models and clips there are, under which terms, and fetching them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.status import Status
from rich.table import Column, Table

from lookout.cli.model_use import use
from lookout.errors import UnavailableError
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import REFINER, Embedder, Media, OwnEmbedder, load_manifest
from lookout.models_in_use import names_in_use
from lookout.settings import Settings
from lookout.stores.registry import Registry

if TYPE_CHECKING:
    from lookout.faces.quantised import Verdict


class AssetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model or clip as `list` shows it; `path` is null unless it is here and sound, and of one that has parts."""

    name: str
    role: str
    description: str
    licence: str
    source: str
    origin: str
    path: str | None
    bytes: int
    in_use: bool = False


app = typer.Typer(no_args_is_help=True, help="Models and clips: what there is, under which terms, and fetching them.")


@app.command("list")
def list_assets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all models and clips with their terms, and which are on this machine."""
    cache = _cache()
    in_use = _names_in_use()
    rows = [_fusion(cache, name, in_use) for name in cache.manifest.fusions]
    rows += [_row(cache, name, in_use) for name in cache.manifest.assets]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    console = _console()
    table = Table(Column("name", no_wrap=True), "what", "licence", "on this machine")
    for row in rows:
        here = _megabytes(row.bytes) if row.bytes else "no"
        table.add_row(row.name, row.description, row.licence, f"{here}, in use" if row.in_use else here)
    console.print(table)
    for origin, source in dict.fromkeys((row.origin, row.source) for row in rows):
        console.print()
        console.print(*(row.name for row in rows if (row.origin, row.source) == (origin, source)), style="bold")
        console.print(f"from {origin}. {source}")


@app.command("fetch")
def fetch_assets(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all if none is named.")] = None,
) -> None:
    """Download what is missing or damaged, verify it and make the models; embedders also in INT8."""
    # It brings OpenVINO, which `list` should not wait for.
    from lookout.faces.quantised import quantise

    cache = _cache()
    # A misspelt name is refused before the first download.
    wanted = {file: cache.manifest.asset(file) for name in names or () for file in cache.manifest.files_of(name)}
    if any(isinstance(asset, Embedder | OwnEmbedder) for asset in wanted.values()):
        wanted[REFINER] = cache.manifest.asset(REFINER)
    console = _console()
    for name in wanted or cache.manifest.assets:
        with console.status(name) as status:

            def told(asset: str, doing: str, status: Status = status) -> None:
                status.update(f"{asset}: {doing}")

            path = cache.fetch([name], told)[name]
            verdict = quantise(cache, name, told) if isinstance(cache.manifest.asset(name), Embedder) else None
        console.print(f"{name}: {_megabytes(_disk_bytes(path))}, {path}{_in_int8(verdict)}", soft_wrap=True)


app.command("use")(use)


def _in_int8(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    figures = f"{verdict.speedup:.1f} times as fast, cosine to the original at least {verdict.cosine:.3f}"
    return f"; {'used' if verdict.accepted else 'not used'} in INT8: {figures}"


def _cache() -> AssetCache:
    settings = Settings()
    return AssetCache(settings.cache, load_manifest(settings.home / "models.toml"))


def _console() -> Console:
    # Texts of users' files are shown as they are, whatever brackets and colons they hold.
    return Console(markup=False, emoji=False, highlight=False)


def _names_in_use() -> frozenset[str]:
    """The models in use; none where no registry can say so yet."""
    settings = Settings()
    if settings.database.get_backend_name() == "sqlite" and not Path(settings.database.database or "").exists():
        return frozenset()
    registry = Registry(settings.database)
    try:
        if not registry.is_current():
            return frozenset()
        with registry.reading() as session:
            return frozenset(names_in_use(session))
    except UnavailableError:
        return frozenset()
    finally:
        registry.close()


def _fusion(cache: AssetCache, name: str, in_use: frozenset[str]) -> AssetRow:
    parts = [_row(cache, part, in_use) for part in cache.manifest.files_of(name)]
    return AssetRow(
        name=name,
        role="embedder",
        description=f"embedder: {' and '.join(part.name for part in parts)} together",
        licence="of its parts",
        source="The cosine of its templates is the weighted mean of its parts'.",
        origin="the parts that it names",
        path=None,
        bytes=sum(part.bytes for part in parts) if all(part.path for part in parts) else 0,
        in_use=name in in_use,
    )


def _row(cache: AssetCache, name: str, in_use: frozenset[str]) -> AssetRow:
    asset, path = cache.manifest.asset(name), cache.find(name)
    if isinstance(asset, OwnEmbedder):
        origin = str(asset.file)
    else:
        archive = cache.manifest.archives[asset.archive]
        origin = f"{archive.registry}: {archive.package} {archive.version}"
    return AssetRow(
        name=name,
        role=asset.role,
        description=asset.description if isinstance(asset, Media) else asset.role,
        licence=asset.licence,
        source=asset.source,
        origin=origin,
        path=str(path) if path else None,
        bytes=_disk_bytes(path) if path else 0,
        in_use=name in in_use,
    )


def _disk_bytes(path: Path) -> int:
    """Size of a file, and of the weights beside a model's `.xml`."""
    files = {path, path.with_suffix(".bin")}
    return sum(file.stat().st_size for file in files if file.exists())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
