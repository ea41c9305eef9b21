"""What is saved of a search: files that load, entries that the catalogue reads, and nothing of the user's own lost."""

import errno
from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, DiskSpaceError
from edgespec.paths import tuned_dir, user_catalog_file
from edgespec.session.choice import choose_files
from edgespec.session.fast_draft import SHORTLIST_EXTRA_KEY, SHORTLIST_KEY
from edgespec.tune.outcome import Candidate, conclude, load_outcome
from edgespec.tune.save_pair import remove_pair, save_pair, save_result
from edgespec.tune.variants import (
    PUBLISHED,
    DraftVariant,
    PairVariant,
    ShortlistSettings,
    TargetVariant,
)
from quant.gguf.recipe import read_recipe

OWN = '# my models\ndefault = "smollm2-135m"\n\n[models.mine]\npath = "mine.gguf" # here\n'


@pytest.fixture
def target(tiny_model: Path) -> ModelFile:
    return open_file("tiny", tiny_model)


def _published(target: ModelFile, draft: Path | None = None) -> PairVariant:
    return PairVariant(TargetVariant(PUBLISHED, target.path), _draft(draft) if draft else None)


def _rewritten(file: Path, draft: Path | None = None) -> PairVariant:
    """The target in another type: here, some other file."""
    return PairVariant(TargetVariant("Q4_0", file), _draft(draft) if draft else None)


def _draft(path: Path) -> DraftVariant:
    shortlist = ShortlistSettings(64, (200, 210))
    return DraftVariant("draft, 64 words", "draft", path, "shortlist", False, shortlist, (1,))


def _own_catalog() -> None:
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(OWN)


def test_a_pair_is_saved_beside_what_the_user_wrote(target: ModelFile, tiny_draft: Path):
    _own_catalog()
    pair = save_pair(target, _published(target, tiny_draft), "why")
    assert user_catalog_file().read_text().startswith(OWN)
    catalog = load_catalog()
    assert catalog.pairs["tiny-tuned"].drafts == ("tiny-draft",)
    # By the pair's name, and by the target's through auto.
    for name in (pair, "tiny"):
        files = choose_files(name, offline=True)
        assert files.target.path == target.path.resolve()
        assert [draft.path.parent for draft in files.drafts] == [tuned_dir() / "tiny-tuned"]
    fields = read_metadata(files.drafts[0].path).fields
    assert (fields[SHORTLIST_KEY], fields[SHORTLIST_EXTRA_KEY]) == (64, [200, 210])
    assert read_recipe(files.drafts[0].meta)["steps"][-1]["words"] == 64


def test_a_catalogue_that_begins_with_a_byte_order_mark_is_added_to(target: ModelFile, tiny_draft: Path):
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(OWN, encoding="utf-8-sig")
    save_pair(target, _published(target, tiny_draft), "why")
    assert "tiny-tuned" in load_catalog().pairs


def test_a_target_that_the_catalogue_knows_keeps_its_own_entry(target: ModelFile, tiny_draft: Path):
    entry = f'[models.tiny]\npath = "{target.path.as_posix()}" # mine\n'
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(entry)
    save_pair(target, _published(target, tiny_draft), "why")
    assert entry in user_catalog_file().read_text()
    assert load_catalog().pairs["tiny-tuned"].target == "tiny"


def test_a_rewritten_target_is_another_model(target: ModelFile, tiny_draft: Path):
    pair = save_pair(target, _rewritten(tiny_draft), "n-grams on a rewritten target")
    files = choose_files(pair, offline=True)
    assert files.target.name == "tiny-q4_0"
    assert files.target.path.read_bytes() == tiny_draft.read_bytes()
    assert files.drafts == []
    assert load_catalog().pairs[pair].drafts == ("ngram",)


def test_a_second_search_replaces_what_the_first_one_saved(target: ModelFile, tiny_draft: Path):
    save_pair(target, _published(target, tiny_draft), "first")
    save_pair(target, _published(target), "second")
    pair = load_catalog().pairs["tiny-tuned"]
    assert (pair.drafts, pair.description) == (("ngram",), "second")


def test_a_search_that_finds_nothing_takes_the_old_pair_away(target: ModelFile, tiny_draft: Path):
    _own_catalog()
    save_pair(target, _rewritten(tiny_draft, tiny_draft), "why")
    remove_pair("tiny")
    catalog = load_catalog()
    assert "tiny-tuned" not in catalog.pairs
    assert not {"tiny-draft", "tiny-q4_0"} & set(catalog.models)
    assert not (tuned_dir() / "tiny-tuned").exists()
    assert "mine" in catalog.models


def test_a_search_that_is_worth_nothing_more_takes_the_pair_of_the_one_before_away(
    target: ModelFile, tiny_draft: Path
):
    plain = Candidate("as published", "none", None, None, 20.0, 1.0, 20.0, 1.0, 0.0, 1.0)
    fast = Candidate("as published", "draft, 64 words", 0.7, 0.2, 30.0, 1.5, 30.0, 1.5, 0.0, 1.2)
    proof = ["chat-3", "code-3"]
    won, lost = (conclude("tiny", found, 60.0, 600.0, proof) for found in ([fast, plain], [plain]))
    assert save_result(target, won, _published(target, tiny_draft)).pair == "tiny-tuned"
    proved = f"{fast.label}; proved on 2 prompts that the search never saw"
    assert load_catalog().pairs["tiny-tuned"].description == proved
    assert load_catalog().models["tiny-draft"].description == f"made by edgespec tune: {proved}"
    assert save_result(target, lost, _published(target)).pair == ""
    assert "tiny-tuned" not in load_catalog().pairs
    assert load_outcome("tiny") == lost


def test_where_nothing_was_saved_there_is_nothing_to_take_away(target: ModelFile):
    _own_catalog()
    remove_pair(target.name)
    assert user_catalog_file().read_text() == OWN


@pytest.mark.parametrize("text", ["[models\n", "\x00"])
def test_a_catalogue_that_is_not_toml_stays_as_it_is(target: ModelFile, tiny_draft: Path, text: str):
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(text)
    with pytest.raises(ConfigError, match=r"models\.toml"):
        save_pair(target, _published(target, tiny_draft), "why")
    with pytest.raises(ConfigError, match=r"models\.toml"):
        remove_pair("tiny")
    assert user_catalog_file().read_text() == text


@pytest.mark.parametrize("step", ["shutil.copyfile", "edgespec.tune.save_pair.write_draft"])
def test_a_full_disk_costs_the_pair_and_not_the_users_catalogue(
    target: ModelFile, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _own_catalog()
    monkeypatch.setattr(step, full)
    with pytest.raises(DiskSpaceError, match="No space left on device"):
        save_pair(target, _rewritten(tiny_draft, tiny_draft), "why")
    assert user_catalog_file().read_text() == OWN
    assert not list(tuned_dir().rglob(".*"))
