"""The table of machines: data in TOML, each row with its source."""

import math
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.costs import CostCurve
from edgespec.documents import FromKey, build, read_toml
from edgespec.errors import ConfigError, UsageError
from edgespec.paths import user_hardware_file
from edgespec.plan.workload import Workload, workload_of
from edgespec.text import nearest

THIS = "this"
"""Stands for the machine at hand, which is measured and in no table."""
CURVE_ROWS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of rows that a predicted curve has points for."""
_HINT: Final = "docs/plan.md shows what a row holds"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A row of the table: one machine. Memory, bandwidth and compute are those of one device."""

    name: FromKey
    description: str
    memory_bytes: int
    bandwidth_bytes_per_s: float
    """Peak."""
    bandwidth_share: float
    """What a decode reaches of the peak, above 0 and at most 1."""
    block_s: float
    """Seconds that a block costs however little it moves: launches and the work between matrices."""
    source: str
    """Where memory, bandwidth and compute are stated."""
    share_source: str
    """Where `bandwidth_share` and `block_s` come from."""
    flop_per_s: float | None = None
    """Dense FP16 operations per second, peak; where the source states none, only bandwidth bounds a step."""
    devices: int = 1
    """Equal ones."""

    @property
    def total_memory_bytes(self) -> int:
        """Of all devices."""
        return self.memory_bytes * self.devices

    def draft_workload(self, meta: GgufMetadata) -> Workload:
        """Of the file itself: only on CPUs does edgespec draft with a copy."""
        return workload_of(meta)

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows: a roofline (Williams et al. 2009), and a constant for each block.

            max(bytes / bandwidth, rows * 2 * weights / compute) + blocks * block_s

        More rows wake more experts, whose bytes count (`Workload.bytes_of`).

        Devices take turns, as llama.cpp splits a model by layers: bandwidth and compute are those of one. What another
        model leaves in the caches is nothing on an accelerator.
        """
        del beside_bytes
        byte_s = 1.0 / (self.bandwidth_bytes_per_s * self.bandwidth_share)
        row_s = 2 * work.n_elements / self.flop_per_s if self.flop_per_s else 0.0
        points = {}
        for rows in CURVE_ROWS:
            read_bytes = sum(work.bytes_of(rows).values()) + work.kv_bytes
            points[rows] = max(read_bytes * byte_s, rows * row_s) + work.n_blocks * self.block_s
        return CostCurve(points)


def find_hardware(spec: str) -> list[Hardware]:
    """The row of that name, or all rows of a file.

    Args:
        spec: A name of the table, or a path that ends in .toml.

    Raises:
        UsageError: No row is called so; the hint names the nearest.
        ConfigError: A file that cannot be read, or a row with something missing, unknown or impossible.
    """
    if spec.lower().endswith(".toml"):
        return list(_read(Path(spec).expanduser()).values())
    rows = known_hardware()
    if spec in rows:
        return [rows[spec]]
    near = nearest(spec, [THIS, *rows]) or [THIS, *rows]
    raise UsageError(f"no hardware is called {spec!r}", f"known: {', '.join(near)}; or a FILE.toml")


def known_hardware() -> dict[str, Hardware]:
    """The rows that edgespec ships, by name, with the user's own over them.

    Raises:
        ConfigError: A file that cannot be read, or a row with something missing, unknown or impossible.
    """
    rows = _read(resources.files("edgespec") / "data" / "hardware.toml")
    own = user_hardware_file()
    return rows | _read(own) if own.is_file() else rows


def _read(source: Path | Traversable) -> dict[str, Hardware]:
    table = read_toml(source).get("hardware")
    if not table:
        raise ConfigError(f"{source} has no [hardware.NAME] table", _HINT)
    rows = build(dict[str, Hardware], table, str(source), "hardware", known_only=True, hint=_HINT)
    for row in rows.values():
        _check(f"{source}: hardware.{row.name}", row)
    return rows


def _check(where: str, row: Hardware) -> None:
    if row.name == THIS:
        raise ConfigError(f"{where} cannot be a row", "write [hardware.NAME] with a name of your own")
    for key, figure in asdict(row).items():
        if isinstance(figure, int | float) and not 0 < figure < math.inf:
            raise ConfigError(f"{where}.{key} is {figure!r}", "it must be a number above zero")
    if row.bandwidth_share > 1:
        raise ConfigError(f"{where}.bandwidth_share is {row.bandwidth_share}", "it is at most 1")
