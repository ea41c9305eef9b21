"""`edgespec bench --fixed`: arms of fixed draft length, and what is said of the best of them."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from edgespec.paths import results_dir
from tests.cli.conftest import SHORT
from tests.conftest import RunCli
from tests.session.single_thread import one_thread

__all__ = ["one_thread"]
SAID = r"auto is \d\.\d+x( ± \d\.\d+)? of fixed-[13], the best fixed length here"


def test_the_lengths_are_arms_and_every_report_has_the_regret(bench: RunCli, run_cli: RunCli) -> None:
    printed = bench("--fixed", "3,1")
    assert printed.code == 0
    for name in ("fixed-1", "fixed-3"):
        assert re.search(rf"^{name}\b", printed.out, re.MULTILINE)
    assert re.search(SAID, " ".join(printed.out.split()))
    assert re.search(SAID, run_cli("results", "show", "--markdown").out.splitlines()[0])
    document = json.loads(run_cli("results", "show", "--json").out)
    assert [arm["draft_length"] for arm in document["arms"]] == [None, None, None, None, 1, 3]
    assert document["regret"]["best_fixed"] in ("fixed-1", "fixed-3")
    best = {arm["name"]: arm["speedup"] for arm in document["arms"] if arm["draft_length"]}
    assert document["regret"]["best_fixed"] == max(best, key=lambda name: best[name])
    rows = list(csv.DictReader(io.StringIO(run_cli("results", "show", "--csv").out)))
    whole = next(row for row in rows if (row["arm"], row["category"]) == ("auto", "all"))
    assert float(whole["regret"]) == pytest.approx(document["regret"]["regret"], rel=1e-4)


@pytest.mark.parametrize("text", ["0", "16", "2,two", "1.5", "", "1;2"])
def test_a_length_that_is_none_is_one_line_that_names_it(bench: RunCli, text: str) -> None:
    result = bench("--fixed", text)
    assert (result.code, result.out) == (2, "")
    value = text.rpartition(",")[2]
    assert result.err == (
        f"edgespec: --fixed {value!r} is not a draft length. Use whole numbers from 1 to 15, such as 1,2,3,4\n"
    )
    assert not results_dir().exists()


def test_without_a_draft_it_is_one_line(run_cli: RunCli, tiny_model: Path, prompts: Path) -> None:
    result = run_cli("bench", tiny_model, "--prompts", prompts, *SHORT, "--fixed", "2")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "edgespec: --fixed lengths need a draft model and tiny has none here. "
        "Name one with --draft, or leave --fixed out\n"
    )
    assert not results_dir().exists()


def test_it_says_nothing_to_a_sweep(run_cli: RunCli, tiny_model: Path) -> None:
    result = run_cli("bench", tiny_model, "--throughput", "--fixed", "2")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("edgespec: --fixed does not go with --throughput. ")
