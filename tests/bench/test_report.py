import csv
import dataclasses
import io
import math

import pytest

from edgespec.bench.category_rows import category_rows
from edgespec.bench.report import CSV_COLUMNS, to_csv, to_markdown
from edgespec.bench.result import ArmResult, Audit, Difference
from edgespec.bench.summary import summarize_arm
from edgespec.bench.verdict import (
    deciding_arm,
    doubts,
    multiple_text,
    rate_text,
    speedup_text,
    verdict,
    with_error,
)
from tests.bench.runs import DRAFTED, answers, arm, fixed_run, plain_arm, run, sample


def auto(speedup: float, sd: float, name: str = "auto") -> ArmResult:
    return dataclasses.replace(arm(name, {"chat-1": 1.0, "edit-1": 1.0}), speedup=speedup, speedup_sd=sd)


def test_a_clear_gain_is_called_faster() -> None:
    assert verdict(run(plain_arm(), auto(1.42, 0.05))) == "auto is 1.42x ± 0.05 faster than plain decoding"


def test_a_clear_loss_is_called_slower() -> None:
    text = verdict(run(plain_arm(), auto(0.77, 0.02)))
    assert text == "auto is 0.77x ± 0.02: slower than plain decoding"


def test_a_gain_with_categories_that_lose_for_sure_names_them() -> None:
    found = arm("auto", {"chat-1": 0.9, "edit-1": 1.8})
    assert (
        verdict(run(plain_arm(), found))
        == "auto is 1.273x ± 0.004 faster than plain decoding; slower on chat (0.90x)"
    )
    # Another arm's losses are not those of the arm that the sentence is about.
    text = verdict(run(plain_arm(), arm("ngram", {"chat-1": 0.5, "edit-1": 1.0}), auto(1.42, 0.05)))
    assert text == "auto is 1.42x ± 0.05 faster than plain decoding"


def test_a_loss_as_a_whole_is_not_told_category_by_category() -> None:
    text = verdict(run(plain_arm(), arm("auto", {"chat-1": 0.8, "edit-1": 0.9})))
    assert text == "auto is 0.849x ± 0.002: slower than plain decoding"


def test_a_difference_within_two_errors_is_called_none() -> None:
    text = verdict(run(plain_arm(), auto(1.01, 0.03)))
    assert text == "auto makes no difference within the noise: 1.01x ± 0.03"


def test_a_single_answer_decides_nothing() -> None:
    text = verdict(run(plain_arm(), auto(3.0, math.nan)))
    assert text == "auto is 3.00x against plain decoding in a single answer: too little to tell it from noise"


def test_without_auto_the_fastest_other_arm_decides() -> None:
    arms = (plain_arm(), auto(0.9, 0.01, "small"), auto(1.2, 0.01, "ngram"))
    assert verdict(run(*arms)) == "ngram is 1.20x ± 0.01 faster than plain decoding"


def test_auto_decides_even_when_another_arm_is_faster() -> None:
    found = deciding_arm(run(plain_arm(), auto(1.9, 0.01, "ngram"), auto(1.2, 0.01)))
    assert found is not None
    assert found.name == "auto"


def test_a_run_without_another_arm_tells_the_plain_speed() -> None:
    text = verdict(run(plain_arm()))
    assert text == "plain decoding runs at 10.0 ± 0.2 tok/s; there is no other arm to compare it with"
    assert verdict(dataclasses.replace(run(), arms=())) == "nothing was measured"


def test_an_unfinished_run_says_so() -> None:
    text = verdict(run(plain_arm(), auto(1.42, 0.05), complete=False))
    assert text == "auto is 1.42x ± 0.05 faster than plain decoding (so far: the run is not finished)"


def test_a_failed_audit_overrules_every_speed() -> None:
    audit = Audit(9, 8, (Difference("auto", "chat-1", 0, 3, 1, 2, 4.0, True),))
    text = verdict(run(plain_arm(), auto(1.42, 0.05), audit=audit))
    assert text == "do not trust these figures: 1 output differs from plain decoding, and not by a tie"


