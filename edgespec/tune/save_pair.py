"""What stays of a search: the files of the fastest pair, and its entry in the user's models.toml."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, DiskSpaceError
from edgespec.files import written_whole
from edgespec.paths import tuned_dir, user_catalog_file
from edgespec.tune.variants import PUBLISHED, DraftForm, TargetForm, write_draft


@dataclass(frozen=True, slots=True)
class KeptPair:
    """Names of what was stored."""

    pair: str
    target: str
    draft: str


def keep_pair(
    target_name: str, target_path: Path, target: TargetForm, draft: DraftForm | None, description: str
) -> KeptPair:
    """Writes the files and then the entries; what was there of an earlier search is replaced.

    Args:
        target_name: What the target is called.
        target_path: Its published file.
        target: The form that won.
        draft: The draft that won; None for drafts from the text alone.
        description: For people, in models.toml.

    Raises:
        ConfigError: the user's models.toml is no valid TOML; nothing is changed in it.
        DiskSpaceError: a file cannot be written.
    """
    pair = f"{target_name}-tuned"
    document = _read_catalog()
    folder = tuned_dir() / pair
    models: dict[str, Path] = {}
    target_of_pair = target_name
    try:
        if target.label != PUBLISHED:
            target_of_pair = f"{target_name}-{target.label.lower()}"
            models[target_of_pair] = folder / f"{target_of_pair}.gguf"
            _copy(target.path, models[target_of_pair])
        elif target_name not in load_catalog().models:
            models[target_name] = target_path.resolve()
        drafts = ["ngram"]
        if draft is not None:
            drafts = [f"{target_name}-draft"]
            models[drafts[0]] = folder / f"{drafts[0]}.gguf"
            write_draft(draft, models[drafts[0]])
    except OSError as err:
        raise DiskSpaceError(
            f"cannot keep the pair in {folder}: {err.strerror or err}", "free some space"
        ) from err
    for name, path in models.items():
        _table(document, "models")[name] = _entry(
            path=str(path), description=f"made by edgespec tune: {description}"
        )
    _table(document, "pairs")[pair] = _entry(
        target=target_of_pair, drafts=drafts, tuned=True, description=description
    )
    _write_catalog(document)
    load_catalog()
    return KeptPair(pair, target_of_pair, drafts[0])


def forget_pair(target_name: str) -> None:
    """Removes what an earlier search stored for this target: another one is the fastest now, or none.

    Raises:
        ConfigError: the user's models.toml is no valid TOML.
    """
    pair = f"{target_name}-tuned"
    document = _read_catalog()
    pairs = document.get("pairs", {})
    if pair not in pairs:
        return
    del pairs[pair]
    folder = (tuned_dir() / pair).resolve()
    models = document.get("models", {})
    for name in [name for name, entry in models.items() if Path(str(entry.get("path", ""))).parent == folder]:
        del models[name]
    _write_catalog(document)
    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(destination) as unfinished:
        shutil.copyfile(source, unfinished)


def _read_catalog() -> tomlkit.TOMLDocument:
    file = user_catalog_file()
    try:
        return tomlkit.parse(file.read_text(encoding="utf-8") if file.is_file() else "")
    except (OSError, UnicodeDecodeError, TOMLKitError) as err:
        raise ConfigError(
            f"{file} cannot be read: {err}", "correct it, and tune again: what was made is kept"
        ) from err


def _write_catalog(document: tomlkit.TOMLDocument) -> None:
    file = user_catalog_file()
    try:
        with written_whole(file) as unfinished:
            unfinished.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as err:
        raise DiskSpaceError(
            f"{file} cannot be written: {err.strerror or err}", "free some space there"
        ) from err


def _table(document: tomlkit.TOMLDocument, name: str) -> Any:
    if name not in document:
        document[name] = tomlkit.table(is_super_table=True)
    return document[name]


def _entry(**values: object) -> Any:
    table = tomlkit.table()
    for key, value in values.items():
        table[key] = value
    return table
