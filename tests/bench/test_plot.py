import struct
import zlib
from pathlib import Path

import pytest

from edgespec.bench.plot import save_plot
from edgespec.errors import EdgespecError, UsageError
from edgespec.figure import check_plot_path
from tests.bench.runs import fixed_run, plain_arm, run


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def grey_share(path: Path) -> int:
    """How many different byte values the picture's data has: a blank page has next to none."""
    data, position, packed = path.read_bytes(), 8, b""
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            packed += data[position + 8 : position + 8 + length]
        position += 12 + length
    return len(set(zlib.decompress(packed)))


def test_a_png_has_pixels_and_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    save_plot([run()], tmp_path / "a.png")
    save_plot([run()], tmp_path / "b.PNG")
    width, height = png_size(tmp_path / "a.png")
    assert width >= 900
    assert height >= 900
    assert grey_share(tmp_path / "a.png") > 50
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.PNG").read_bytes()


def test_an_svg_is_the_same_twice_and_carries_no_date(tmp_path: Path) -> None:
    save_plot([run()], tmp_path / "a.svg")
    save_plot([run()], tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    assert "dc:date" not in text


def test_every_label_of_the_figure_is_drawn(tmp_path: Path) -> None:
    # matplotlib writes each text that it draws as a comment beside its outlines.
    save_plot([run()], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for label in ("big-1.5b", "1.00x", "small-0.5b", "ngram", "auto", "Speed-up by category", "1.80", "chat"):
        assert f"<!-- {label} -->" in text, label


def test_the_figures_of_many_arms_stand_upright(tmp_path: Path) -> None:
    upright = "rotate(-90)"
    drawn = {}
    for name, result in (("few", run()), ("many", fixed_run())):
        save_plot([result], tmp_path / f"{name}.svg")
        drawn[name] = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    assert "<!-- fixed-3 -->" in drawn["many"]
    # Five arms in two categories, and the axes' own titles.
    assert drawn["many"].count(upright) == drawn["few"].count(upright) + 10


def test_two_targets_stand_side_by_side(tmp_path: Path) -> None:
    save_plot([run(target="big-70b"), run(target="big-405b")], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<!-- big-70b -->" in text
    assert "<!-- Speed-up by category, big-405b -->" in text


def test_a_run_of_plain_alone_has_no_second_panel(tmp_path: Path) -> None:
    save_plot([run(plain_arm())], tmp_path / "alone.png")
    save_plot([run()], tmp_path / "whole.png")
    assert png_size(tmp_path / "alone.png")[1] < png_size(tmp_path / "whole.png")[1]


def test_a_dollar_in_a_name_is_not_a_formula(tmp_path: Path) -> None:
    save_plot([run(target="a $\\frac$ b")], tmp_path / "a.svg")
    assert "<!-- a $\\frac$ b -->" in (tmp_path / "a.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "offers"), [("out.pdf", "out.png or out.svg"), ("out", "out.png or out.svg")]
)
def test_another_suffix_is_a_usage_error_that_names_both(tmp_path: Path, name: str, offers: str) -> None:
    with pytest.raises(UsageError, match=r"\.png or a \.svg") as caught:
        save_plot([run()], tmp_path / name)
    assert offers in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError):
        check_plot_path(tmp_path / name)


def test_nothing_measured_and_nowhere_to_write_are_errors_that_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(EdgespecError, match="nothing to draw"):
        save_plot([], tmp_path / "a.png")
    with pytest.raises(UsageError, match="there is no folder"):
        save_plot([run()], tmp_path / "missing" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_picture_can_be_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name, says in (("missing/a.png", "there is no folder"), ("folder.png", "is a folder")):
        with pytest.raises(UsageError, match=says):
            check_plot_path(tmp_path / name)
    check_plot_path(tmp_path / "a.png")
    check_plot_path(Path("a.png"))


def test_drawing_leaves_the_settings_of_matplotlib(tmp_path: Path) -> None:
    import matplotlib

    before = matplotlib.rcParams.copy()
    save_plot([run()], tmp_path / "a.png")
    assert matplotlib.rcParams.copy() == before
