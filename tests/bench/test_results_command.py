import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgespec.bench.document import to_json
from edgespec.bench.report import to_csv, to_markdown
from edgespec.bench.result import Audit, BenchResult
from edgespec.bench.store import ResultStore
from edgespec.paths import results_dir
from tests.bench.runs import arm, plain_arm, run
from tests.conftest import RunCli

FIRST = run(
    plain_arm(),
    dataclasses.replace(arm("auto", {"chat-1": 1.0, "edit-1": 1.0}), speedup=1.0, speedup_sd=0.02),
    run_id="20260101-080000-aaaa",
    audit=Audit(6, 6),
)
SECOND = run(
    plain_arm(),
    dataclasses.replace(arm("auto", {"chat-1": 1.5, "edit-1": 1.5}), speedup=1.5, speedup_sd=0.03),
    run_id="20260102-080000-bbbb",
    audit=Audit(6, 6),
)


@pytest.fixture
def two_runs() -> tuple[BenchResult, BenchResult]:
    store = ResultStore(results_dir())
    store.save(FIRST)
    store.save(SECOND)
    return FIRST, SECOND


def test_an_empty_store_prints_nothing_but_a_hint(run_cli: RunCli) -> None:
    found = run_cli("results")
    assert (found.code, found.out) == (0, "")
    assert found.err == f"There are no saved runs in {results_dir()}; `edgespec bench` makes the first one.\n"


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("arguments", [("results",), ("results", "list")])
def test_the_list_has_a_line_for_each_run(run_cli: RunCli, arguments: tuple[str, ...]) -> None:
    broken = results_dir() / "20260103-080000-cccc.json"
    broken.write_text("{", encoding="utf-8")
    ResultStore(results_dir()).save(run(plain_arm(), run_id="20260104-080000-dddd", complete=False))
    found = run_cli(*arguments)
    lines = found.out.splitlines()
    assert (found.code, found.err) == (0, "")
    assert lines[:3] == [
        "RUN                   TARGET    ARMS  SPEED-UP           STATE",
        "20260101-080000-aaaa  big-1.5b  2     auto 1.00x ± 0.02  done",
        "20260102-080000-bbbb  big-1.5b  2     auto 1.50x ± 0.03  done",
    ]
    assert lines[3].startswith(
        "20260103-080000-cccc  ?         ?     ?                  damaged: not a benchmark"
    )
    assert lines[4] == "20260104-080000-dddd  big-1.5b  1     -                  not finished"


@pytest.mark.usefixtures("two_runs")
def test_the_list_as_json_tells_the_same(run_cli: RunCli) -> None:
    document = json.loads(run_cli("results", "list", "--json").out)
    assert document["schema"] == "edgespec.results/1"
    assert document["results"][1] == {
        "run_id": "20260102-080000-bbbb",
        "path": str(results_dir() / "20260102-080000-bbbb.json"),
        "damage": None,
        "target": "big-1.5b",
        "started_at": "2026-01-02T03:04:05Z",
        "complete": True,
        "verdict": "auto is 1.50x ± 0.03 faster than plain decoding",
    }


@pytest.mark.usefixtures("two_runs")
def test_show_prints_title_tables_bars_and_verdict(run_cli: RunCli) -> None:
    found = run_cli("results", "show")
    lines = [line.rstrip() for line in found.out.splitlines()]
    assert (found.code, found.err) == (0, "")
    assert lines[0] == "big-1.5b (20260102-080000-bbbb)"
    assert lines[2].startswith("arm           tok/s")
    assert "auto   15.07 ± 0.28  1.50x ± 0.03      75 %    2.00" in lines
    assert "speed-up by category  copied   auto" in lines
    assert any("1.50x" in line and "│" in line for line in lines)
    assert lines[-1] == "auto is 1.50x ± 0.03 faster than plain decoding"
    assert "\x1b" not in found.out


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("flag", "writer"), [("--json", to_json), ("--csv", to_csv), ("--markdown", to_markdown)]
)
def test_show_prints_other_forms_and_nothing_else(
    run_cli: RunCli, flag: str, writer: Callable[[BenchResult], str]
) -> None:
    found = run_cli("results", "show", "20260101", flag)
    assert (found.code, found.out, found.err) == (0, writer(FIRST), "")


