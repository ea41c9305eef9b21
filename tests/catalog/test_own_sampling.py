"""How a model wants its tokens picked: by its file, by the catalogue, and what of that makes no sense."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.own_sampling import WHOLE_CONTEXT, own_sampling
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError
from edgespec.paths import user_catalog_file
from tests.tiny import make_tiny_model


def meta(tmp_path: Path, **said: float) -> GgufMetadata:
    return read_metadata(make_tiny_model(tmp_path / "own.gguf", sampling=said))


def test_a_files_fields_are_read_under_our_names(tmp_path: Path) -> None:
    said = meta(tmp_path, temp=0.5, top_k=20, top_p=0.75, min_p=0.0, penalty_repeat=1.25, penalty_last_n=-1)
    assert own_sampling(said, {}) == {
        "temperature": 0.5,
        "top_k": 20,
        "top_p": 0.75,
        "min_p": 0.0,
        "repeat_penalty": 1.25,
        "repeat_last_n": WHOLE_CONTEXT,
    }


@pytest.mark.parametrize(
    "said",
    [
        {"temp": -1.0},
        {"temp": float("nan")},
        {"temp": 1e30},
        {"top_k": -5},
        {"top_p": 0.0},
        {"penalty_last_n": -2},
    ],
)
def test_what_makes_no_sense_is_left_out(said: dict[str, float], tmp_path: Path) -> None:
    assert own_sampling(meta(tmp_path, **said), {}) == {}


def test_the_catalogue_speaks_where_the_file_is_silent(tmp_path: Path) -> None:
    listed = {"temperature": 0.2, "top_k": 40.0}
    assert own_sampling(meta(tmp_path), listed) == {"temperature": 0.2, "top_k": 40}
    assert own_sampling(meta(tmp_path, top_k=7), listed) == {"temperature": 0.2, "top_k": 7}
    assert own_sampling(meta(tmp_path, temp=0.5), listed) == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sampling = { temperatur = 0.2 }", "models.m.sampling has the unknown key 'temperatur'"),
        ("sampling = { temperature = -1 }", "models.m.sampling.temperature is -1, which is out of range"),
    ],
)
def test_a_catalogue_that_makes_no_sense_is_refused(line: str, said: str) -> None:
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(f'[models.m]\npath = "m.gguf"\n{line}\n')
    with pytest.raises(ConfigError, match=said):
        load_catalog()
