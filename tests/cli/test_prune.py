"""`edgespec prune`: a smaller model that loads, says how it was made, and is repaired."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.paths import derived_models_dir
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.sizes import block_parameters
from quant.gguf.tensor_sources import ComputedTensor
from quant.gguf.tensors import find_tensor, replace_tensors
from quant.gguf.writer import write_gguf
from tests.conftest import REPOSITORY, Outcome, RunCli
from tests.quant.architectures import recast
from tests.quant.split import split_in_two
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model
from tests.tiny_memories import make_tiny_memory


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(
        tmp_path_factory.mktemp("prune") / "deep.gguf", blocks=6, chat_template=CHAT_TEMPLATE
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("The heron stood in the reeds and waited for the tide to turn in the north. " * 60)
    return path


@pytest.fixture
def prune(run_cli: RunCli, deep: Path, text: Path, tmp_path: Path) -> RunCli:
    def run(*arguments: str | Path) -> Outcome:
        common = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf")
        return run_cli("prune", deep, *common, *arguments)

    return run


@pytest.mark.parametrize("criterion", ["window", "ppl", "kl", "greedy", "bi", "angular", "taylor"])
def test_every_criterion_writes_a_model_that_names_what_it_removed(
    prune: RunCli, tmp_path: Path, criterion: str
):
    spare = ("--protect-first", "1", "--protect-last", "1") if criterion == "taylor" else ()
    result = prune("--blocks", "2", "--criterion", criterion, "--json", *spare)
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    meta = read_metadata(tmp_path / "out.gguf")
    assert meta.block_count == 4
    assert (document["schema"], document["n_blocks"]) == ("edgespec.prune/1", 4)
    assert document["n_params"] == meta.parameter_count < document["n_params_before"]
    assert document["size_bytes"] == meta.file_bytes
    recipe = read_recipe(meta)
    assert recipe is not None
    assert recipe["steps"][-1]["removed_blocks"] == document["removed_blocks"]
    assert recipe["steps"][-1]["criterion"] == criterion
    if criterion in ("window", "angular"):
        first = document["removed_blocks"][0]
        assert document["removed_blocks"] == [first, first + 1]


@pytest.mark.model
def test_a_repair_lowers_the_loss_on_text_it_has_not_seen(run_cli: RunCli, smollm2: Path, tmp_path: Path):
    text = tmp_path / "text.md"
    text.write_text("\n".join(path.read_text() for path in sorted((REPOSITORY / "docs").glob("*.md"))))
    cut = ("--blocks", "4", "--criterion", "magnitude", "--protect-first", "12", "--protect-last", "14")
    result = run_cli(
        "prune",
        smollm2,
        *cut,
        "--calibration",
        text,
        "--calibration-tokens",
        "3072",
        "-o",
        tmp_path / "a",
        "--json",
    )
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["removed_blocks"] == [12, 13, 14, 15]
    held_out = document["held_out"]
    assert held_out["dense_nll"] < held_out["cut_nll"]
    # It may even pass the dense model: the fit learns a little of the style of what it reads.
    assert held_out["repaired_nll"] < held_out["cut_nll"]


def test_a_repair_that_does_not_help_is_left_out(run_cli: RunCli, deep: Path, text: Path, tmp_path: Path):
    """Blocks that add nothing leave nothing to repair."""
    dense, repaired, plain = (tmp_path / f"{name}.gguf" for name in ("dense", "repaired", "plain"))
    write_gguf(with_silent_blocks(copy_of(read_metadata(deep)), (2, 3)), dense)
    cut = (
        "prune",
        dense,
        "--remove",
        "2-3",
        "--calibration",
        text,
        "--calibration-tokens",
        "2048",
        "--json",
        "-o",
    )
    held_out = json.loads(run_cli(*cut, repaired).out)["held_out"]
    assert held_out["repaired_kl"] == held_out["cut_kl"] == pytest.approx(0, abs=1e-6)
    recipe = read_recipe(read_metadata(repaired))
    assert recipe is not None
    assert "did not help" in recipe["steps"][-1]["repair"]
    assert json.loads(run_cli(*cut, plain, "--no-repair").out)["held_out"] is None
    assert weights_of(plain) == weights_of(repaired)


def with_silent_blocks(plan: GgufPlan, blocks: tuple[int, ...]) -> GgufPlan:
    silent = {}
    for name in (f"blk.{block}.{part}.weight" for block in blocks for part in ("attn_output", "ffn_down")):
        tensor = find_tensor(plan, name)
        assert tensor is not None
        silent[name] = replace(tensor, source=ComputedTensor(partial(np.zeros, tensor.n_bytes, np.uint8)))
    return replace_tensors(plan, silent)


def weights_of(path: Path) -> bytes:
    return path.read_bytes()[read_metadata(path).data_offset :]


def test_blocks_can_be_named(run_cli: RunCli, deep: Path, tmp_path: Path):
    """No text is read, none is needed."""
    arguments = ("--remove", "1,3-4", "--no-repair", "-o", tmp_path / "out.gguf", "--json")
    result = run_cli("prune", deep, *arguments)
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["removed_blocks"] == [1, 3, 4]
    recipe = read_recipe(read_metadata(tmp_path / "out.gguf"))
    assert recipe is not None
    step = recipe["steps"][0]
    assert step["criterion"] == "chosen by hand"
    assert step.keys().isdisjoint({"calibration", "calibration_tokens"})


def test_a_short_text_is_read_as_far_as_it_goes_and_the_recipe_says_how_far(
    run_cli: RunCli, deep: Path, tmp_path: Path
):
    short, out = tmp_path / "short.txt", tmp_path / "out.gguf"
    short.write_text("The heron stood in the reeds. " * 60)
    arguments = ("--blocks", "1", "--calibration", short, "--no-repair", "-o", out)
    result = run_cli("prune", deep, *arguments)
    assert result.code == 0
    n_windows = re.search(r"(\d+) windows of 512 are read in place of 32", result.err)
    assert n_windows is not None
    recipe = read_recipe(read_metadata(out))
    assert recipe is not None
    assert recipe["steps"][0]["calibration_tokens"] == 512 * int(n_windows[1])


def test_without_repair_the_kept_tensors_are_copied(prune: RunCli, deep: Path, tmp_path: Path):
    result = prune(
        "--blocks",
        "1",
        "--criterion",
        "magnitude",
        "--no-repair",
        "--protect-first",
        "2",
        "--protect-last",
        "3",
    )
    assert result.code == 0, result.err
    dense, pruned = read_metadata(deep), read_metadata(tmp_path / "out.gguf")

    def data(meta: object, name: str) -> bytes:
        tensor = next(t for t in meta.tensors if t.name == name)  # type: ignore[attr-defined]
        raw: bytes = meta.path.read_bytes()[meta.data_offset + tensor.offset :][: tensor.n_bytes]  # type: ignore[attr-defined]
        return raw

    for old, new in ((1, 1), (3, 2), (5, 4)):
        assert data(dense, f"blk.{old}.ffn_down.weight") == data(pruned, f"blk.{new}.ffn_down.weight")


def test_what_only_copies_does_without_numpy(deep: Path, tmp_path: Path):
    """It is a fifth of the memory, and a good part of the time, of such a run."""
    command = ("prune", deep, "--remove", "1-2", "--no-repair", "-o", tmp_path / "out.gguf")
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgespec", *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read_metadata(tmp_path / "out.gguf").block_count == 4
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "quant.prune.prune" in imported
    assert "numpy" not in imported


def test_the_models_own_answers_are_made_once(
    run_cli: RunCli, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = ("prune", deep, "--blocks", "2", "--criterion", "bi", "--calibration-tokens", "1024")
    assert run_cli(*arguments, "-o", tmp_path / "a.gguf").code == 0

    (answers,) = derived_models_dir().iterdir()
    made = answers.stat().st_mtime_ns
    monkeypatch.setattr("quant.text.answers._answer", lambda *_: pytest.fail("there were answers enough"))
    assert run_cli(*arguments, "-o", tmp_path / "b.gguf").code == 0
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert [path.name for path in derived_models_dir().iterdir()] == [answers.name]
    assert answers.stat().st_mtime_ns == made


def test_a_dry_run_writes_nothing(prune: RunCli, tmp_path: Path):
    result = prune("--ratio", "0.5", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert "removes:     3 of 6 blocks, 50.0% of the weights in the blocks" in result.out
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ratio", "0.99"), "a ratio of 0.99 would remove 6 of 6 blocks"),
        (("--ratio", "0"), "would remove 0% of the weights"),
        (("--blocks", "6"), "6 blocks would remove 6 of 6"),
        (("--params", "many"), "'many' is not a number of parameters"),
        (("--params", "1B"), "1.00B parameters would remove -"),
        (("--blocks", "2", "--ratio", "0.2"), "say the same thing"),
        (("--blocks", "4", "--protect-first", "3"), "that leaves 3"),
        (("--blocks", "2", "--structure", "uniform"), "It goes with flap and llm-pruner"),
        (("--method", "flap", "--criterion", "kl"), "--criterion does not apply to --method flap"),
        (("--method", "flap", "--narrow", "0.1"), "It goes with depth"),
        (("--blocks", "2", "--narrow", "0.9"), "--narrow 0.9 is more than the blocks that are left have"),
        (("--method", "flap", "--drop-attention", "1"), "It goes with depth"),
        (("--blocks", "0"), "--blocks 0 removes nothing. It goes with --narrow or --drop-attention"),
        (("--blocks", "2", "--drop-attention", "4"), "is more than the 4 blocks that are left can lose"),
        (("--method", "flap", "--importance", "second"), "It goes with llm-pruner"),
        (("--method", "flap", "--kv-groups", "12"), "12 KV groups cannot leave"),
        (("--remove", "1-x"), "'1-x' is not a list of blocks"),
        (("--remove", "4-6"), "there is no block 6 in a model of 6"),
        (("--remove", "4", "--blocks", "1"), "say the same thing"),
        (("--blocks", "2", "--quantize", "Q4_9"), "'Q4_9' is not a type"),
        (("--blocks", "2", "-o", "no/such/folder/out.gguf"), "there is no folder"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    prune: RunCli, tmp_path: Path, arguments: tuple[str, ...], words: str
):
    result = prune(*arguments)
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("structure", ["adaptive", "uniform"])
@pytest.mark.parametrize("repair", ["--repair", "--no-repair"])
def test_flap_writes_smaller_blocks_that_load(
    prune: RunCli, tmp_path: Path, deep: Path, structure: str, repair: str
):
    result = prune("--method", "flap", "--ratio", "0.3", "--structure", structure, repair, "--json")
    assert (result.code, result.err) == (0, "")
    document, meta = json.loads(result.out), read_metadata(tmp_path / "out.gguf")
    assert meta.architecture == document["architecture"]
    assert meta.block_count == 6
    assert document["n_params"] == meta.parameter_count
    recipe = read_recipe(meta)
    assert recipe is not None
    assert recipe["steps"][-1]["neurons"] == [neurons for _, neurons in document["widths"]]
    if structure == "uniform":
        assert meta.fields["llama.feed_forward_length"] == document["widths"][0][1]
    before = read_metadata(deep).parameter_count
    assert 0.15 < (before - meta.parameter_count) / (before - 300 * 64) < 0.45


@pytest.mark.parametrize("repair", ["--repair", "--no-repair"])
def test_llm_pruner_spares_the_ends(run_cli: RunCli, text: Path, tmp_path: Path, repair: str):
    dense = make_tiny_model(tmp_path / "ten.gguf", blocks=10)
    arguments = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf", "--json")
    result = run_cli("prune", dense, "--method", "llm-pruner", "--ratio", "0.15", repair, *arguments)
    assert (result.code, result.err) == (0, "")
    document, meta = json.loads(result.out), read_metadata(tmp_path / "out.gguf")
    assert meta.architecture == "deci"
    assert document["n_params"] == meta.parameter_count < document["n_params_before"]
    whole = [2, 128]
    assert [width == whole for width in document["widths"]] == [True] * 4 + [False] * 4 + [True] * 2
    too_much = run_cli("prune", dense, "--method", "llm-pruner", "--ratio", "0.5", *arguments, "--force")
    assert too_much.code == 2
    assert "cannot be taken from 4 of 10 blocks" in too_much.err


@pytest.mark.parametrize("importance", ["element", "vector", "second", "mixed"])
@pytest.mark.parametrize("structure", ["uniform", "adaptive"])
def test_llm_pruners_variants(run_cli: RunCli, text: Path, tmp_path: Path, importance: str, structure: str):
    dense = make_tiny_model(tmp_path / "ten.gguf", blocks=10)
    choice = ("--importance", importance, "--structure", structure, "--no-repair", "--protect-last", "1")
    arguments = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf", "--json")
    result = run_cli("prune", dense, "--method", "llm-pruner", "--ratio", "0.15", *choice, *arguments)
    assert (result.code, result.err) == (0, "")
    widths = json.loads(result.out)["widths"]
    assert widths[:4] + widths[-1:] == [[2, 128]] * 5
    assert min(neurons for _, neurons in widths) < 128
    assert (len({tuple(width) for width in widths[4:-1]}) == 1) is (structure == "uniform")
    recipe = read_recipe(read_metadata(tmp_path / "out.gguf"))
    assert recipe is not None
    assert (recipe["steps"][0]["importance"], recipe["steps"][0]["structure"]) == (importance, structure)


@pytest.mark.parametrize("repair", ["--repair", "--no-repair"])
def test_fewer_blocks_and_fewer_neurons_leave_together(
    prune: RunCli, deep: Path, tmp_path: Path, repair: str
):
    arguments = ("--blocks", "2", "--narrow", "0.15", repair, "--json")
    planned = json.loads(prune(*arguments, "--dry-run").out)
    result = prune(*arguments)
    assert (result.code, result.err) == (0, "")
    document, meta = json.loads(result.out), read_metadata(tmp_path / "out.gguf")
    assert (len(document["removed_blocks"]), meta.block_count) == (2, 4)
    assert {groups for groups, _ in document["widths"]} == {2}
    assert document["n_params"] == meta.parameter_count == pytest.approx(planned["n_params"], rel=0.03)
    dense = read_metadata(deep)
    gone = (dense.parameter_count - meta.parameter_count) / block_parameters(dense)
    assert gone == pytest.approx(2 / 6 + 0.15, abs=0.04)


@pytest.mark.parametrize("repair", ["--repair", "--no-repair"])
def test_blocks_lose_their_attention(prune: RunCli, run_cli: RunCli, deep: Path, tmp_path: Path, repair: str):
    planned = json.loads(prune("--drop-attention", "2", "--dry-run", "--json").out)
    result = prune("--drop-attention", "2", repair, "--json")
    assert (result.code, result.err) == (0, "")
    document, meta = json.loads(result.out), read_metadata(tmp_path / "out.gguf")
    assert (document["removed_blocks"], meta.block_count, meta.architecture) == ([], 6, "deci")
    heads = meta.fields["deci.attention.head_count_kv"]
    assert sorted(heads) == [0, 0, 2, 2, 2, 2]
    assert heads[0] == 2
    silent = [number for number, count in enumerate(heads) if not count]
    names = {tensor.name for tensor in meta.tensors}
    assert not [name for name in names for number in silent if name.startswith(f"blk.{number}.attn")]
    biases = 2 * 64
    assert document["n_params"] == meta.parameter_count == planned["n_params"] + biases
    answer = run_cli("run", tmp_path / "out.gguf", "-p", "Hello", "-n", "8", "--draft", "none")
    assert answer.code == 0
    assert answer.out.strip()


def test_blocks_attention_and_neurons_leave_together(prune: RunCli, deep: Path, tmp_path: Path):
    result = prune("--blocks", "1", "--drop-attention", "1", "--narrow", "0.1")
    assert (result.code, result.err) == (0, "")
    assert "1 of 6 blocks (" in result.out
    assert ") and the attention of 1 other, " in result.out
    meta = read_metadata(tmp_path / "out.gguf")
    assert meta.block_count == 5
    assert sorted(meta.fields["deci.attention.head_count_kv"]) == [0, 2, 2, 2, 2]
    neurons = meta.fields["deci.feed_forward_length"]
    assert len(neurons) == 5
    assert sum(neurons) < 5 * 128


def test_a_model_without_some_attention_is_quantized(run_cli: RunCli, text: Path, tmp_path: Path):
    shape = TinyShape(blocks=4, embedding=256, heads=4, kv_heads=2, feed_forward=512)
    dense = make_tiny_model(tmp_path / "wide.gguf", shape=shape)
    common = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf")
    result = run_cli("prune", dense, "--drop-attention", "2", "--quantize", "q4_k_m", *common)
    assert result.code == 0, result.err
    assert "the attention of 2 blocks" in result.out
    types = {tensor.name: tensor.ggml_type for tensor in read_metadata(tmp_path / "out.gguf").tensors}
    assert types["blk.0.ffn_up.weight"] == "Q4_K"


def test_neurons_alone_leave(prune: RunCli, tmp_path: Path):
    result = prune("--method", "flap", "--ratio", "0.3", "--kv-groups", "0", "--json")
    assert (result.code, result.err) == (0, "")
    assert {groups for groups, _ in json.loads(result.out)["widths"]} == {2}


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3"])
def test_other_architectures_lose_blocks(
    prune: RunCli, run_cli: RunCli, deep: Path, tmp_path: Path, text: Path, architecture: str
):
    other = recast(deep, architecture, tmp_path / "other.gguf")
    arguments = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf", "--json")
    result = run_cli("prune", other, "--blocks", "2", *arguments)
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert (document["architecture"], document["n_blocks"]) == (architecture, 4)
    assert (document["held_out"] is None) is (architecture == "gemma3")
    assert document["calibration_tokens"] == 2048


@pytest.mark.parametrize(
    ("architecture", "arguments", "planned", "done"),
    [
        ("", ("--remove", "1-2", "--no-repair"), "as asked", "as asked; no text was read"),
        (
            "",
            ("--blocks", "2", "--criterion", "bi", "--no-repair"),
            "as asked",
            "as asked; 2048 tokens of text were read for the choice alone",
        ),
        (
            "gemma3",
            ("--blocks", "2", "--criterion", "magnitude", "--protect-first", "1", "--protect-last", "1"),
            "gemma3 cannot be refitted",
            "gemma3 cannot be refitted; no text was read",
        ),
    ],
)
def test_what_is_not_repaired_is_said_before_and_after(
    run_cli: RunCli,
    deep: Path,
    text: Path,
    tmp_path: Path,
    architecture: str,
    arguments: tuple[str, ...],
    planned: str,
    done: str,
):
    model = recast(deep, architecture, tmp_path / "other.gguf") if architecture else deep
    common = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / "out.gguf")
    dry = run_cli("prune", model, *arguments, *common, "--dry-run")
    assert dry.out.splitlines()[-1] == f"repair:      none: {planned}"
    result = run_cli("prune", model, *arguments, *common)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-2] == f"repair:      none: {done}"
    document = json.loads(run_cli("prune", model, *arguments, *common, "--force", "--json").out)
    assert (document["repaired"], document["calibration_tokens"]) == (False, 2048 if "2048" in done else 0)


def test_the_result_is_quantized_in_a_second_pass(run_cli: RunCli, text: Path, tmp_path: Path):
    shape = TinyShape(blocks=4, embedding=256, heads=4, kv_heads=2, feed_forward=512)
    dense = make_tiny_model(tmp_path / "wide.gguf", shape=shape)
    out = tmp_path / "out.gguf"
    arguments = (
        "--calibration",
        text,
        "--calibration-tokens",
        "2048",
        "--quantize",
        "q4_k_m",
        "-o",
        out,
        "--json",
    )
    planned = json.loads(run_cli("prune", dense, "--blocks", "1", *arguments, "--dry-run").out)
    assert not out.exists()
    result = run_cli("prune", dense, "--blocks", "1", *arguments)
    assert (result.code, result.err) == (0, "")
    document, meta = json.loads(result.out), read_metadata(out)
    assert document["size_bytes"] == meta.file_bytes == pytest.approx(planned["size_bytes"], rel=0.05)
    assert (meta.block_count, meta.quantization) == (3, "Q4_K_M")
    recipe = read_recipe(meta)
    assert recipe is not None
    assert [step["step"] for step in recipe["steps"]] == ["prune", "quantize"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gguf", "wide.gguf"]


def test_a_text_and_the_models_own_answers_take_turns(prune: RunCli, deep: Path, tmp_path: Path):
    result = prune("--blocks", "2", "--criterion", "bi", "--calibration", "self")
    assert (result.code, result.err) == (0, "")
    recipe = read_recipe(read_metadata(tmp_path / "out.gguf"))
    assert recipe is not None
    assert recipe["steps"][0]["calibration"] == "calibration.txt, self"


def test_a_full_disk_is_said_before_the_work(
    run_cli: RunCli, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "quant.gguf.writer.shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1000})
    )
    absent = tmp_path / "absent.txt"
    result = run_cli("prune", deep, "--blocks", "2", "--calibration", absent, "-o", tmp_path / "out.gguf")
    assert result.code == 1
    assert "needs" in result.err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(prune: RunCli, tmp_path: Path):
    (tmp_path / "out.gguf").write_text("mine")
    result = prune("--blocks", "2")
    assert result.code == 2
    assert "--force" in result.err
    assert (tmp_path / "out.gguf").read_text() == "mine"


def test_what_is_not_a_gguf_is_refused(run_cli: RunCli, tmp_path: Path):
    (tmp_path / "text.gguf").write_text("no model")
    result = run_cli("prune", tmp_path / "text.gguf", "--blocks", "1")
    assert result.code == 3
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("n_params", "n_blocks", "in_blocks", "goal", "removed"),
    [(6_738_415_616, 32, 6_476_271_616, 4.9e9, 9), (13_015_864_320, 40, 12_688_184_320, 9.5e9, 11)],
    ids=["LLaMA-7B", "Vicuna-13B"],
)
def test_published_sizes_give_the_published_number_of_blocks(
    n_params: int, n_blocks: int, in_blocks: int, goal: float, removed: int
):
    from types import SimpleNamespace

    from quant.prune.amount import Amount

    tensors = [
        SimpleNamespace(name="blk.0.all", n_elements=in_blocks),
        SimpleNamespace(name="token_embd.weight", n_elements=n_params - in_blocks),
    ]
    meta = SimpleNamespace(parameter_count=n_params, block_count=n_blocks, tensors=tensors)
    assert Amount(n_params=goal).blocks_of(meta) == removed  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["flap", "llm-pruner"])
def test_an_architecture_whose_widths_cannot_be_cut_is_refused_at_once(
    run_cli: RunCli, deep: Path, tmp_path: Path, method: str
):
    (tmp_path / "other.gguf").write_bytes(deep.read_bytes().replace(b"llama", b"gemma"))
    result = run_cli("prune", tmp_path / "other.gguf", "--method", method, "-o", tmp_path / "out.gguf")
    assert result.code == 2
    assert "gemma cannot be cut. Those that can: llama, qwen2" in result.err
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    "cut",
    [
        ("--remove", "2-3", "--no-repair"),
        ("--remove", "2-3"),
        ("--blocks", "2", "--narrow", "0.1"),
        ("--method", "flap", "--ratio", "0.2"),
        ("--method", "llm-pruner", "--ratio", "0.2", "--protect-first", "1", "--protect-last", "1"),
    ],
    ids=" ".join,
)
def test_a_split_model_is_cut_as_a_whole_one(
    run_cli: RunCli, deep: Path, text: Path, tmp_path: Path, cut: tuple[str, ...]
):
    sources = (deep, split_in_two(deep, tmp_path / "parts")[0])
    for number, source in enumerate(sources):
        common = ("--calibration", text, "--calibration-tokens", "2048", "-o", tmp_path / f"{number}.gguf")
        result = run_cli("prune", source, *common, *cut)
        assert (result.code, result.err) == (0, "")
    whole, joined = (read_metadata(tmp_path / f"{number}.gguf") for number in (0, 1))
    assert joined.tensors == whole.tensors
    assert joined.path.read_bytes()[joined.data_offset :] == whole.path.read_bytes()[whole.data_offset :]
    assert not any(key.startswith("split.") for key in joined.fields)


def test_whole_blocks_leave_a_mixture_of_experts_as_they_are(run_cli: RunCli, tmp_path: Path, text: Path):
    mixture = make_tiny_memory(tmp_path / "mixture.gguf", "experts")
    spare = ("--protect-first", "1", "--protect-last", "1")
    for choice in (["--blocks", "1", *spare], ["--remove", "1"]):
        made = tmp_path / f"{choice[0][2:]}.gguf"
        result = run_cli("prune", mixture, *choice, "--calibration", text, "-o", made)
        assert result.code == 0, result.err
        assert read_metadata(made).block_count == 3
    result = run_cli(
        "prune", mixture, "--blocks", "1", "--criterion", "taylor", *spare, "--calibration", text
    )
    assert result.code == 2
    assert "the 8 experts of mixture.gguf are not computed block by block" in result.err
