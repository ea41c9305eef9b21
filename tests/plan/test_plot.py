"""Predictions as a picture: a panel per target and machine, a bar per draft, and a file that is whole or not there."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError, UsageError
from edgespec.plan.acceptance import AcceptanceRate
from edgespec.plan.hardware import find_hardware
from edgespec.plan.models import plan_pair
from edgespec.plan.plot import _draw, save_plan_plot
from edgespec.plan.prediction import Prediction, predict


@pytest.fixture
def prediction() -> Prediction:
    (machine,) = find_hardware("8xh100")
    pair = plan_pair("llama-3.1-70b", [], load_catalog(), 4096)
    return predict(pair, machine, n_ctx=4096, acceptance_of=lambda _draft: AcceptanceRate(0.8, "as stated"))


def test_a_panel_has_a_bar_for_plain_decoding_and_for_every_draft(prediction: Prediction) -> None:
    (axes,) = _draw([prediction]).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [prediction.tok_per_s, *(row.tok_per_s for row in prediction.drafts)]
    labels = [label.get_text().partition("\n")[0] for label in axes.get_xticklabels()]
    assert labels == ["plain", *(row.name for row in prediction.drafts)]
    assert [note.get_text() for note in axes.texts] == [
        "1.00x",
        *(f"{row.speedup:.2f}x" for row in prediction.drafts),
    ]
    assert axes.get_title() == "llama-3.1-70b, Q4_K_M\non 8xh100"
    assert "predicted" in axes.get_ylabel()


def test_a_draft_has_one_colour_in_all_panels(prediction: Prediction) -> None:
    turned = replace(prediction, machine="other", drafts=prediction.drafts[::-1])
    first, second = _draw([prediction, turned]).axes
    colours = [[bar.get_facecolor() for bar in axes.patches] for axes in (first, second)]
    assert colours[0] == [colours[1][0], *colours[1][:0:-1]]
    assert len(set(colours[0])) == 3


def test_more_than_four_panels_go_on_in_another_row(prediction: Prediction) -> None:
    figure = _draw([prediction] * 6)
    assert len(figure.axes) == 6
    assert {axes.get_subplotspec().get_geometry()[:2] for axes in figure.axes} == {(2, 4)}  # type: ignore[union-attr]


def test_a_target_without_drafts_is_a_picture_too(prediction: Prediction) -> None:
    (axes,) = _draw([replace(prediction, drafts=())]).axes
    assert len(axes.patches) == 1


def test_pictures_are_written_and_equal_predictions_give_equal_bytes(
    prediction: Prediction, tmp_path: Path
) -> None:
    for name in ("a.svg", "b.svg", "c.png"):
        save_plan_plot([prediction], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_or_written_leaves_no_file(prediction: Prediction, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.pdf"):
        save_plan_plot([prediction], tmp_path / "a.pdf")
    with pytest.raises(EdgespecError, match=r"there is no folder .*none for the plot"):
        save_plan_plot([prediction], tmp_path / "none" / "a.svg")
    assert list(tmp_path.iterdir()) == []
