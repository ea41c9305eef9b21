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


def test_plan_and_show_give_one_figure_for_the_memory_of_a_model(run_cli, tiny_model):
    (found,) = _plan(run_cli, tiny_model, "--hardware", "h100")
    shown = json.loads(run_cli("models", "show", tiny_model, "--json").out)["file"]
    assert shown["n_ctx"] == 4096
    assert found["target"]["memory_bytes"] == shown["memory_bytes"]


def test_a_model_of_this_year_that_is_not_here_is_planned_with_its_drafts(run_cli):
    (found,) = _plan(run_cli, "qwen3.5-27b", "--hardware", "rtx-4090")
    assert not found["target"]["on_disk"]
    assert {draft["name"] for draft in found["drafts"]} == {"qwen3.5-0.8b", "qwen3.5-2b"}
    assert {tuple(draft["reads_again"]) for draft in found["drafts"]} == {("qwen3.5-0.8b",), ("qwen3.5-2b",)}
    text = run_cli("plan", "qwen3.5-27b", "--hardware", "rtx-4090").out
    assert "qwen3.5-2b is recurrent: it reads again what was right in a draft" in text


def test_this_machine_is_measured_once(run_cli, smollm2, monkeypatch):
    monkeypatch.setattr("edgespec.plan.this_machine.LEAST_SHARE", 0.0)  # however busy it is now
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


def test_every_target_is_planned_on_every_machine_in_the_order_given(run_cli):
    found = _plan(run_cli, "llama-3.1-8b", "llama-3.2-1b", "--hardware", "m3-max", "--hardware", "h100")
    assert [(one["target"]["name"], one["machine"]["name"]) for one in found] == [
        ("llama-3.1-8b", "m3-max"),
        ("llama-3.1-8b", "h100"),
        ("llama-3.2-1b", "m3-max"),
        ("llama-3.2-1b", "h100"),
    ]
    assert not any(one["target"]["on_disk"] for one in found)


def test_the_document_agrees_with_itself(run_cli):
    arguments = ("llama-3.1-70b", "--draft", "llama-3.2-1b", "--hardware", "h100", "--explain", "1.5")
    document = json.loads(run_cli("plan", *arguments, "-c", "2048", "--json").out)
    assert (document["schema"], document["n_ctx"]) == ("edgespec.plan/1", 2048)
    (one,) = document["predictions"]
    (draft,) = one["drafts"]
    assert one["tok_per_s"] == pytest.approx(1 / one["t_v_s"]["1"])
    assert draft["speedup"] == pytest.approx(draft["tok_per_s"] / one["tok_per_s"])
    assert draft["memory_bytes"] > one["target"]["memory_bytes"] > one["target"]["size_bytes"]
    explained = draft["explained"]
    assert explained["worst_speedup"] < 1.5 < explained["best_speedup"]
    accepted, k = explained["acceptance"], explained["k"]
    tokens = sum(accepted**place for place in range(k + 1))
    round_s = k * draft["t_d_s"] + one["t_v_s"][str(k + 1)]
    assert tokens / round_s / one["tok_per_s"] == pytest.approx(1.5, rel=1e-6)


def test_stated_acceptances_go_to_their_drafts(run_cli):
    stated = ("--acceptance", "0.5", "--acceptance", "llama-3.1-8b=0.9")
    (one,) = _plan(run_cli, "llama-3.1-70b", "--hardware", "8xh100", *stated)
    rates = {draft["name"]: draft["acceptance"] for draft in one["drafts"]}
    assert rates == {"llama-3.2-1b": 0.5, "llama-3.1-8b": 0.9}
    assert {draft["acceptance_source"] for draft in one["drafts"]} == {"as stated"}


def test_a_person_reads_the_best_draft_and_what_was_assumed(run_cli):
    outcome = run_cli("plan", "llama-3.1-70b", "--hardware", "8xh100")
    assert re.search(r"llama-3\.1-70b \(Q4_K_M, 70\.6B, .* GiB, not on disk\) on 8xh100", outcome.out)
    assert re.search(r"best: llama-3\.2-1b, 2\.\d\dx plain", outcome.out)
    assert "acceptance by size" in outcome.out
    assert "several devices take turns" in outcome.out
    stated = run_cli("plan", "llama-3.1-70b", "--hardware", "8xh100", "--acceptance", "0.8")
    assert "acceptance by size" not in stated.out


def test_a_draft_that_cannot_pay_and_a_target_without_drafts_are_said_plainly(run_cli):
    never = run_cli("plan", "llama-3.2-1b", "--draft", "llama-3.1-70b", "--hardware", "h100")
    assert never.code == 0
    assert "no draft pays: plain decoding is the fastest" in never.out
    assert "never" in never.out
    alone = run_cli("plan", "llama-3.2-1b", "--hardware", "h100")
    assert "drafts  none known; name one with --draft" in alone.out


def test_a_picture_is_announced_unless_it_is_to_be_quiet(run_cli, tmp_path):
    arguments = ("plan", "llama-3.1-8b", "--hardware", "h100", "--plot", tmp_path / "plan.png")
    assert "plan.png" in run_cli(*arguments).err
    assert run_cli("--quiet", *arguments).err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("llama-3.1-70b", "--hardware", "rtx-409"), "rtx-4090"),
        (("llama-3.1-70", "--hardware", "h100"), "llama-3.1-70b"),
        (("llama-3.1-70b", "--hardware", "h100", "--acceptance", "1.3"), "1.3"),
        (("llama-3.1-70b", "--hardware", "h100", "--plot", "x.pdf"), "x.pdf"),
        (("llama-3.1-70b", "--hardware", "missing.toml"), "missing.toml"),
        (("llama-3.1-70b", "--hardware", "h100", "--draft", "llama-9b"), "llama-9b"),
        (("missing.gguf", "--hardware", "h100"), "missing.gguf"),
        (("llama-3.1-70b", "--hardware", "h100", "--acceptance", "often"), "--acceptance 'often'"),
        (("llama-3.1-70b", "--hardware", "h100", "--explain", "0"), "--explain"),
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
