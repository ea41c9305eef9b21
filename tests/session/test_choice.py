"""From names to files: what `auto` takes, and that nothing is fetched unasked."""

from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog import resolve
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ModelFileError, ModelMissingError, UsageError
from edgespec.session.choice import PairFiles, choose_files
from tests.catalog.gguf_files import write_gguf


@pytest.fixture(autouse=True)
def no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(entry: resolve.ModelEntry, _progress: object) -> Path:
        raise AssertionError(f"{entry.name} would be fetched")

    monkeypatch.setattr(resolve, "_fetch", refuse)


@pytest.fixture
def catalogue(tiny_model: Path, tiny_draft: Path) -> None:
    """`big` and `small` are here, `elsewhere` is not; two pairs stand on `big`."""
    file = paths.user_catalog_file()
    file.parent.mkdir(parents=True)
    file.write_text(
        f"""
default = "far-pair"
[models.big]
path = '{tiny_model}'
[models.small]
path = '{tiny_draft}'
[models.elsewhere]
repo = "owner/elsewhere"
file = "elsewhere.gguf"
[pairs.far-pair]
target = "big"
drafts = ["elsewhere", "small"]
[pairs.near-pair]
target = "big"
drafts = ["small", "elsewhere"]
[pairs.distant]
target = "small"
drafts = ["elsewhere"]
""",
        encoding="utf-8",
    )


def names(files: PairFiles) -> tuple[str, list[str]]:
    return files.target.name, [draft.name for draft in files.drafts]


def test_a_pair_brings_its_first_draft(catalogue: None):
    assert names(choose_files("near-pair")) == ("big", ["small"])


def test_a_pair_whose_draft_is_not_here_asks_for_it(catalogue: None):
    with pytest.raises(AssertionError, match="elsewhere would be fetched"):
        choose_files("far-pair")
    with pytest.raises(ModelMissingError, match="elsewhere is not on this machine"):
        choose_files("far-pair", offline=True)


def test_without_a_name_the_default_is_taken(catalogue: None):
    assert names(choose_files(None, ["none"])) == ("big", [])


def test_auto_for_a_model_takes_the_first_draft_on_disk(catalogue: None):
    assert names(choose_files("big")) == ("big", ["small"])


def test_auto_for_a_model_without_a_draft_on_disk_takes_none_and_fetches_none(catalogue: None):
    assert names(choose_files("small")) == ("small", [])


def test_auto_passes_over_a_draft_on_disk_that_cannot_serve(
    catalogue: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    odd = write_gguf(tmp_path / "odd.gguf", pooling=3)
    file = paths.user_catalog_file()
    text = file.read_text(encoding="utf-8")
    first = (
        f'[models.odd]\npath = \'{odd}\'\n[pairs.a-first]\ntarget = "big"\ndrafts = ["odd"]\n[pairs.far-pair]'
    )
    file.write_text(text.replace("[pairs.far-pair]", first), encoding="utf-8")
    assert load_catalog().drafts_for("big")[0] == "odd"
    assert names(choose_files("big")) == ("big", ["small"])
    assert "not drafting with odd.gguf: the draft is an embedding model" in caplog.text


def test_auto_for_a_file_takes_none(tiny_model: Path):
    assert names(choose_files(str(tiny_model))) == ("tiny", [])


@pytest.mark.parametrize("word", ["none", "ngram"])
def test_drafting_without_a_model_loads_none(catalogue: None, word: str):
    assert names(choose_files("near-pair", [word])) == ("big", [])


def test_drafts_are_names_or_files_each_taken_once(catalogue: None, tiny_draft: Path, tiny_bpe: Path):
    drafts = [str(tiny_bpe), "auto", "small", str(tiny_bpe)]
    assert names(choose_files("near-pair", drafts)) == ("big", ["tiny-bpe", "small"])


def test_two_drafts_of_one_name_are_refused(tiny_model: Path, tiny_draft: Path, tmp_path: Path):
    other = tmp_path / tiny_draft.name
    other.write_bytes(tiny_draft.read_bytes())
    with pytest.raises(UsageError) as caught:
        choose_files(str(tiny_model), [str(tiny_draft), str(other)])
    assert caught.value.message == "two drafts are called 'tiny-draft'"


def test_a_draft_that_is_not_a_model_is_refused_by_its_header(tiny_model: Path, tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="broken"):
        choose_files(str(tiny_model), [str(broken)])
