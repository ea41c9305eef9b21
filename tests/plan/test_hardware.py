from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError, UsageError
from edgespec.paths import user_hardware_file
from edgespec.plan.hardware import Hardware, find_hardware, known_hardware
from edgespec.plan.sketch import sketch_metadata
from edgespec.plan.workload import Workload, workload_of

_ROW = """
[hardware.mine]
description = "a box"
memory_bytes = 1_000
bandwidth_bytes_per_s = 100.0
bandwidth_share = 0.5
block_s = 0.25
flop_per_s = 8.0
source = "its label"
share_source = "guessed"
"""
_WORK = Workload({"F16": 60}, n_elements=8, n_blocks=2, kv_bytes=40)


def test_every_shipped_row_has_a_source():
    assert {"m3-max", "rtx-4090", "h100", "8xh100"} <= set(known_hardware())
    assert all(row.source.startswith("https://") and row.share_source for row in known_hardware().values())


@pytest.mark.parametrize("row", known_hardware().values(), ids=lambda row: row.name)
def test_a_shipped_row_has_figures_that_a_machine_can_have(row: Hardware):
    assert 8e9 <= row.memory_bytes <= 300e9
    assert 50e9 <= row.bandwidth_bytes_per_s <= 10e12
    assert 0.5 <= row.bandwidth_share <= 1
    assert 1e-6 <= row.block_s <= 1e-3
    if row.flop_per_s is not None:
        # Operations for each byte: an accelerator has tens to hundreds.
        assert 20 <= row.flop_per_s / row.bandwidth_bytes_per_s <= 1000
    assert 1 <= row.devices <= 16


@pytest.mark.parametrize(
    ("machine", "model", "label", "measured", "within"),
    [
        ("m3-max", "llama-3.1-8b", "Q4_K_M", 50.7, 0.15),
        ("m3-max", "llama-3.1-8b", "F16", 22.4, 0.15),
        ("m3-max", "llama-3.1-70b", "Q4_K_M", 7.5, 0.15),
        ("rtx-4090", "llama-3.1-8b", "Q4_K_M", 127.7, 0.25),
        ("rtx-4090", "llama-3.1-8b", "F16", 54.3, 0.25),
        ("rtx-4090", "tinyllama-1.1b", "Q4_K_M", 762, 0.25),
    ],
)
def test_the_published_runs_that_a_row_names_are_met_as_closely_as_it_says(
    machine, model, label, measured, within
):
    (row,) = find_hardware(machine)
    assert f"{measured:g}" in row.share_source
    entry = replace(load_catalog().models[model], file=f"{model}-{label}.gguf")
    curve = row.predict_curve(workload_of(sketch_metadata(entry, [])))
    assert 1 / curve.cost(1) == pytest.approx(measured, rel=within)


def test_without_compute_only_bandwidth_binds(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW.replace("flop_per_s = 8.0\n", ""))
    (row,) = find_hardware(str(file))
    assert row.flop_per_s is None
    curve = row.predict_curve(_WORK)
    assert curve.cost(1) == curve.cost(16) == pytest.approx(2.0 + 0.5)


def test_several_devices_add_memory_and_no_speed(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW + _ROW.replace("mine", "four") + "devices = 4\n")
    one, four = find_hardware(str(file))
    assert four.total_memory_bytes == 4 * one.total_memory_bytes
    assert four.predict_curve(_WORK).points == one.predict_curve(_WORK).points


def test_another_model_in_turn_changes_nothing_on_an_accelerator(tmp_path):
    (row,) = find_hardware("h100")
    assert row.predict_curve(_WORK, beside_bytes=10**12).points == row.predict_curve(_WORK).points


def test_large_figures_may_be_written_with_an_exponent(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW.replace("1_000", "96e9"))
    assert find_hardware(str(file))[0].memory_bytes == 96_000_000_000


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        find_hardware(str(tmp_path / "none.toml"))


def test_a_mistake_in_the_users_own_rows_is_named_with_their_file():
    file = user_hardware_file()
    file.parent.mkdir(parents=True)
    file.write_text(_ROW.replace("bandwidth_share", "bandwith_share"))
    with pytest.raises(ConfigError, match=r"hardware\.mine has the unknown key 'bandwith_share'") as caught:
        find_hardware("h100")
    assert caught.value.message.startswith(str(file))
    assert caught.value.hint == "did you mean bandwidth_share?"


def test_a_step_is_bound_by_bandwidth_and_then_by_compute(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW)
    (row,) = find_hardware(str(file))
    curve = row.predict_curve(_WORK)
    # 100 bytes at 50 bytes/s and two blocks; 16 operations for each row at 8 a second overtake it at two rows.
    assert curve.cost(1) == pytest.approx(2.0 + 0.5)
    assert curve.cost(3) == pytest.approx(6.0 + 0.5)


def test_the_users_own_rows_lie_over_the_shipped_ones():
    file = user_hardware_file()
    file.parent.mkdir(parents=True)
    file.write_text(_ROW + _ROW.replace("mine", "h100"))
    assert find_hardware("mine")[0].memory_bytes == 1_000
    assert find_hardware("h100")[0].memory_bytes == 1_000
    assert find_hardware("rtx-4090")[0].devices == 1


def test_an_unknown_machine_is_named_with_its_neighbours():
    with pytest.raises(UsageError, match="rtx-409") as caught:
        find_hardware("rtx-409")
    assert "rtx-4090" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("memory_bytes = 1_000", "memory_bytes = 0", "memory_bytes is 0"),
        ("block_s = 0.25", 'block_s = "fast"', "block_s is 'fast'"),
        ("bandwidth_share = 0.5", "bandwidth_share = 1.5", "bandwidth_share is 1.5"),
        ("block_s = 0.25", "colour = 1\nblock_s = 0.25", "unknown key 'colour'"),
        ('source = "its label"', "", "hardware.mine lacks source"),
        ("[hardware.mine]", "[machines.mine]", r"no \[hardware"),
        ("[hardware.mine]", "[hardware.mine", "not valid TOML"),
        ("[hardware.mine]", "[hardware.this]", "hardware.this cannot be a row"),
        ("[hardware.mine]", "hardware = 4\n[other]", "hardware is 4, not a table"),
        ("memory_bytes = 1_000", "memory_bytes = true", "memory_bytes is True, not a whole number"),
        ("flop_per_s = 8.0", "flop_per_s = inf", "flop_per_s is inf"),
        ("flop_per_s = 8.0", "flop_per_s = nan", "flop_per_s is nan"),
        ("flop_per_s = 8.0", "devices = -1", "devices is -1"),
        ('source = "its label"', "source = 3", "source is 3, not a string"),
    ],
)
def test_a_bad_row_is_named(tmp_path, old, new, says):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says):
        find_hardware(str(file))
