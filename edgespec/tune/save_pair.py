"""What is saved of a search: the files of the fastest pair, its entry in the user's models.toml, and the outcome."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgespec.catalog.entries import NGRAM
from edgespec.catalog.model_file import ModelFile
from edgespec.catalog.toml_file import load_catalog
from edgespec.documents import read_text
from edgespec.errors import ConfigError, DiskSpaceError
from edgespec.files import changing, written_whole
from edgespec.paths import tuned_dir, user_catalog_file
from edgespec.tune.outcome import TuneOutcome, is_worth_saving, save_outcome
from edgespec.tune.variants import PairVariant, write_draft


def save_result(target: ModelFile, outcome: TuneOutcome, winner: PairVariant) -> TuneOutcome:
    """Saves the winner as a pair where that is worth it, else removes an older one; saves the outcome in any case.

    Returns:
        The outcome with the pair's name.

    Raises:
        ConfigError: the user's models.toml is not valid TOML; nothing is changed in it.
        DiskSpaceError: a file cannot be written.
    """
    if is_worth_saving(outcome):
        description = "; ".join(filter(None, (outcome.best.label, outcome.proof_note)))
        outcome = replace(outcome, pair=save_pair(target, winner, description))
    else:
        remove_pair(target.name)
    save_outcome(outcome)
    return outcome


def save_pair(target: ModelFile, winner: PairVariant, description: str) -> str:
    """Writes the files and then the entries; what was there of an earlier search is replaced.

    Args:
        target: As published.
        winner: What is saved; without a draft variant, the pair drafts from the text alone.
        description: For people, in models.toml.

    Returns:
        The pair's name.

    Raises:
        ConfigError: the user's models.toml is not valid TOML; nothing is changed in it.
        DiskSpaceError: a file cannot be written.
    """
    pair = _pair_name(target.name)
    _read_catalog(user_catalog_file())
    folder = tuned_dir() / pair
    try:
        target_name, models = _save_target(target, winner, folder)
        drafts = [NGRAM]
        if winner.draft is not None:
            drafts = [f"{target.name}-draft"]
            models[drafts[0]] = folder / f"{drafts[0]}.gguf"
            write_draft(winner.draft, models[drafts[0]])
    except OSError as err:
        raise DiskSpaceError(
            f"cannot keep the pair in {folder}: {err.strerror or err}", "free some space"
        ) from err
    with _changed_catalog() as document:
        for name, path in models.items():
            _table(document, "models")[name] = _entry(
                path=str(path), description=f"made by edgespec tune: {description}"
            )
        _table(document, "pairs")[pair] = _entry(
            target=target_name, drafts=drafts, tuned=True, description=description
        )
    load_catalog()
    return pair


def remove_pair(target_name: str) -> None:
    """Removes what an earlier search saved for this target: another one is the fastest now, or none.

    Raises:
        ConfigError: the user's models.toml is not valid TOML.
    """
    pair = _pair_name(target_name)
    if pair not in _read_catalog(user_catalog_file()).get("pairs", {}):
        return
    folder = (tuned_dir() / pair).resolve()
    with _changed_catalog() as document:
        document.get("pairs", {}).pop(pair, None)
        models = document.get("models", {})
        made = [name for name, one in models.items() if Path(str(one.get("path", ""))).parent == folder]
        for name in made:
            del models[name]
    shutil.rmtree(folder, ignore_errors=True)


def _pair_name(target_name: str) -> str:
    return f"{target_name}-tuned"


def _save_target(target: ModelFile, winner: PairVariant, folder: Path) -> tuple[str, dict[str, Path]]:
    """The name of the pair's target, and the models that the catalogue lacks for it, with their files."""
    if winner.target.is_published:
        is_known = target.name in load_catalog().models
        return target.name, {} if is_known else {target.name: target.path.resolve()}
    name = f"{target.name}-{winner.target.label.lower()}"
    path = folder / f"{name}.gguf"
    _copy(winner.target.path, path)
    return name, {name: path}


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(destination) as unfinished:
        shutil.copyfile(source, unfinished)


def _read_catalog(file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(read_text(file) if file.is_file() else "")
    except TOMLKitError as err:
        raise ConfigError(
            f"{file} cannot be read: {err}", "correct it, and tune again: what was made is kept"
        ) from err


@contextmanager
def _changed_catalog() -> Iterator[tomlkit.TOMLDocument]:
    """The user's models.toml as it is now, for changes that are written at the end; other processes wait."""
    file = user_catalog_file()
    try:
        with changing(file) as own:
            document = _read_catalog(own)
            yield document
            with written_whole(own) as unfinished:
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