def test_an_error_gets_one_more_decimal_rather_than_reading_zero() -> None:
    assert with_error(1.2345, 0.0012, digits=2, unit="x") == "1.234x ± 0.001"
    assert with_error(1.2345, 0.0051, digits=2, unit="x") == "1.23x ± 0.01"
    assert with_error(1.2345, 1e-17, digits=2, unit="x") == "1.23x ± 0.00"
    assert with_error(1.2345, math.nan, digits=2, unit="x") == "1.23x"
    assert with_error(math.nan, 0.1, digits=2) == "-"


@pytest.mark.parametrize(
    ("rate", "text"), [(0.554, "0.55"), (9.83, "9.83"), (11.77, "11.8"), (123.4, "123"), (math.nan, "-")]
)
def test_rates_have_three_digits(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_a_quiet_run_raises_no_doubt() -> None:
    assert doubts(run(audit=Audit(18, 18))) == ()


def test_one_repeat_a_disturbance_and_ties_are_pointed_out() -> None:
    plain = answers({"chat-1": (10.0,), "edit-1": (11.0,)})
    (single, tie) = doubts(run(summarize_arm("plain", None, plain, plain)))
    assert "try `repeat` 3" in single
    assert tie == "1 output leaves the plain text at a tie of two tokens (floating-point rounding)."
    rates = {f"chat-{i}": (10.0, 10.2, 10.1) for i in range(5)} | {"chat-9": (10.0, 2.0, 10.1)}
    shaken = answers(rates)
    found = doubts(run(summarize_arm("plain", None, shaken, shaken), audit=Audit()))
    assert found[0].startswith("1 answer was far off the other repeats")
    assert found[1].startswith("Plain decoding varied by")


def test_the_csv_has_a_row_for_each_arm_and_one_for_each_of_its_categories() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(run()))))
    assert [(r["arm"], r["category"]) for r in rows[:3]] == [
        ("plain", "all"),
        ("plain", "chat"),
        ("plain", "edit"),
    ]
    assert len(rows) == 12
    assert tuple(rows[0]) == CSV_COLUMNS


def test_csv_cells_are_numbers_or_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(run()))))
    plain, edit = rows[0], next(r for r in rows if (r["arm"], r["category"]) == ("auto", "edit"))
    assert (plain["acceptance"], plain["t_d_s"], plain["draft"], plain["speedup"]) == ("", "", "", "1")
    assert (edit["prompts"], edit["samples"], edit["t_d_s"]) == ("1", "3", "0.02")
    assert float(edit["speedup"]) == pytest.approx(2.0, rel=0.02)
    assert float(edit["acceptance"]) == 0.75
    assert float(edit["speedup_low"]) < float(edit["speedup"]) < float(edit["speedup_high"])
    assert [r["copied_share"] for r in rows[:3]] == ["", "0", "0.792079"]
    assert {r["regret"] + r["draft_length"] for r in rows} == {""}


def test_the_csv_has_the_regret_in_the_rows_of_auto() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(fixed_run(auto_factor=1.25)))))
    assert {r["arm"] for r in rows if r["regret"]} == {"auto"}
    assert [(r["category"], r["regret"]) for r in rows if r["regret"]] == [
        ("all", "-0.2"),
        ("chat", "-0.2"),
        ("edit", "-0.2"),
    ]
    assert {r["draft_length"] for r in rows if r["arm"] == "fixed-3"} == {"3"}


