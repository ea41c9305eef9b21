"""A models.toml with anything in it: a catalogue, or an error in one line that names the file."""

import json
from pathlib import Path
from typing import Any

import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tomlkit.exceptions import TOMLKitError

from edgespec import paths
from edgespec.catalog.entries import Catalog
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, ExitCode
from tests.conftest import RunCli
from tests.odd_documents import changed

SOUND: dict[str, Any] = {
    "default": "little",
    "models": {
        "little": {"repo": "owner/little", "file": "little.gguf", "revision": "main", "size_bytes": 1000},
        "big": {
            "repo": "owner/big",
            "file": "big-00001-of-00002.gguf",
            "part_sha256": ["0" * 64, "f" * 64],
            "licence": "Apache-2.0",
            "shape": {
                "blocks": 2,
                "embedding": 64,
                "heads": 4,
                "kv_heads": 2,
                "feed_forward": 128,
                "vocab": 300,
            },
        },
        "wheel": {"wheels": {"project": "p-{n}", "version": "1.0", "member": "m/{k:02d}.bin", "parts": 2}},
        "own": {"path": "own.gguf"},
    },
    "pairs": {"both": {"target": "big", "drafts": ["little", "ngram"], "acceptance": [0.7]}},
}
FAST = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(text: str) -> Path:
    path = paths.user_catalog_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def load_or_refuse(path: Path) -> None:
    try:
        assert isinstance(load_catalog(), Catalog)
    except ConfigError as error:
        assert str(path) in error.message


def as_toml(document: Any) -> str | None:
    """None for what TOML cannot say."""
    try:
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError, AttributeError):
        return None


def test_the_sound_one_is_read() -> None:
    text = as_toml(SOUND)
    assert text is not None
    write(text)
    assert set(SOUND["models"]) <= set(load_catalog().models)


@FAST
@given(changed(SOUND).map(as_toml))
def test_any_table_is_read_or_refused_by_name(text: str | None) -> None:
    if text is not None:
        load_or_refuse(write(text))


@FAST
@given(st.integers(0, 900), st.text(max_size=12))
def test_any_text_is_read_or_refused_by_name(end: int, more: str) -> None:
    text = as_toml(SOUND)
    assert text is not None
    load_or_refuse(write(text[:end] + more))


@settings(FAST, max_examples=40)
@given(changed(SOUND).map(as_toml), st.sampled_from([("models", "--json"), ("pair", "big"), ("models",)]))
def test_commands_that_read_it_answer_or_say_one_line(
    run_cli: RunCli, text: str | None, command: tuple[str, ...]
) -> None:
    if text is None:
        return
    write(text)
    result = run_cli(*command)
    if result.code:
        assert result.code in (ExitCode.USAGE, ExitCode.MODEL), result.err
        assert len(result.err.splitlines()) == 1
    elif "--json" in command:
        json.loads(result.out)
