"""`edgespec bench --throughput` on tiny models: curves, resuming, refusals, and the pruned versions that it makes."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.sweep import point_runner, variant
from edgespec.bench.sweep.point_runner import PointRunner
from edgespec.catalog.memory import MemoryEstimate
from edgespec.catalog.metadata import read_metadata
from edgespec.llama.model import Model
from edgespec.paths import derived_models_dir, results_dir
from tests.conftest import Outcome, RunCli
from tests.session.single_thread import one_thread
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

__all__ = ["one_thread"]
SMALL = ("--shape", "12x8,20x8", "--batch", "1,3", "-r", "2", "--warmup", "1")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("throughput")
    return make_tiny_model(folder / "deep.gguf", blocks=10, chat_template=CHAT_TEMPLATE)


@pytest.fixture
def sweep(run_cli: RunCli) -> RunCli:
    def run(*arguments: str | Path) -> Outcome:
        return run_cli("bench", *arguments, "--throughput", *SMALL)

    return run


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C comes in the batch after so many."""
    run, done = PointRunner.run, []

    def counted(runner: PointRunner, *arguments: Any, **more: Any) -> Any:
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return run(runner, *arguments, **more)

    monkeypatch.setattr(PointRunner, "run", counted)


def test_two_models_are_compared_at_every_point(sweep: RunCli, tiny_model: Path, deep: Path):
    result = sweep(tiny_model, deep, "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert [curve["name"] for curve in document["curves"]] == ["tiny", "deep"]
    assert all(curve["quality"]["perplexity"] > 1 for curve in document["curves"])
    assert document["curves"][1]["quality"]["kl_mean"] > 0
    assert len(document["points"]) == 2 * 2 * 2
    for point in document["points"]:
        assert len(point["runs"]) == 2
        assert point["tok_per_s"] > 0
        latencies = [run["latency_s"] for run in point["runs"]]
        assert point["latency_s"] == pytest.approx(sum(latencies) / 2)
        assert all(0 < run["prompt_s"] < run["latency_s"] for run in point["runs"])
    assert [path.stem for path in results_dir().iterdir()] == [document["run_id"]]


def test_pruned_versions_are_made_once_and_kept(sweep: RunCli, deep: Path):
    first = sweep(deep, "--prune", "depth,flap,llm-pruner", "--ratio", "0.2", "--json")
    assert first.err == ""
    assert first.code == 0
    document = json.loads(first.out)
    assert [(c["name"], c["method"]) for c in document["curves"]] == [
        ("dense", "dense"),
        ("depth", "depth"),
        ("flap", "flap"),
        ("llm-pruner", "llm-pruner"),
    ]
    assert document["curves"][1]["removed_share"] == pytest.approx(0.2)
    made = {path.name: path.stat().st_mtime_ns for path in derived_models_dir().glob("*.gguf")}
    assert len(made) == 3
    blocks = sorted(read_metadata(derived_models_dir() / name).block_count or 0 for name in made)
    assert blocks == [8, 10, 10]
    again = sweep(deep, "--prune", "flap", "--ratio", "0.2", "--json")
    assert again.code == 0
    assert {path.name: path.stat().st_mtime_ns for path in derived_models_dir().glob("*.gguf")} == made


def test_a_draft_is_one_more_curve_and_each_file_is_loaded_once(
    sweep: RunCli, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[Path] = []
    monkeypatch.setattr(
        point_runner, "Model", lambda path, *rest: (loaded.append(path), Model(path, *rest))[1]
    )
    result = sweep(tiny_model, "--draft", tiny_draft, "--draft-type", "as-is", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert [(c["name"], c["draft"]) for c in document["curves"]] == [
        ("dense", None),
        ("with tiny-draft", "tiny-draft"),
    ]
    assert loaded == [tiny_model, tiny_draft]


def test_a_stopped_sweep_goes_on_with_resume(
    sweep: RunCli, tiny_model: Path, deep: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        interrupt(patch, after=5)
        stopped = sweep(tiny_model, deep, "--json")
    assert stopped.code == 130
    run_id = json.loads(stopped.out)["run_id"]
    assert stopped.err == (
        f"edgespec: interrupted; the measured points are kept as {run_id}, and the same command with --resume goes on from there\n"
    )
    done: list[Any] = []
    run = PointRunner.run
    monkeypatch.setattr(
        PointRunner, "run", lambda runner, *rest, **more: (done.append(rest), run(runner, *rest, **more))[1]
    )
    result = sweep(tiny_model, deep, "--resume", "--json")
    document = json.loads(result.out)
    assert (result.code, document["run_id"], document["complete"]) == (0, run_id, True)
    assert len(done) == 16 - 5


def test_an_early_ctrl_c_keeps_nothing(sweep: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    interrupt(monkeypatch, after=0)
    result = sweep(tiny_model)
    assert (result.code, result.out) == (130, "")
    assert "interrupted before the first point was measured; nothing kept" in result.err
    assert not results_dir().exists()


def test_the_table_and_what_results_makes_of_it(
    sweep: RunCli, run_cli: RunCli, tiny_model: Path, tmp_path: Path
):
    shown = sweep(tiny_model, "--plot", tmp_path / "plot.png")
    assert (shown.code, shown.err) == (0, f"plot: {tmp_path / 'plot.png'}\n")
    assert "12x8: 12 tokens in, 8 out" in shown.out
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    again = run_cli("results", "show")
    assert again.out == shown.out
    listed = run_cli("results", "list")
    assert "throughput" in listed.out
    refused = run_cli("results", "compare", "latest", "latest")
    assert refused.code == 2
    assert "is a throughput sweep" in refused.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--throughput", "--shape", "12"], "--shape '12' is not a shape"),
        (["--throughput", "--batch", "0"], "--batch '0' is not a batch size"),
        (["--throughput", "--budget", "soon"], "--budget 'soon' is not a length of time"),
        (["--throughput", "--prune", "width"], "--prune 'width' is not a method"),
        (["--throughput", "--ratio", "0.3"], "--ratio goes with --prune"),
        (["--throughput", "--limit", "1"], "--limit does not go with --throughput"),
        (["--throughput", "--category", "chat"], "--category does not go with --throughput"),
        (["--throughput", "--resume"], "there is no earlier sweep of these models"),
        (["--throughput", "--draft", "auto"], "there is no pair of that name"),
        (["--throughput", "--plot", "plot.txt"], "a plot is a .png or a .svg file"),
        (["--batch", "2"], "--batch goes with --throughput"),
        (["--resume"], "--resume goes with --throughput"),
        (["{again}"], "2 targets are too many"),
        (["{again}", "--throughput", "--prune", "flap"], "--prune makes versions of one model"),
        (["{again}", "--throughput"], "two curves are called 'tiny'"),
    ],
)
def test_refusals_are_one_line(run_cli: RunCli, tiny_model: Path, arguments: list[str], words: str):
    named = [str(tiny_model) if argument == "{again}" else argument for argument in arguments]
    result = run_cli("bench", tiny_model, *named)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert len(result.err.splitlines()) <= 2
    assert not results_dir().exists()


def test_a_draft_of_another_vocabulary_is_refused(sweep: RunCli, tiny_model: Path, tiny_bpe: Path):
    result = sweep(tiny_model, "--draft", tiny_bpe)
    assert (result.code, result.out) == (2, "")
    assert "has another vocabulary than tiny" in result.err


def test_weights_that_do_not_fit_are_known_before_anything_is_loaded(
    sweep: RunCli, tiny_model: Path, deep: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(variant, "estimate_memory", lambda *_, **__: MemoryEstimate(1 << 50, 0, 0, 0))
    monkeypatch.setattr(point_runner, "Model", lambda *_: pytest.fail("loaded"))
    result = sweep(tiny_model, deep)
    assert (result.code, result.out) == (4, "")
    assert "tiny and deep would take" in result.err
