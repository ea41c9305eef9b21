"""`edgespec bench --tui`: what the app is started with, and what does not go with it."""

from pathlib import Path

import pytest

from edgespec.bench.prompts import builtin_prompts, load_prompts, select
from edgespec.bench.speculative import BenchSettings
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.bench import BenchJob
from tests.conftest import RunCli
from tui.services.launch import Launch


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """How the app was started."""
    started: list[Launch] = []

    def start_app(_settings: object, launch: Launch) -> int:
        started.append(launch)
        return 0

    monkeypatch.setattr("edgespec.cli.chat.start_app", start_app)
    return started


def test_without_options_the_app_measures_what_the_command_would(
    run_cli: RunCli, launches: list[Launch]
) -> None:
    assert run_cli("bench", "--tui").code == 0
    prompts = select(builtin_prompts(), (), 1)
    assert len(prompts) == len({prompt.category for prompt in builtin_prompts()}) == 10
    job = BenchJob(None, ("auto",), prompts, BenchSettings(), EngineSettings())
    assert launches == [Launch(screen="bench", bench_job=job)]


def test_every_option_reaches_the_job_and_holds_for_the_app(
    run_cli: RunCli, launches: list[Launch], tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"category": "a", "prompt": "x"}\n{"category": "b", "prompt": "y"}\n', encoding="utf-8")
    options = ["--draft", "small", "--prompts", file, "--category", "b", "-n", "8", "-r", "2", "--seed", "7"]
    more = ["--fixed", "2,1", "-t", "1", "-c", "512"]
    assert run_cli("--offline", "bench", "big", "--tui", *options, *more).code == 0
    sampling, engine = Sampling(seed=7), EngineSettings(n_ctx=512, n_threads=1)
    prompts = select(load_prompts(file), ("b",), None)
    job = BenchJob("big", ("small",), prompts, BenchSettings(8, 2, sampling, (1, 2)), engine, offline=True)
    wish = SamplingWish(seed=7)
    expected = Launch(
        "big", "small", sampling=wish, engine=engine, offline=True, screen="bench", bench_job=job
    )
    assert launches == [expected]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--throughput"], "--throughput does not go with --tui"),
        (["--json"], "--json, --csv or --markdown does not go with --tui"),
        (["--csv"], "--json, --csv or --markdown does not go with --tui"),
        (["--markdown"], "--json, --csv or --markdown does not go with --tui"),
        (["--plot", "figure.png"], "--plot does not go with --tui"),
        (["--batch", "2"], "--batch goes with --throughput"),
        (["--fixed", "1,17"], "--fixed '17' is not a draft length. Use whole numbers from 1 to 15"),
        (["--category", "nonsense"], "no prompt has the category 'nonsense'"),
        (["one", "two"], "2 targets are too many"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_with_the_app_is_one_line(
    arguments: list[str], line: str, run_cli: RunCli, launches: list[Launch]
) -> None:
    done = run_cli("bench", "--tui", *arguments)
    assert (done.code, done.out, launches) == (2, "", [])
    assert done.err.startswith(f"edgespec: {line}")
    assert done.err.count("\n") == 1
