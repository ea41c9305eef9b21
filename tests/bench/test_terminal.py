import dataclasses
import io

import pytest
from rich.console import Console, RenderableType

from edgespec.bench.bars import nice_ceiling, render_bars
from edgespec.bench.table import colour_of, printable, render_categories, render_table
from tests.bench.runs import arm, plain_arm, run

RUN = run(
    plain_arm(),
    dataclasses.replace(arm("small-0.5b", {"chat-1": 0.55, "edit-1": 0.55}), speedup=0.55),
    dataclasses.replace(arm("auto", {"chat-1": 1.5, "edit-1": 1.5}), speedup=1.52, speedup_sd=0.04),
)


def drawn(part: RenderableType, *, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
    )
    console.print(part)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_the_bar_chart_looks_like_this() -> None:
    # Rates 10.0, 5.53 and 15.07 on an axis up to 20: 5, 2.75 and 7.5 lines high.
    assert drawn(render_bars(RUN)) == "\n".join(
        [
            "big-1.5b, tok/s",
            "       │",
            "    20 ┤",
            "       │                                     1.52x",
            "       │                                    ▄▄▄▄▄▄▄▄",
            "       │                                    ████████",
            "       │     1.00x                          ████████",
            "    10 ┤    ████████                        ████████",
            "       │    ████████         0.55x          ████████",
            "       │    ████████        ▆▆▆▆▆▆▆▆        ████████",
            "       │    ████████        ████████        ████████",
            "       │    ████████        ████████        ████████",
            "     0 └────────────────────────────────────────────────",
            "             plain         small-0.5b         auto",
            "              10.0            5.53            15.1",
            "",
        ]
    )


def test_the_bar_chart_in_ascii_has_whole_lines_and_no_other_signs() -> None:
    lines = drawn(render_bars(RUN), encoding="ascii").splitlines()
    assert lines[2] == "    20 +"
    assert [line.count("########") for line in lines[1:12]] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert lines[12] == "     0 +" + "-" * 48


def test_colours_tell_gain_from_loss_and_vanish_without_colour() -> None:
    assert [colour_of(a) for a in RUN.arms] == ["cyan", "red", "green"]
    assert colour_of(dataclasses.replace(RUN.arms[2], speedup=1.01, speedup_sd=0.1)) == "yellow"
    assert "\x1b[32m" in drawn(render_bars(RUN), colour=True)
    assert "\x1b" not in drawn(render_bars(RUN)) + drawn(render_table(RUN))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_nothing_is_wider_than_the_terminal(width: int, encoding: str) -> None:
    many = run(plain_arm(), *(arm(f"draft-number-{i}", {"chat-1": 1.1, "edit-1": 0.9}) for i in range(9)))
    for result in (RUN, many):
        text = drawn(render_bars(result), width=width, encoding=encoding)
        assert max(map(len, text.splitlines())) <= width
        assert (
            max(map(len, drawn(render_table(result), width=width, encoding=encoding).splitlines())) <= width
        )
        assert max(map(len, drawn(render_categories(result), width=width).splitlines())) <= width


def test_arms_that_do_not_fit_beside_the_others_stand_in_a_table_below() -> None:
    many = run(plain_arm(), *(arm(f"draft-number-{i}", {"chat-1": 1.1, "edit-1": 0.9}) for i in range(9)))
    text = drawn(render_categories(many))
    assert text.count("speed-up by category") == text.count("all prompts") == 3
    assert all(text.count(f"draft-number-{i}") == 1 for i in range(9))
    assert drawn(render_categories(many), width=200).count("all prompts") == 1


def test_many_arms_are_drawn_in_several_rows_and_none_is_lost() -> None:
    names = [f"d{i}" for i in range(12)]
    text = drawn(render_bars(run(plain_arm(), *(arm(n, {"chat-1": 1.0, "edit-1": 1.0}) for n in names))))
    assert text.count("└") == 2
    assert all(f" {name} " in text.replace("\n", " \n") for name in names)


def test_the_slowest_arm_still_has_a_bar() -> None:
    text = drawn(render_bars(run(plain_arm(), arm("slow", {"chat-1": 0.001, "edit-1": 0.001}))))
    assert text.count("▁▁▁▁") == 2


def test_names_and_figures_all_stand_in_the_table_at_eighty_columns() -> None:
    lines = [line.rstrip() for line in drawn(render_table(RUN)).splitlines()]
    assert lines[:5] == [
        "arm                tok/s        speed-up  accepted  length",
        "──────────────────────────────────────────────────────────",
        "plain       10.00 ± 0.16           1.00x         -    1.00",
        "small-0.5b   5.53 ± 0.10  0.550x ± 0.002      75 %    2.00",
        "auto        15.07 ± 0.28    1.52x ± 0.04      75 %    2.00",
    ]
    assert lines[6] == "arm         TTFT s  prompt t/s  t_d ms  draft  verify  policy  peak MiB"
    assert lines[8] == "plain         0.50          80       -    0 %   100 %   0.0 %         2"


def test_a_wide_terminal_gets_one_table() -> None:
    text = drawn(render_table(RUN), width=140)
    assert text.count("arm ") == 1
    assert "peak MiB" in text.splitlines()[0]


def test_the_table_in_ascii_spells_plus_minus() -> None:
    text = drawn(render_table(RUN), encoding="ascii")
    assert "1.52x +- 0.04" in text
    assert text.isascii()


def test_the_reason_of_an_arm_stands_below_the_table() -> None:
    noted = dataclasses.replace(RUN.arms[2], note="off in chat: acceptance 0.41 does not pay")
    text = drawn(render_table(run(plain_arm(), noted)))
    assert text.rstrip().endswith("auto: off in chat: acceptance 0.41 does not pay")


def test_categories_have_a_row_each_and_vanish_when_there_is_one() -> None:
    lines = [line.rstrip() for line in drawn(render_categories(run())).splitlines()]
    assert lines == [
        "speed-up by category  copied  small-0.5b  ngram   auto",
        "──────────────────────────────────────────────────────",
        "all prompts                        0.85x  1.34x  1.41x",
        "kinds that copy                    0.90x  1.80x  2.00x",
        "  edit                  79 %       0.90x  1.80x  2.00x",
        "kinds that do not                  0.80x  1.00x  1.00x",
        "  chat                   0 %       0.80x  1.00x  1.00x",
    ]
    lone = run(*(dataclasses.replace(a, by_category={"chat": a.by_category["chat"]}) for a in run().arms))
    assert drawn(render_categories(lone)).strip() == ""


def test_markup_and_escape_sequences_in_names_do_nothing() -> None:
    evil = dataclasses.replace(RUN.arms[2], name="[red]x\x1b[2J")
    for part in (render_table(run(plain_arm(), evil)), render_bars(run(plain_arm(), evil))):
        text = drawn(part)
        assert "\x1b" not in text
        assert "[red]x?" in text
    assert printable("a\x9bb\u202ec") == "a?b?c"


@pytest.mark.parametrize(
    ("value", "top"),
    [(0.0, 1.0), (1.0, 1.0), (15.1, 20.0), (14.0, 15.0), (0.033, 0.04), (8.1, 10.0), (990.0, 1000.0)],
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert nice_ceiling(value) == pytest.approx(top)
