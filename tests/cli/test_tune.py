"""`edgespec tune` for real, on the default model and on tiny ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ExitCode
from edgespec.paths import derived_models_dir, user_catalog_file
from edgespec.tune.outcome import Candidate, TuneOutcome, save_outcome
from tests.tune.made_up import shorter_answers


def test_a_search_ends_with_a_table_a_verdict_and_what_it_kept(run_cli, tiny_model: Path, tiny_draft: Path):
    outcome = run_cli(
        "tune",
        tiny_model,
        "--draft",
        tiny_draft,
        "--requantize-target",
        "--budget",
        "2m",
        "-t",
        "1",
        "--json",
    )
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    measured = [one for one in found["candidates"] if one["measured_speedup"] is not None]
    assert {one["draft"] for one in measured} >= {"none"}
    assert sum(one["is_untuned"] for one in measured) == 1
    assert {one["target"] for one in found["candidates"]} == {"as published", "Q4_0", "Q4_K"}
    drafted = [one for one in found["candidates"] if one["acceptance"] is not None]
    assert all(0.0 <= one["acceptance"] <= 1.0 and one["draft_step_share"] > 0 for one in drafted)
    assert all(one["kl"] >= 0 for one in found["candidates"] if one["target"] != "as published")
    catalog = load_catalog()
    assert ("tiny-tuned" in catalog.pairs) == bool(found["pair"])
    # The files that the finalists were loaded from are gone.
    assert not list(derived_models_dir().glob("*finalist*"))
    shown = run_cli("tune", "tiny", "--explain")
    assert shown.code == 0
    assert found["verdict"] in shown.out
    assert len(found["proof"]) == 10
    assert "proved on 10 prompts that the search never saw" in shown.out
    assert "PREDICTED" in shown.out
    if found["pair"]:
        answer = run_cli("run", found["pair"], "-p", "Hello", "-n", "8", "-t", "1")
        assert answer.code == 0, answer.err


@pytest.fixture
def few_and_short_answers() -> Iterator[None]:
    """What is searched is the same; the first test has all of it."""
    with shorter_answers():
        yield


@pytest.mark.usefixtures("few_and_short_answers")
def test_a_search_that_is_stopped_goes_on_from_what_it_recorded(
    run_cli, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = ("tune", tiny_model, "--draft", tiny_draft, "--budget", "2m", "-t", "1")

    def stop(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgespec.tune.search.measure_finalists", stop)
        stopped = run_cli(*arguments)
    assert (stopped.code, stopped.out) == (ExitCode.INTERRUPTED, "")
    assert stopped.err.splitlines()[-1] == "edgespec: interrupted"
    assert not user_catalog_file().exists()
    assert not list(derived_models_dir().glob("*finalist*"))
    # Were it not for what the first search recorded, the second one would fail here.
    monkeypatch.setattr("edgespec.tune.answers.record_answers", stop)
    again = run_cli(*arguments)
    assert again.code == 0, again.err


@pytest.mark.usefixtures("few_and_short_answers")
def test_a_distilled_draft_is_a_candidate_and_a_file_that_loads(run_cli, tiny_model: Path, tiny_draft: Path):
    outcome = run_cli(
        "tune", tiny_model, "--draft", tiny_draft, "--distill", "--budget", "3m", "-t", "1", "--json"
    )
    assert outcome.code == 0, outcome.err
    rows = json.loads(outcome.out)["candidates"]
    distilled = [one for one in rows if one["draft"].endswith("taught")]
    assert [one["target"] for one in distilled] == ["as published"]
    before = next(one for one in rows if one["draft"] == distilled[0]["draft"].removesuffix(", taught"))
    assert distilled[0]["acceptance"] != before["acceptance"]
    (file,) = derived_models_dir().glob("*tune-taught*")
    answer = run_cli("run", file, "-p", "Hello", "-n", "8", "-t", "1")
    assert answer.code == 0, answer.err
    shown = run_cli("show", file)
    assert "distill" in shown.out


def test_without_a_small_model_there_is_nothing_to_distill_into(run_cli, tiny_model: Path):
    outcome = run_cli("tune", tiny_model, "--distill")
    assert outcome.code == ExitCode.USAGE
    assert "--distill teaches a small model" in outcome.err


EXPLAINED = """\
big: 3 candidates, 21.0 of 20 minutes

