"""What is kept of a search: files that load, entries that the catalogue reads, and nothing of the user's own lost."""

import errno
from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, DiskSpaceError
from edgespec.paths import tuned_dir, user_catalog_file
from edgespec.session.choice import choose_files
from edgespec.session.fast_draft import SHORTLIST_EXTRA_KEY, SHORTLIST_KEY
from edgespec.tune.save_pair import forget_pair, keep_pair
from edgespec.tune.variants import PUBLISHED, DraftForm, TargetForm
from quant.gguf.recipe import read_recipe

OWN = '# my models\ndefault = "smollm2-135m"\n\n[models.mine]\npath = "mine.gguf" # here\n'


def _draft(path: Path) -> DraftForm:
    return DraftForm("draft, 64 words", "draft", path, "list", False, 64, (200, 210), (1,))


def test_a_pair_is_kept_beside_what_the_user_wrote(tiny_model: Path, tiny_draft: Path):
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(OWN)
    kept = keep_pair("tiny", tiny_model, TargetForm(PUBLISHED, tiny_model, None), _draft(tiny_draft), "why")
    assert user_catalog_file().read_text().startswith(OWN)
    catalog = load_catalog()
    assert catalog.pairs["tiny-tuned"].drafts == ("tiny-draft",)
    # By the pair's name, and by the target's through auto.
    for name in (kept.pair, "tiny"):
        files = choose_files(name, offline=True)
        assert files.target.path == tiny_model.resolve()
        assert [draft.path.parent for draft in files.drafts] == [tuned_dir() / "tiny-tuned"]
    fields = read_metadata(files.drafts[0].path).fields
    assert (fields[SHORTLIST_KEY], fields[SHORTLIST_EXTRA_KEY]) == (64, [200, 210])
    assert read_recipe(files.drafts[0].meta)["steps"][-1]["words"] == 64


def test_a_rewritten_target_is_another_model(tiny_model: Path, tiny_draft: Path):
    form = TargetForm("Q4_0", tiny_draft, None)
    kept = keep_pair("tiny", tiny_model, form, None, "n-grams on a rewritten target")
    files = choose_files(kept.pair, offline=True)
    assert files.target.name == "tiny-q4_0"
    assert files.target.path.read_bytes() == tiny_draft.read_bytes()
    assert files.drafts == []


def test_a_search_that_finds_nothing_takes_the_old_pair_away(tiny_model: Path, tiny_draft: Path):
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(OWN)
    keep_pair("tiny", tiny_model, TargetForm("Q4_0", tiny_draft, None), _draft(tiny_draft), "why")
    forget_pair("tiny")
    catalog = load_catalog()
    assert "tiny-tuned" not in catalog.pairs
    assert not {"tiny-draft", "tiny-q4_0"} & set(catalog.models)
    assert not (tuned_dir() / "tiny-tuned").exists()
    assert "mine" in catalog.models


def test_a_catalogue_that_is_no_toml_stays_as_it_is(tiny_model: Path, tiny_draft: Path):
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text("[models\n")
    with pytest.raises(ConfigError, match=r"models\.toml"):
        keep_pair("tiny", tiny_model, TargetForm(PUBLISHED, tiny_model, None), _draft(tiny_draft), "why")
    assert user_catalog_file().read_text() == "[models\n"


@pytest.mark.parametrize("step", ["shutil.copyfile", "edgespec.tune.save_pair.write_draft"])
def test_a_full_disk_costs_the_pair_and_not_the_users_catalogue(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text(OWN)
    monkeypatch.setattr(step, full)
    with pytest.raises(DiskSpaceError, match="No space left on device"):
        keep_pair("tiny", tiny_model, TargetForm("Q4_0", tiny_draft, None), _draft(tiny_draft), "why")
    assert user_catalog_file().read_text() == OWN
    assert not list(tuned_dir().rglob("*.part"))