def test_the_markdown_is_two_tables_under_the_verdict() -> None:
    lone = arm("ngram", {"chat-1": 1.0, "edit-1": 2.25})
    text = to_markdown(run(plain_arm(), dataclasses.replace(lone, speedup=1.5, speedup_sd=0.02)))
    assert text == (
        "**big-1.5b**: ngram is 1.50x ± 0.02 faster than plain decoding\n"
        "\n"
        "| arm | t/s | speed-up | accept | mean len | t_d ms | TTFT s | prompt t/s | peak MiB | draft % | verify % |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| plain | 10.00 ± 0.16 | 1.00x | - | 1.00 | - | 0.50 | 80.0 | 2 | 0 | 100 |\n"
        "| ngram | 15.07 ± 0.28 | 1.50x ± 0.02 | 75 % | 2.00 | - | 0.50 | 80.0 | 3 | 14 | 56 |\n"
        "\n"
        "| speed-up by category | copied | ngram |\n"
        "| --- | ---: | ---: |\n"
        "| **all prompts** |  | 1.50x |\n"
        "| **kinds that copy** |  | 2.25x |\n"
        "| edit | 79 % | 2.25x |\n"
        "| **kinds that do not** |  | 1.00x |\n"
        "| chat | 0 % | 1.00x |\n"
    )


def test_a_name_cannot_break_out_of_its_cell() -> None:
    plain = [sample(10.0)]
    text = to_markdown(run(summarize_arm("a|b\nc", None, plain, [])))
    assert "| a\\|b c |" in text


def undrafted(name: str, factor: float) -> ArmResult:
    """An arm that drafted nothing, `factor` times as fast as plain answers of 2 % spread."""
    rates = dict.fromkeys(("chat-1", "edit-1"), (10.0, 10.2, 10.1))
    mine = dict.fromkeys(rates, (10.1 * factor, 10.1 * factor, 10.2 * factor))
    return summarize_arm(name, None, answers(mine), answers(rates))


def test_what_drafted_nothing_is_plain_decoding_and_no_gain() -> None:
    found = undrafted("auto", 1.005)
    assert found.speedup > 1.005
    result = run(plain_arm(), found)
    assert verdict(result) == "auto drafted nothing and decodes as plain does: its 1.01x ± 0.01 is noise"
    assert speedup_text(found) == multiple_text(found) == "plain"
    assert to_markdown(result).count("| plain |\n") == 5
    assert "| plain | - |" in to_markdown(result)
    row = next(r for r in csv.DictReader(io.StringIO(to_csv(result))) if r["arm"] == "auto")
    assert float(row["speedup"]) == pytest.approx(found.speedup, rel=1e-4)


def test_noise_of_an_arm_that_drafted_nothing_does_not_make_it_the_best() -> None:
    slow, none = arm("small", {"chat-1": 0.9, "edit-1": 0.9}), undrafted("ngram", 1.004)
    fast = arm("other", {"chat-1": 1.002, "edit-1": 1.002})
    for arms, name in (((slow, none), "ngram"), ((slow, none, fast), "other")):
        found = deciding_arm(run(plain_arm(), *arms))
        assert found is not None
        assert found.name == name


def test_what_drafted_nothing_and_is_slower_for_sure_is_told_so() -> None:
    slow = undrafted("auto", 0.9)
    assert verdict(run(plain_arm(), slow)).endswith("slower than plain decoding, though it drafted nothing")
    assert speedup_text(slow).startswith("0.91x ± ")


def test_a_category_without_drafts_is_plain_in_an_arm_that_drafts_elsewhere() -> None:
    plain = answers({"chat-1": (10.0, 10.2, 10.1), "edit-1": (10.0, 10.2, 10.1)})
    mine = answers({"chat-1": (10.2, 10.1, 10.3)}) + answers({"edit-1": (20.0, 20.2, 20.1)}, **DRAFTED)
    result = run(plain_arm(), summarize_arm("auto", None, mine, plain))
    cells = {row.title: row.cells for row in category_rows(result)}
    assert (cells["chat"], cells["edit"], cells["kinds that do not"]) == (("plain",), ("1.99x",), ("plain",))
    assert cells["all prompts"] != ("plain",)
