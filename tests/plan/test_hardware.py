import pytest

from edgespec.errors import ConfigError, UsageError
from edgespec.paths import user_hardware_file
from edgespec.plan.hardware import find_hardware, known_hardware
from edgespec.plan.workload import Workload

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
        ("block_s = 0.25", "colour = 1\nblock_s = 0.25", "colour"),
        ('source = "its label"', "", "source"),
        ("[hardware.mine]", "[machines.mine]", r"no \[hardware"),
        ("[hardware.mine]", "[hardware.mine", "not valid TOML"),
        ("[hardware.mine]", "[hardware.this]", "hardware.this"),
    ],
)
def test_a_bad_row_is_named(tmp_path, old, new, says):
    file = tmp_path / "mine.toml"
    file.write_text(_ROW.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says):
        find_hardware(str(file))
