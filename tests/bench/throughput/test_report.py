"""What is said of a sweep: sentences, tables, JSON and the picture."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from edgespec.bench.document import from_json, to_document, to_json
from edgespec.bench.throughput.plot import save_throughput_plot
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.table import render_throughput, throughput_csv, throughput_markdown
from edgespec.bench.throughput.verdict import throughput_verdict
from edgespec.errors import EdgespecError
from tests.bench.throughput.sweeps import curve, point, sweep

SHORT, LONG = Shape(12, 128), Shape(82, 512)


def methods() -> ThroughputResult:
    return sweep(
        point("dense", SHORT, 1, 10.0, 10.2),
        point("depth", SHORT, 1, 7.5, 7.7),
        point("flap", SHORT, 1, 8.0, 8.2),
        point("dense", SHORT, 8, 20.0, 20.0),
        point("depth", SHORT, 8, 15.0, 15.0),
        point("flap", SHORT, 8, 16.5, 16.5),
        point("dense", LONG, 8),
        point("depth", LONG, 8, left_out="would take about 99 s, the budget had 5 s left"),
        point("flap", LONG, 8, left_out="needs 900 MiB more memory, 100 MiB are free"),
    )


def test_the_verdict_names_the_gain_its_price_and_who_is_ahead():
    assert throughput_verdict(methods()) == (
        "depth has 1.33x the throughput of dense with 27 % fewer block weights, perplexity 16.0 against 12.0; "
        "flap has 1.21x to 1.25x the throughput of dense with 27 % fewer block weights, perplexity 16.0 against 12.0; "
        "depth is ahead of flap at every batch: 1.07x to 1.10x"
    )


def test_the_verdict_on_curves_that_cross_says_where():
    result = sweep(
        point("dense", SHORT, 1, 10.0),
        point("depth", SHORT, 1, 5.0),
        point("flap", SHORT, 1, 7.0),
        point("dense", SHORT, 8, 10.0),
        point("depth", SHORT, 8, 8.0),
        point("flap", SHORT, 8, 7.0),
    )
    assert throughput_verdict(result).endswith(
        "depth is ahead of flap on the whole: 0.88x to 1.40x, behind at batch 8"
    )


def test_the_verdict_on_methods_that_are_level():
    result = sweep(
        point("dense", SHORT, 1, 10.0), point("depth", SHORT, 1, 8.0), point("flap", SHORT, 1, 8.1)
    )
    assert throughput_verdict(result).endswith("depth and flap are level at every batch")


def test_the_verdict_on_speculation_says_where_it_stops_paying():
    draft = curve("with small", draft="small", removed_share=0.0)
    result = sweep(
        point("dense", SHORT, 1, 10.0),
        point("with small", SHORT, 1, 6.0),
        point("dense", SHORT, 4, 10.0),
        point("with small", SHORT, 4, 9.0),
        point("dense", SHORT, 8, 10.0),
        point("with small", SHORT, 8, 12.0),
        curves=(curve(), draft),
    )
    assert throughput_verdict(result) == (
        "with small has 0.83x to 1.67x the throughput of dense, ahead up to batch 4, behind from batch 8"
    )


def test_the_verdict_on_one_model_is_its_best_throughput():
    result = sweep(point("dense", SHORT, 1, 10.0), point("dense", SHORT, 8, 20.0))
    assert throughput_verdict(result) == "dense writes 51 tok/s at most, with 8 sequences of 12x128"


def test_the_verdict_says_when_there_is_nothing_or_not_all():
    assert throughput_verdict(sweep(point("dense", SHORT, 1))) == "nothing was measured"
    unfinished = sweep(point("dense", SHORT, 1, 10.0), complete=False)
    assert throughput_verdict(unfinished).endswith(" (so far: the run is not finished)")


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_tables_fit_80_columns(ascii_only: bool):
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render_throughput(methods(), ascii_only=ascii_only))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    sign = "+-" if ascii_only else "±"
    assert lines[0] == "12x128: 12 tokens in, 128 out"
    assert lines[3].split() == ["1", "dense", "10.10", "12.7", sign, "0.2", "1.00", "1.01", "3", "12.0"]
    assert lines[4].split()[:2] == ["depth", "7.60"]
    assert lines[-2:] == [
        "batch 8, depth: left out, would take about 99 s, the budget had 5 s left",
        "batch 8, flap: left out, needs 900 MiB more memory, 100 MiB are free",
    ]
    assert max(map(len, lines)) <= 80


def test_what_is_left_out_for_all_is_said_once():
    reason = "would take about 99 s, the budget had 5 s left"
    result = sweep(
        point("dense", SHORT, 1, 10.0),
        point("depth", SHORT, 1, 8.0),
        point("dense", SHORT, 8, left_out=reason),
        point("depth", SHORT, 8, left_out=reason),
    )
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render_throughput(result, ascii_only=False))
    assert capture.get().splitlines()[-1].rstrip() == f"batch 8: left out, {reason}"


def test_the_csv_has_every_point():
    rows = list(csv.DictReader(io.StringIO(throughput_csv(methods()))))
    assert len(rows) == 9
    assert rows[1]["curve"] == "depth"
    assert float(rows[1]["speedup"]) == pytest.approx((10 / 7.5 + 10.2 / 7.7) / 2, rel=1e-5)
    assert rows[1]["perplexity"] == "16"
    assert (rows[8]["latency_s"], rows[8]["left_out"]) == ("", "needs 900 MiB more memory, 100 MiB are free")


def test_the_markdown_has_a_table_for_each_shape_and_the_verdict():
    text = throughput_markdown(methods())
    assert text.startswith("**tiny-dense**: depth has 1.33x")
    assert "| 8 | depth | 15.00 | 68.3 ± 0.0 | 1.33 | 1.50 | 3 | 16.0 |" in text


def test_json_and_back():
    document = json.loads(to_json(methods()))
    assert list(document) == [
        "schema",
        "run_id",
        "started_at",
        "env",
        "settings",
        "curves",
        "points",
        "complete",
        "verdict",
    ]
    assert document["schema"] == "edgespec.throughput/1"
    assert document["points"][6]["latency_s"] is None
    assert to_document(from_json(to_json(methods()))) == document


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_the_same_for_the_same_run(tmp_path: Path, suffix: str):
    paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for path in paths:
        save_throughput_plot([methods()], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_panel_for_each_measured_shape_and_a_curve_for_each_model(tmp_path: Path):
    save_throughput_plot([methods()], tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert text.count('<g id="axes_') == 1
    save_throughput_plot(
        [sweep(point("dense", SHORT, 1, 2.0), point("dense", LONG, 1, 9.0))] * 2, tmp_path / "plot.svg"
    )
    assert (tmp_path / "plot.svg").read_text().count('<g id="axes_') == 4


def test_nothing_to_draw_leaves_no_file(tmp_path: Path):
    with pytest.raises(EdgespecError, match="nothing to draw"):
        save_throughput_plot([sweep(point("dense", SHORT, 1))], tmp_path / "plot.svg")
    assert list(tmp_path.iterdir()) == []