TARGET        DRAFT         ACCEPTANCE  DRAFT STEP  PREDICTED      MEASURED  LOWEST  OFF BY     KL
Q4_0          small, Q4_0         0.71        0.25      1.65x  1.60x ± 0.02   1.10x     +3%  0.060
as published  none                                      1.00x  1.00x ± 0.00   1.00x     +0%
as published  ngram (auto)                              1.30x

Speeds are multiples of plain decoding of the published file; LOWEST is the category that gains least.
The measured ones were proved on 2 prompts that the search never saw, one of each kind.
so it is.
"""


@pytest.mark.parametrize(
    ("pair", "last"),
    [
        ("big-tuned", "kept as big-tuned: edgespec run big-tuned -p ..."),
        ("", "nothing is kept: auto does as well"),
    ],
)
def test_the_table_of_the_last_search_is_shown_again(
    run_cli, monkeypatch: pytest.MonkeyPatch, pair: str, last: str
):
    monkeypatch.setenv("COLUMNS", "120")
    candidates = (
        Candidate("Q4_0", "small, Q4_0", 0.714, 0.25, 33.0, 1.65, 32.0, 1.6, 0.02, 1.1, kl=0.06),
        Candidate("as published", "none", None, None, 20.0, 1.0, 20.0, 1.0, 0.0, 1.0),
        Candidate("as published", "ngram", None, None, 26.0, 1.3, is_untuned=True),
    )
    save_outcome(TuneOutcome("big", pair, candidates, 0, "so it is", 1260.0, 1200.0, ("chat-3", "code-3")))
    shown = run_cli("tune", "big", "--explain")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"{EXPLAINED}{last}\n"
    as_json = json.loads(run_cli("tune", "big", "--explain", "--json").out)
    assert (as_json["schema"], as_json["pair"], as_json["winner"]) == ("edgespec.tune/1", pair, 0)
    assert as_json["proof"] == ["chat-3", "code-3"]
    assert as_json["candidates"][0]["measured_speedup"] == 1.6
    assert as_json["candidates"][2]["measured_speedup"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--budget", "10s"), ExitCode.USAGE, "too small to measure anything"),
        (("--budget", "soon"), ExitCode.USAGE, "'soon' is not a length of time"),
        (("--draft", "no-such-model"), ExitCode.MODEL, "no-such-model"),
        (("--explain",), ExitCode.USAGE, "nothing was tuned for"),
    ],
)
def test_wrong_input_is_one_line(run_cli, tiny_model: Path, arguments, code, says):
    outcome = run_cli("tune", tiny_model, *arguments)
    assert outcome.code == code
    assert says in outcome.err
    assert outcome.out == ""
    assert not user_catalog_file().exists()


def test_a_draft_of_another_tokenizer_is_refused(run_cli, tiny_model: Path, tiny_bpe: Path):
    outcome = run_cli("tune", tiny_model, "--draft", tiny_bpe)
    assert outcome.code == ExitCode.MODEL
    assert "cannot be tuned for" in outcome.err


@pytest.fixture
def named_pair(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pair of the user's: its target is on disk, its draft is not."""
    (tmp_path / "models.toml").write_text(
        f'[models.large]\npath = "{tiny_model.as_posix()}"\n'
        '[models.small]\nrepo = "owner/name"\nfile = "small.gguf"\nsize_bytes = 1000\n'
        '[pairs.both]\ntarget = "large"\ndrafts = ["small"]\n'
    )
    monkeypatch.setenv("EDGESPEC_CONFIG", str(tmp_path / "models.toml"))
    return "both"


def test_the_draft_of_a_pair_is_asked_for_and_not_passed_over(run_cli, named_pair: str):
    outcome = run_cli("--offline", "tune", named_pair)
    assert outcome.code == ExitCode.MODEL
    assert "small" in outcome.err


def test_a_draft_that_the_catalogue_knows_is_pointed_at(run_cli, named_pair: str):
    outcome = run_cli("--offline", "tune", "large", "--budget", "10s")
    assert "edgespec models pull small" in outcome.err
    assert outcome.code == ExitCode.USAGE
    assert "too small to measure anything" in outcome.err


def test_a_bare_number_is_seconds_as_for_bench(run_cli, named_pair: str):
    outcome = run_cli("--offline", "tune", "large", "--budget", "90")
    assert outcome.code == ExitCode.USAGE
    assert "a budget of 90 seconds is too small" in outcome.err