@pytest.mark.usefixtures("two_runs")
def test_show_draws_beside_printing(run_cli: RunCli, tmp_path: Path) -> None:
    picture = tmp_path / "out.svg"
    found = run_cli("results", "show", "latest", "--csv", "--plot", picture)
    assert (found.code, found.out, found.err) == (0, to_csv(SECOND), f"plot: {picture}\n")
    assert picture.read_text(encoding="utf-8").startswith("<?xml")
    assert run_cli("results", "show", "--csv", "--plot", picture, "--quiet").err == ""


@pytest.mark.usefixtures("two_runs")
def test_a_plot_of_another_kind_is_refused_before_anything_is_printed(
    run_cli: RunCli, tmp_path: Path
) -> None:
    found = run_cli("results", "show", "--plot", tmp_path / "out.pdf")
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "edgespec: cannot draw 'out.pdf': a plot is a .png or a .svg file, this has '.pdf'. "
        "Name it out.png or out.svg\n"
    )


@pytest.mark.usefixtures("two_runs")
def test_an_unknown_run_names_the_nearest(run_cli: RunCli) -> None:
    found = run_cli("results", "show", "20260102-080000-bbbx")
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "edgespec: no saved run is called '20260102-080000-bbbx'. Did you mean '20260102-080000-bbbb'?\n"
    )


def test_a_damaged_run_is_one_line_and_exit_code_one(run_cli: RunCli) -> None:
    results_dir().mkdir(parents=True)
    path = results_dir() / "20260103-080000-cccc.json"
    path.write_text('{"schema": "edgespec.bench/1"}', encoding="utf-8")
    found = run_cli("results", "show", "20260103")
    assert (found.code, found.out) == (1, "")
    assert found.err == (
        f"edgespec: the saved run {path} cannot be read: damaged benchmark result: result lacks run_id, "
        "started_at, target, env, settings, arms, audit and calibration. Delete the file or restore it\n"
    )


@pytest.mark.usefixtures("two_runs")
def test_notes_about_noise_go_to_stderr_unless_quiet(run_cli: RunCli) -> None:
    ResultStore(results_dir()).save(run())
    found = run_cli("results", "show", "20260102-03")
    assert (
        found.err
        == "note: 1 output leaves the plain text at a tie of two tokens (floating-point rounding).\n"
    )
    assert run_cli("results", "show", "20260102-03", "-q").err == ""


@pytest.mark.usefixtures("two_runs")
def test_compare_sets_the_arms_side_by_side(run_cli: RunCli) -> None:
    found = run_cli("results", "compare", "20260101", "20260102")
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines() == [
        "before: 20260101-080000-aaaa  big-1.5b",
        "after:  20260102-080000-bbbb  big-1.5b",
        "",
        "ARM    BEFORE TOK/S  AFTER TOK/S   TOK/S RATIO  SPEED-UP RATIO  SHARED PROMPTS",
        "plain          10.0         10.0  1.00x ± 0.00    1.00x ± 0.00               2",
        "auto           10.0         15.1  1.50x ± 0.00    1.50x ± 0.04               2",
    ]


@pytest.mark.usefixtures("two_runs")
def test_compare_as_json_has_null_for_what_one_run_lacks(run_cli: RunCli) -> None:
    ResultStore(results_dir()).save(run(plain_arm(), run_id="20260105-080000-eeee"))
    document = json.loads(run_cli("results", "compare", "20260101", "latest", "--json").out)
    assert document["schema"] == "edgespec.comparison/1"
    assert (document["before"], document["after"]) == ("20260101-080000-aaaa", "20260105-080000-eeee")
    auto = document["arms"][1]
    assert auto["name"] == "auto"
    assert auto["before_tok_per_s"] == pytest.approx(10.02, abs=0.05)
    assert (auto["after_tok_per_s"], auto["tok_per_s_ratio"], auto["speedup_ratio_sd"]) == (None, None, None)


def test_path_prints_the_folder(run_cli: RunCli) -> None:
    found = run_cli("results", "path")
    assert (found.code, found.out, found.err) == (0, f"{results_dir()}\n", "")


@pytest.mark.usefixtures("two_runs")
def test_a_target_with_escape_sequences_is_shown_as_text(run_cli: RunCli) -> None:
    evil = dataclasses.replace(SECOND, target="x\x1b[2J", run_id="20260106-080000-ffff")
    ResultStore(results_dir()).save(evil)
    for arguments in (["list"], ["show"], ["show", "--markdown"], ["show", "--csv"], ["show", "--json"]):
        found = run_cli("results", *arguments)
        assert found.code == 0
        assert "\x1b" not in found.out + found.err
        assert "x" in found.out
