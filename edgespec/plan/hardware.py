"""The table of machines: data in TOML, each row with its source."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from edgespec.catalog.entries import nearest
from edgespec.decode.costs import CostCurve, curve_from
from edgespec.errors import ConfigError, UsageError
from edgespec.paths import user_hardware_file
from edgespec.plan.workload import Workload

THIS = "this"
"""Stands for the machine at hand, which is measured and in no table."""
ROWS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of rows that a predicted curve has points for."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine. Bytes, bandwidth (bytes/s) and dense FP16 compute (operations/s) are those of one device."""

    name: str
    description: str
    memory_bytes: int
    bandwidth_bytes_per_s: float
    bandwidth_share: float
    """What a decode reaches of the peak."""
    block_s: float
    """Seconds that a block costs however little it moves: launches and the work between matrices."""
    source: str
    share_source: str
    flop_per_s: float | None = None
    """None where the source states none: only bandwidth then bounds a step."""
    devices: int = 1

    @property
    def total_memory_bytes(self) -> int:
        """Of all devices."""
        return self.memory_bytes * self.devices

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows: a roofline, and a constant for each block.

        Devices take turns, as llama.cpp splits a model by layers: bandwidth and compute are those of one. What another
        model leaves in the caches is nothing on an accelerator.
        """
        del beside_bytes
        read_bytes = work.n_bytes + work.kv_bytes
        read_s = read_bytes / (self.bandwidth_bytes_per_s * self.bandwidth_share)
        row_s = 2 * work.n_elements / self.flop_per_s if self.flop_per_s else 0.0
        return curve_from({rows: max(read_s, rows * row_s) + work.n_blocks * self.block_s for rows in ROWS})


def find_hardware(spec: str) -> list[Hardware]:
    """The row of that name, or all rows of a file.

    Args:
        spec: A name of the table, or a path that ends in .toml.

    Raises:
        UsageError: no row is called so; the hint names the nearest.
        ConfigError: a file that cannot be read, or a row with something missing or impossible.
    """
    if spec.lower().endswith(".toml"):
        return list(_read(Path(spec).expanduser()).values())
    rows = known_hardware()
    if spec in rows:
        return [rows[spec]]
    near = nearest(spec, [THIS, *rows]) or [THIS, *rows]
    raise UsageError(f"no hardware is called {spec!r}", f"known: {', '.join(near)}; or a FILE.toml")


def known_hardware() -> dict[str, Hardware]:
    """The rows that edgespec ships with the user's own over them."""
    rows = _read(resources.files("edgespec") / "data" / "hardware.toml")
    own = user_hardware_file()
    return rows | _read(own) if own.is_file() else rows


def _read(source: Path | Traversable) -> dict[str, Hardware]:
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8")).get("hardware")
    except OSError as err:
        raise ConfigError(
            f"{source} cannot be read: {err.strerror or err}", "name a file of hardware"
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{source} is no valid TOML: {err}", "correct that line") from err
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{source} has no [hardware.NAME] table", "docs/plan.md shows what a row holds")
    return {name: _row(str(source), name, row) for name, row in table.items()}


def _row(label: str, name: str, row: Any) -> Hardware:
    where = f"{label}: hardware.{name}"
    if not isinstance(row, Mapping) or name == THIS:
        raise ConfigError(f"{where} cannot be a row", "write [hardware.NAME] with a name of your own")
    try:
        hardware = Hardware(name=name, **row)
    except TypeError as err:
        # Python's own words name the key that is missing or unknown.
        reason = str(err).replace("Hardware.__init__() ", "")
        raise ConfigError(f"{where}: {reason}", "docs/plan.md shows what a row holds") from None
    figures = {
        key: value for key, value in row.items() if key not in ("description", "source", "share_source")
    }
    for key, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ConfigError(f"{where}: {key} is {value!r}", "it must be a number above zero")
    if hardware.bandwidth_share > 1:
        raise ConfigError(f"{where}: bandwidth_share is {hardware.bandwidth_share}", "it is at most 1")
    return hardware
