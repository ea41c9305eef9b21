"""Which models a plan is about: files that are here, sketches of those that are not, and drafts for a target."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import IncompatibleDraftError, ModelFileError, ModelMissingError, UsageError
from edgespec.paths import user_catalog_file
from edgespec.plan.models import plan_model, plan_pair
from tests.catalog.gguf_files import write_gguf
from tests.tiny import make_tiny_model

SHAPE = "{ blocks = 2, embedding = 256, feed_forward = 512, heads = 4, kv_heads = 2, vocab = 1000 }"


def write_catalog(text: str) -> None:
    user_catalog_file().parent.mkdir(parents=True, exist_ok=True)
    user_catalog_file().write_text(text, encoding="utf-8")


def entry(name: str, *, shape: str = SHAPE) -> str:
    shape_line = f"shape = {shape}\n" if shape else ""
    return f'[models."{name}"]\nrepo = "a/b"\nfile = "{name}-Q8_0.gguf"\n{shape_line}'


def test_a_file_is_planned_by_its_header(tiny_model: Path) -> None:
    model = plan_model(str(tiny_model), load_catalog())
    assert model.is_here
    assert (model.name, model.quantization) == ("tiny", "F32")
    assert model.meta.tensors == read_metadata(tiny_model).tensors


def test_a_name_whose_file_is_here_is_planned_by_its_header(tiny_model: Path) -> None:
    write_catalog(f'[models.mine]\npath = "{tiny_model.as_posix()}"\n')
    model = plan_model("mine", load_catalog())
    assert (model.name, model.is_here) == ("mine", True)
    assert model.meta.path == tiny_model


def test_a_name_whose_file_is_not_here_is_planned_by_its_dimensions() -> None:
    model = plan_model("llama-3.1-70b", load_catalog())
    assert not model.is_here
    assert model.quantization == "Q4_K_M"
    assert model.meta.block_count == 80
    assert model.meta.parameter_count == pytest.approx(70.6e9, rel=0.01)


def test_a_model_that_is_neither_here_nor_known_is_missing(tmp_path: Path) -> None:
    catalog = load_catalog()
    with pytest.raises(ModelMissingError, match=r"llama-3\.1-7b"):
        plan_model("llama-3.1-7b", catalog)
    with pytest.raises(ModelMissingError, match="does not exist"):
        plan_model(str(tmp_path / "none.gguf"), catalog)


def test_a_file_of_the_users_own_that_is_gone_is_missing_and_not_sketched(tmp_path: Path) -> None:
    write_catalog(f'[models.mine]\npath = "{(tmp_path / "gone-Q8_0.gguf").as_posix()}"\nshape = {SHAPE}\n')
    with pytest.raises(ModelMissingError, match=r"gone-Q8_0\.gguf does not exist"):
        plan_model("mine", load_catalog())


def test_a_damaged_file_is_not_planned(tmp_path: Path) -> None:
    path = tmp_path / "half.gguf"
    path.write_bytes(b"GGUF\x03")
    with pytest.raises(ModelFileError, match=r"half\.gguf"):
        plan_model(str(path), load_catalog())


def test_a_model_without_dimensions_names_those_that_have_some() -> None:
    write_catalog(entry("mine", shape=""))
    with pytest.raises(UsageError, match="mine is not on this machine") as caught:
        plan_model("mine", load_catalog())
    assert "[models.mine.shape]" in caught.value.hint


def test_a_name_with_a_dot_is_quoted_as_toml_wants_it() -> None:
    write_catalog(entry("mine2.5", shape=""))
    with pytest.raises(UsageError) as caught:
        plan_model("mine2.5", load_catalog())
    assert '[models."mine2.5".shape]' in caught.value.hint


def test_a_model_of_the_hub_that_is_not_here_has_to_be_fetched() -> None:
    with pytest.raises(UsageError) as caught:
        plan_model("owner/repo:Q4_K_M", load_catalog())
    assert caught.value.hint.startswith("run `edgespec models pull owner/repo:Q4_K_M`, or plan ")


def test_a_name_that_does_not_tell_the_quantization_is_refused() -> None:
    write_catalog(entry("mine").replace("mine-Q8_0.gguf", "mine-of-my-own.gguf"))
    with pytest.raises(UsageError, match=r"mine-of-my-own\.gguf does not tell the types") as caught:
        plan_model("mine", load_catalog())
    assert "Q4_K_M" in caught.value.hint


def test_a_pair_of_the_catalogue_is_its_target_with_its_drafts() -> None:
    pair = plan_pair("llama-3.1-70b-pair", [], load_catalog(), 4096)
    assert pair.target.name == "llama-3.1-70b"
    assert [draft.name for draft in pair.drafts] == ["llama-3.2-1b", "llama-3.1-8b"]


def test_a_pair_that_drafts_from_the_text_alone_has_no_model_to_plan() -> None:
    write_catalog(entry("mine") + '[pairs.ours]\ntarget = "mine"\ndrafts = ["ngram"]\n')
    pair = plan_pair("ours", [], load_catalog(), 4096)
    assert (pair.target.name, pair.drafts) == ("mine", ())


def test_a_target_takes_the_drafts_that_the_catalogue_pairs_with_it() -> None:
    pair = plan_pair("llama-3.1-405b", [], load_catalog(), 4096)
    assert {draft.name for draft in pair.drafts} == {"llama-3.2-1b", "llama-3.1-8b"}


def test_named_drafts_replace_those_of_the_catalogue_and_count_once() -> None:
    pair = plan_pair("llama-3.1-70b-pair", ["llama-3.1-8b", "llama-3.1-8b"], load_catalog(), 4096)
    assert [draft.name for draft in pair.drafts] == ["llama-3.1-8b"]


def test_without_any_a_target_on_disk_takes_smaller_models_beside_it(tmp_path: Path) -> None:
    target = make_tiny_model(tmp_path / "target.gguf", blocks=2)
    make_tiny_model(tmp_path / "small.gguf", blocks=1)
    make_tiny_model(tmp_path / "large.gguf", blocks=4)
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF")
    pair = plan_pair(str(target), [], load_catalog(), 512)
    assert [Path(draft.meta.path).name for draft in pair.drafts] == ["small.gguf"]
    assert pair.drafts[0].is_here


def test_a_draft_of_the_catalogue_that_cannot_serve_is_left_out_and_a_named_one_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    odd = write_gguf(tmp_path / "odd.gguf", pooling=3)
    write_catalog(
        f"[models.mine]\npath = '{tiny_model}'\n[models.odd]\npath = '{odd}'\n{entry('absent')}"
        '[pairs.ours]\ntarget = "mine"\ndrafts = ["odd", "absent"]\n'
    )
    pair = plan_pair("ours", [], load_catalog(), 4096)
    assert [draft.name for draft in pair.drafts] == ["absent"]
    with pytest.raises(IncompatibleDraftError, match="odd cannot draft for mine"):
        plan_pair("ours", ["odd"], load_catalog(), 4096)


def test_a_target_that_is_not_here_and_pairs_with_nothing_has_no_drafts() -> None:
    write_catalog(entry("mine"))
    assert plan_pair("mine", [], load_catalog(), 4096).drafts == ()


def test_a_draft_that_nobody_knows_is_missing() -> None:
    with pytest.raises(ModelMissingError, match="llama-9b"):
        plan_pair("llama-3.1-70b", ["llama-9b"], load_catalog(), 4096)
