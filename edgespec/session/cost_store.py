"""Keeps what was measured and learnt of a pair: one small file per pair, machine, thread count and placement."""

import hashlib
import json
import logging
import math
import platform
from dataclasses import asdict
from pathlib import Path

from edgespec.decode.acceptance import Acceptance, RateTable
from edgespec.decode.costs import CostCurve, PairCosts, curve_from
from edgespec.files import written_whole
from edgespec.llama.build import native_kernels, native_version
from edgespec.llama.devices import list_devices
from edgespec.paths import costs_dir
from edgespec.session.loading import Loaded

log = logging.getLogger(__name__)

_VERSION = 2
_TABLES = ("by_lead", "by_certainty", "agreed_match", "split_match")


class CostStore:
    """The costs and the acceptance of one pair on disk. A missing or damaged file is simply measured again."""

    def __init__(self, target: Loaded, draft: Loaded | None) -> None:
        parts = [_describe(target), _describe(draft) if draft else "", platform.processor(), platform.node()]
        parts += [native_version(), repr(native_kernels())]
        key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
        self._file = costs_dir() / f"{target.file.path.stem}.{key}.json"

    def load(self) -> tuple[PairCosts, Acceptance] | None:
        """What was kept, or None."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                return None
            costs = PairCosts(
                _curve(document["verify_s"]),
                target_pads=document["target_pads"] is True,
                draft_pads=document["draft_pads"] is True,
            )
            if document["draft_s"]:
                costs.draft = _curve(document["draft_s"])
            return costs, _acceptance(document["acceptance"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            log.info("measuring again: %s cannot be read (%s)", self._file, err)
            return None

    def save(self, costs: PairCosts, acceptance: Acceptance) -> None:
        """Writes it; a failure costs the next run four seconds, so it is only logged."""
        document = {
            "version": _VERSION,
            "verify_s": costs.verify.points,
            "draft_s": costs.draft.points if costs.draft else None,
            "target_pads": costs.target_pads,
            "draft_pads": costs.draft_pads,
            "acceptance": {name: asdict(getattr(acceptance, name)) for name in _TABLES},
        }
        try:
            with written_whole(self._file) as unfinished:
                unfinished.write_text(json.dumps(document), encoding="utf-8")
        except OSError as err:
            log.info("the costs are not kept: %s", err)


def _describe(loaded: Loaded) -> str:
    path: Path = loaded.file.path
    stat = path.stat()
    settings = loaded.context.settings
    where = loaded.model.placement
    placed = f"{where.gpu_layers} {where.devices}"
    if where.gpu_layers and (
        servers := [device.description for device in list_devices() if device.is_remote]
    ):
        placed += f" {servers} {where.tensor_split}"
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {settings} {placed}"


def _curve(points: dict[str, float]) -> CostCurve:
    curve = curve_from({int(rows): float(seconds) for rows, seconds in points.items()})
    if not all(0.0 < seconds < math.inf for seconds in curve.points.values()) or 1 not in curve.points:
        raise ValueError("costs that cannot be")
    return curve


def _acceptance(tables: dict[str, dict[str, list[float]]]) -> Acceptance:
    """The counts of a file on top of the priors of this version."""
    acceptance = Acceptance()
    for name in _TABLES:
        table: RateTable = getattr(acceptance, name)
        accepted = [float(count) for count in tables[name]["accepted"]]
        tested = [float(count) for count in tables[name]["tested"]]
        sizes = {len(accepted), len(tested), len(table.priors)}
        if len(sizes) > 1 or not all(0.0 <= a <= t < math.inf for a, t in zip(accepted, tested, strict=True)):
            raise ValueError(f"counts of {name} that cannot be")
        table.accepted, table.tested = accepted, tested
    return acceptance
