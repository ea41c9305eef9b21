"""Saves what was measured and learnt of a pair: one small file per pair, machine, thread count and placement."""

import hashlib
import json
import logging
import math
import platform
from dataclasses import dataclass, fields
from pathlib import Path

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.beliefs import Term
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError
from edgespec.files import written_whole
from edgespec.llama.build import native_kernels, native_version
from edgespec.llama.devices import default_devices, list_devices
from edgespec.llama.model import Model
from edgespec.paths import costs_dir
from edgespec.session.loading import AnyLoaded
from edgespec.session.pair_state import PairState

log = logging.getLogger(__name__)

_VERSION = 3
_SLOWER = 1.1
"""Times as long that a step may take in the next session than it did in this one's beginning: a machine that is slower for good is
followed, and one of a bad hour is not believed."""
_MOST_LOG_ODDS = 100.0
"""Beyond what any number of outcomes can give."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """Some of an `Acceptance`, in their order."""

    means: list[float]
    variances: list[float]


@dataclass(frozen=True, slots=True)
class _Beliefs:
    """All of an `Acceptance`."""

    model: _Terms
    by_context: _Terms
    by_lead: _Terms
    agreed_match: _Terms
    split_match: _Terms


@dataclass(frozen=True, slots=True)
class _CostFile:
    """What a file holds; costs are seconds by rows."""

    verify_s: dict[int, float]
    draft_s: dict[int, float] | None
    target_pads: bool
    draft_pads: bool
    acceptance: _Beliefs


class CostStore:
    """The costs and the acceptance of one pair on disk. A missing or damaged file is simply measured again."""

    def __init__(self, target: AnyLoaded, draft: AnyLoaded | None) -> None:
        parts = [_describe(target), _describe(draft) if draft else "", platform.processor(), platform.node()]
        parts += [native_version(), repr(native_kernels())]
        key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
        self._file = costs_dir() / f"{target.file.path.stem}.{key}.json"

    def load(self) -> PairState | None:
        """What was saved, or None."""
        if not self._file.exists():
            return None
        try:
            saved = build(_CostFile, read_json(self._file, version=_VERSION), str(self._file))
            costs = PairCosts(
                _curve(saved.verify_s),
                _curve(saved.draft_s) if saved.draft_s else None,
                target_pads=saved.target_pads,
                draft_pads=saved.draft_pads,
            )
            costs.doubt()
            return PairState(costs, _acceptance(saved.acceptance))
        except (ConfigError, ValueError) as err:
            log.info("measuring again: %s", err)
            return None

    def save(self, state: PairState) -> None:
        """Writes it, where all was measured; a failure costs the next run four seconds, so it is only logged.

        What costs what is kept as it was learnt, and the speed of all of it as it is or was at its best: beside other programs a step
        takes many times as long, and a next session is not to begin with that.
        """
        if state.unmeasured:
            return
        costs, acceptance = state.costs, state.acceptance
        share = min(1.0, _SLOWER * costs.first_step_s / costs.step_s)
        document = {
            "version": _VERSION,
            "verify_s": _scaled(costs.verify, share),
            "draft_s": _scaled(costs.draft, share) if costs.draft else None,
            "target_pads": costs.target_pads,
            "draft_pads": costs.draft_pads,
            "acceptance": {
                one.name: {
                    "means": [term.mean for term in getattr(acceptance, one.name)],
                    "variances": [term.variance for term in getattr(acceptance, one.name)],
                }
                for one in fields(_Beliefs)
            },
        }
        try:
            with written_whole(self._file) as unfinished:
                unfinished.write_text(json.dumps(document), encoding="utf-8")
        except OSError as err:
            log.info("the costs are not saved: %s", err)


def describe_placement(model: Model) -> str:
    """Where a model's layers are, and on what kind of device; empty where all of them are on the CPU."""
    where = model.placement
    if not where.gpu_layers:
        return ""
    # The same name may be another card the next time, or another machine.
    devices = list_devices()
    names = where.devices or [device.name for device in default_devices(devices)]
    kinds = [device.description for device in devices if device.name in names]
    return f"{where.gpu_layers} {names} {kinds} {where.tensor_split}"


def _describe(loaded: AnyLoaded) -> str:
    path: Path = loaded.file.path
    stat = path.stat()
    settings = loaded.context.settings
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {settings} {describe_placement(loaded.model)}"


def _scaled(curve: CostCurve, share: float) -> dict[int, float]:
    return {rows: share * seconds for rows, seconds in curve.points.items()}


def _curve(points: dict[int, float]) -> CostCurve:
    if 1 not in points or not all(0.0 < seconds < math.inf for seconds in points.values()):
        raise ValueError("costs that cannot be")
    return CostCurve(points)


def _acceptance(beliefs: _Beliefs) -> Acceptance:
    acceptance = Acceptance()
    for one in fields(beliefs):
        terms: list[Term] = getattr(acceptance, one.name)
        saved: _Terms = getattr(beliefs, one.name)
        if {len(saved.means), len(saved.variances)} != {len(terms)}:
            raise ValueError(f"not as many beliefs of {one.name} as there are")
        terms[:] = [Term(*pair) for pair in zip(saved.means, saved.variances, strict=True)]
        if not all(
            abs(term.mean) < _MOST_LOG_ODDS and 0.0 < term.variance < _MOST_LOG_ODDS for term in terms
        ):
            raise ValueError(f"beliefs of {one.name} that cannot be")
    return acceptance
