import json
import re

import pytest

from edgespec.bench.store import ResultStore
from edgespec.errors import ExitCode
from edgespec.paths import derived_models_dir, results_dir, user_catalog_file
from tests.bench.runs import run as bench_run


def _plan(run_cli, *arguments):
    outcome = run_cli("plan", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)["predictions"]


def test_figure_1_comes_out_in_the_right_order(run_cli):
    small, large = _plan(run_cli, "llama-3.1-70b", "llama-3.1-405b", "--hardware", "8xh100")
    assert [draft["name"] for draft in small["drafts"]] == ["llama-3.2-1b", "llama-3.1-8b"]
    assert [draft["name"] for draft in large["drafts"]] == ["llama-3.1-8b", "llama-3.2-1b"]
    assert small["tok_per_s"] == pytest.approx(60, rel=0.1)


def test_it_says_what_would_explain_a_slowdown(run_cli):
    outcome = run_cli("plan", "llama-3.1-405b", "--hardware", "8xh100", "--explain", "0.55")
    assert outcome.code == 0
    assert "0.55x with llama-3.2-1b at a fixed K of 5" in outcome.out
    assert "no acceptance" in outcome.out
    assert re.search(r"with nothing accepted still 0\.16, \d+ times", outcome.out)


def test_it_says_what_fits(run_cli):
    (card,) = _plan(run_cli, "llama-3.1-70b", "--hardware", "rtx-4090")
    assert card["target"]["fits"] is False
    assert "Q4_K_M" not in card["target"]["fitting_quantizations"]
    (eight,) = _plan(run_cli, "llama-3.1-70b", "--hardware", "8xh100")
    assert eight["target"]["fitting_quantizations"][0] == "F16"
    outcome = run_cli("plan", "llama-3.1-70b", "--hardware", "rtx-4090")
    assert "does not fit; IQ2_XXS would fit" in outcome.out


def test_this_machine_is_measured_once(run_cli, smollm2):
    first = _plan(run_cli, smollm2)[0]
    assert first["machine"]["name"] == "this"
    assert first["tok_per_s"] > 0
    assert first["t_v_s"]["16"] > first["t_v_s"]["1"]
    # The models that were timed are gone, and what they told is used again.
    assert list(derived_models_dir().iterdir()) == []
    assert _plan(run_cli, smollm2)[0]["t_v_s"] == first["t_v_s"]


def test_measured_acceptance_comes_from_the_newest_benchmark(run_cli):
    result = bench_run()
    arm = next(arm for arm in result.arms if arm.draft and arm.acceptance)
    user_catalog_file().parent.mkdir(parents=True)
    shape = "{ blocks = 2, embedding = 256, feed_forward = 512, heads = 4, kv_heads = 2, vocab = 1000 }"
    user_catalog_file().write_text(
        "".join(
            f'[models."{name}"]\nrepo = "a/b"\nfile = "{name}-Q8_0.gguf"\nshape = {shape}\n'
            for name in (result.target, arm.draft)
        )
    )
    arguments = (result.target, "--draft", arm.draft, "--hardware", "h100")
    assert _plan(run_cli, *arguments)[0]["drafts"][0]["acceptance_source"] == "assumed"
    missing = run_cli("plan", *arguments, "--acceptance", "measured")
    assert missing.code == ExitCode.USAGE
    assert "edgespec bench" in missing.err
    ResultStore(results_dir()).save(result)
    draft = _plan(run_cli, *arguments, "--acceptance", "measured")[0]["drafts"][0]
    assert draft["acceptance"] == arm.acceptance


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("llama-3.1-70b", "--hardware", "rtx-409"), "rtx-4090"),
        (("llama-3.1-70", "--hardware", "h100"), "llama-3.1-70b"),
        (("llama-3.1-70b", "--hardware", "h100", "--acceptance", "1.3"), "1.3"),
        (("llama-3.1-70b", "--hardware", "h100", "--plot", "x.pdf"), "x.pdf"),
        (("llama-3.1-70b", "--hardware", "missing.toml"), "missing.toml"),
    ],
)
def test_wrong_input_is_one_line(run_cli, arguments, says):
    outcome = run_cli("plan", *arguments)
    assert outcome.code in (ExitCode.USAGE, ExitCode.MODEL)
    assert says in outcome.err
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) <= 2


def test_a_picture_is_drawn(run_cli, tmp_path):
    picture = tmp_path / "plan.svg"
    outcome = run_cli("plan", "llama-3.1-8b", "--hardware", "h100", "--hardware", "m3-max", "--plot", picture)
    assert outcome.code == 0
    assert picture.read_text().startswith("<?xml")
