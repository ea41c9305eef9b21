"""`edgespec models` and `edgespec pair`: exact output, and what goes where."""

import json
import shutil
from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog import toml_file
from edgespec.cli.context import Settings
from tests.catalog.gguf_files import vocabulary, write_gguf

CATALOGUE = """
default = "one"
[models.one]
description = "First of two"
repo = "owner/one"
file = "one.gguf"
size_bytes = {one}
licence = "apache-2.0"
[models.two]
description = "Second"
repo = "owner/two"
file = "two.gguf"
revision = "abc"
size_bytes = 500
licence = "llama3.1"
gated = true
[models.huge]
repo = "owner/huge"
file = "huge.gguf"
size_bytes = 99999999
[pairs.both]
target = "one"
drafts = ["two"]
"""


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of three models, of which `one` is on disk."""
    target = paths.models_dir() / "one" / "one.gguf"
    target.parent.mkdir(parents=True)
    pad(write_gguf(target, rows=100), 35_021)
    shipped = tmp_path / "shipped.toml"
    shipped.write_text(CATALOGUE.format(one=target.stat().st_size), encoding="utf-8")
    monkeypatch.setattr(toml_file, "_shipped_file", lambda: shipped)
    return target


def pad(path: Path, size_bytes: int) -> Path:
    """Bytes after the last tensor are allowed; a round size makes outputs exact."""
    with path.open("r+b") as file:
        assert file.seek(0, 2) <= size_bytes
        file.truncate(size_bytes)
    return path


@pytest.mark.parametrize("arguments", [["models"], ["models", "list"]])
def test_models_are_listed(one: Path, run_cli, arguments: list[str]) -> None:
    result = run_cli(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "MODEL      SIZE  ON DISK  LICENCE           WHAT IT IS\n"
        "one    34.2 KiB  yes      apache-2.0        First of two (default)\n"
        "two       500 B  no       llama3.1 (gated)  Second\n"
        "huge   95.4 MiB  no       unknown\n"
        "\n"
        "PAIR  TARGET  DRAFTS\n"
        "both  one     two\n"
    )


def test_a_file_that_no_entry_names_is_listed_too(one: Path, run_cli) -> None:
    stray = paths.models_dir() / "stray" / "x.gguf"
    stray.parent.mkdir()
    shutil.copyfile(one, stray)
    assert f"stray  34.2 KiB  yes                        {stray}\n" in run_cli("models").out


@pytest.mark.parametrize("arguments", [["models", "--json"], ["models", "list", "--json"]])
def test_the_list_is_there_as_json(one: Path, run_cli, arguments: list[str]) -> None:
    document = json.loads(run_cli(*arguments).out)
    assert document["schema"] == "edgespec.models/1"
    assert document["default"] == "one"
    first, second, _ = document["models"]
    assert (first["on_disk"], first["origin"], first["path"]) == (True, "wheels", str(one))
    assert (second["on_disk"], second["path"], second["gated"]) == (False, None, True)
    assert document["pairs"] == [{"name": "both", "target": "one", "drafts": ["two"]}]


def test_show_tells_catalogue_and_header(one: Path, run_cli) -> None:
    result = run_cli("models", "show", "one")
    assert result.code == 0
    size = one.stat().st_size
    assert result.out == (
        "name:           one\n"
        "description:    First of two\n"
        "hub:            owner/one:one.gguf\n"
        "package index:  no\n"
        "licence:        apache-2.0\n"
        f"published size: 34.2 KiB ({size} bytes)\n"
        "sha256:         not known\n"
        f"on disk:        {one}\n"
        f"size:           34.2 KiB ({size} bytes)\n"
        "architecture:   llama, 2 blocks of 64\n"
        "parameters:     0.0 M\n"
        "quantization:   Q8_0, 20.25 bits per weight\n"
        "context:        2048 tokens\n"
        "vocabulary:     40 tokens, tokenizer gpt2\n"
        "chat template:  yes\n"
        "memory:         about 6.0 MiB with 4096 tokens of context\n"
    )


def test_show_of_what_is_not_on_disk_tells_how_to_get_it(one: Path, run_cli) -> None:
    assert run_cli("models", "show", "two").out == (
        "name:           two\n"
        "description:    Second\n"
        "hub:            owner/two@abc:two.gguf\n"
        "package index:  no\n"
        "licence:        llama3.1 (gated: accept it on the hub)\n"
        "published size: 500 B (500 bytes)\n"
        "sha256:         not known\n"
        "on disk:        no; edgespec models pull two\n"
    )


def test_show_reads_a_file_named_by_its_path(one: Path, run_cli) -> None:
    document = json.loads(run_cli("models", "show", one, "--json").out)
    assert document["catalogue"] is None
    assert document["file"]["path"] == str(one)
    assert document["file"]["params"] == 12800


def test_control_characters_of_a_file_never_reach_the_terminal(one: Path, run_cli, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "evil.gguf", architecture="x\x1b[31mred")
    out = run_cli("models", "show", path).out
    assert "\x1b" not in out
    assert "architecture:   x\\x1b[31mred, " in out


def test_path_prints_the_file_and_nothing_else(one: Path, run_cli) -> None:
    assert run_cli("models", "path", "one").out == f"{one}\n"


def test_path_of_what_is_not_here_fetches_nothing(one: Path, run_cli) -> None:
    result = run_cli("models", "path", "two")
    assert (result.code, result.out) == (3, "")
    assert result.err == "edgespec: two is not on this machine. Run `edgespec models pull two`\n"


def test_an_unknown_name_is_a_missing_model(one: Path, run_cli) -> None:
    result = run_cli("models", "path", "hug")
    assert result.code == 3
    assert result.err == (
        "edgespec: there is no model 'hug' in the catalogue and no file of that name. Did you mean huge? "
        "`edgespec models` lists all names; a path or owner/repo:Q4_K_M works too\n"
    )


def test_pull_of_what_is_here_prints_where(one: Path, run_cli) -> None:
    assert run_cli("models", "pull", "one").out == f"one: {one}\n"


def test_pull_of_a_pair_takes_the_target_and_every_draft(one: Path, run_cli) -> None:
    result = run_cli("models", "pull", "both", "--offline")
    assert result.code == 3
    assert result.out == f"one: {one}\n"
    assert result.err == (
        "edgespec: two is not on this machine, and offline mode forbids fetching it. "
        "Run `edgespec models pull two` once with a network\n"
    )


def test_rm_without_a_terminal_needs_a_yes(one: Path, run_cli) -> None:
    result = run_cli("models", "rm", "one")
    assert (result.code, result.out) == (2, "")
    assert result.err == "edgespec: removing one needs a yes, and there is nobody to ask. Say it with -y\n"
    assert one.exists()


def test_rm_with_yes_removes(one: Path, run_cli) -> None:
    assert run_cli("models", "rm", "-y", "one").out == "removed one: 34.2 KiB freed\n"
    assert not one.parent.exists()
    again = run_cli("models", "rm", "-y", "one")
    assert (again.code, again.out) == (3, "")
    assert again.err == "edgespec: nothing of one is on disk. `edgespec models` shows what is\n"


def test_rm_dry_run_removes_nothing(one: Path, run_cli) -> None:
    assert run_cli("models", "rm", "-n", "one").out == f"would remove one: 34.2 KiB, {one}\n"
    assert one.exists()


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("n\n", False)])
def test_rm_asks_a_person(one: Path, monkeypatch: pytest.MonkeyPatch, answer: str, removed: bool) -> None:
    from click.testing import CliRunner

    from edgespec.cli import models

    monkeypatch.setattr(models, "_is_terminal", lambda: True)
    result = CliRunner().invoke(models.command, ["rm", "one"], input=answer, obj=Settings())
    assert result.exit_code == 0
    assert result.stderr.startswith(f"Remove {one} (34.2 KiB)? [y/N]: ")
    assert result.stdout == ("removed one: 34.2 KiB freed\n" if removed else "")
    assert one.exists() is not removed


@pytest.mark.parametrize("name", ["..", ".", "../models", "/", "one/.."])
def test_rm_never_leaves_the_models_folder(one: Path, run_cli, name: str) -> None:
    marker = paths.models_dir().parent / "marker"
    marker.write_text("kept")
    assert run_cli("models", "rm", "-y", name).code == 3
    assert marker.exists()
    assert one.exists()


def test_rm_leaves_a_file_of_the_user_alone(one: Path, run_cli, tmp_path: Path) -> None:
    own = shutil.copyfile(one, tmp_path / "own.gguf")
    user = paths.user_catalog_file()
    user.parent.mkdir(parents=True, exist_ok=True)
    user.write_text(f"[models.mine]\npath = {str(own)!r}\n", encoding="utf-8")
    for name in (str(own), "mine"):
        result = run_cli("models", "rm", "-y", name)
        assert result.code == 3
        assert "is a file of your own" in result.err
    assert own.exists()


def test_a_mistake_in_the_users_catalogue_is_one_line(one: Path, run_cli) -> None:
    user = paths.user_catalog_file()
    user.parent.mkdir(parents=True, exist_ok=True)
    user.write_text("modles = 1\n", encoding="utf-8")
    result = run_cli("models")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"edgespec: {user} has the unknown key 'modles'. Did you mean models?\n"


def test_pair_checks_what_is_on_disk_and_does_not_guess_the_rest(one: Path, run_cli, tmp_path: Path) -> None:
    target = pad(write_gguf(tmp_path / "target.gguf", rows=500), 164_352)
    write_gguf(
        tmp_path / "mapped.gguf",
        tokens=["x", *vocabulary(40)[1:], *vocabulary(160, "u")[:30]],
        bos=3,
        add_bos=True,
    )
    write_gguf(tmp_path / "wrong.gguf", tokens=vocabulary(40, "w"))
    (tmp_path / "broken.gguf").write_bytes(b"nothing")
    result = run_cli("pair", target)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "target target: llama Q8_0, 160.5 KiB, 40 tokens in its vocabulary"
    rows = {line.split()[0]: line.split()[1] for line in lines[3:]}
    assert rows == {
        "one": "ok",
        "mapped.gguf": "mapped",
        "two": "unchecked",
        "wrong.gguf": "refused",
        "broken.gguf": "unreadable",
    }
    reasons = {line.split()[0]: line for line in lines[3:]}
    assert reasons["one"].endswith("same vocabulary (40 tokens)")
    assert reasons["two"].endswith("  not on disk")
    assert "and only 0% of the draft's 40 tokens" in reasons["wrong.gguf"]
    assert "is not a GGUF file" in reasons["broken.gguf"]


def test_pair_of_a_pair_takes_its_target_and_trusts_the_catalogue(one: Path, run_cli) -> None:
    assert run_cli("pair", "both").out == (
        "target one: llama Q8_0, 34.2 KiB, 40 tokens in its vocabulary\n"
        "\n"
        "DRAFT  VERDICT     SIZE  RATIO  MEMORY  WHY\n"
        "two    unchecked  500 B   0.01       ?  not on disk; same family by catalogue\n"
    )


def test_pair_of_a_target_that_is_not_here_says_how_to_get_it(one: Path, run_cli) -> None:
    lines = run_cli("pair", "huge").out.splitlines()
    assert lines[0] == ("target huge (not on disk; edgespec models pull huge lets drafts be checked)")
    assert "the target is not on disk, so its vocabulary is not known" in lines[3]


def test_pair_as_json_has_numbers_not_words(one: Path, run_cli, tmp_path: Path) -> None:
    target = write_gguf(tmp_path / "target.gguf", rows=500)
    document = json.loads(run_cli("pair", target, "--json", "--ctx-size", "512").out)
    assert (document["schema"], document["n_ctx"]) == ("edgespec.pair/1", 512)
    assert document["target"]["path"] == str(target)
    first = document["drafts"][0]
    assert (first["name"], first["verdict"], first["fits"]) == ("one", "ok", True)
    assert first["size_ratio"] == round(one.stat().st_size / target.stat().st_size, 4)
    assert first["memory_bytes"] > target.stat().st_size
    assert document["drafts"][-1]["memory_bytes"] is None


def test_pair_says_when_a_pair_would_not_fit(one: Path, run_cli, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("edgespec.catalog.memory.available_memory_bytes", lambda: 1024)
    target = write_gguf(tmp_path / "target.gguf", rows=500)
    assert "; the pair does not fit into the 1.0 KiB that are free" in run_cli("pair", target).out


def test_pair_proposes_no_fetching_of_a_model_that_is_larger_than_the_target(run_cli, tmp_path: Path) -> None:
    user = paths.user_catalog_file()
    user.parent.mkdir(parents=True, exist_ok=True)
    entry = "[models.{0}]\nrepo = 'o/{0}'\nfile = 'f.gguf'\nparams = {1}\n"
    user.write_text(entry.format("heavy", 7_000_000_000) + entry.format("light", 2_000), encoding="utf-8")
    target = write_gguf(tmp_path / "small.gguf", rows=10)
    names = [row["name"] for row in json.loads(run_cli("pair", target, "--json").out)["drafts"]]
    assert names == ["light"]
    names = [row["name"] for row in json.loads(run_cli("pair", "heavy", "--json").out)["drafts"]]
    assert {"light", "smollm2-135m"} <= set(names)
    assert not {"llama-3.1-70b", "vicuna-13b"} & set(names)


def test_pair_of_the_smallest_model_says_what_drafts_without_one(run_cli, tmp_path: Path) -> None:
    result = run_cli("pair", write_gguf(tmp_path / "small.gguf", rows=10))
    assert result.code == 0
    assert result.out.splitlines()[1] == (
        "no smaller model is on disk or in the catalogue; --draft ngram drafts from the text itself"
    )


def test_pair_of_a_missing_file_is_a_missing_model(one: Path, run_cli) -> None:
    result = run_cli("pair", "./none.gguf")
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "edgespec: the file none.gguf does not exist. "
        "Name a .gguf file, a name of `edgespec models`, or owner/repo:Q4_K_M\n"
    )
