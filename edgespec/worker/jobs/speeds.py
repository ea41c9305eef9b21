"""How fast models would decode on this machine, roughly, for a list of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgespec.catalog.model_file import UNREADABLE
from edgespec.catalog.toml_file import load_catalog
from edgespec.plan.models import plan_model
from edgespec.plan.this_machine import estimate_this_machine
from edgespec.plan.workload import Workload, workload_of
from edgespec.worker.protocol import Link


@dataclass(frozen=True, slots=True)
class Speeds:
    """Tokens a second of plain decoding."""

    tok_per_s: Mapping[str, float]
    """By the model's spec; without those of which too little is known."""


@dataclass(frozen=True, slots=True)
class SpeedsJob:
    """Predicts from headers, and from the catalogue's shapes where a model is not here. The result is `Speeds`."""

    specs: tuple[str, ...]
    n_threads: int = 0
    """0 takes what llama.cpp's own tools would."""

    def run(self, link: Link) -> Speeds:
        """Reads the headers; on a machine of which no speed is known, times one type of weights.

        Raises:
            EdgespecError: the catalogue cannot be read, or there is no space for the models that are timed.
        """
        catalog = load_catalog()
        works: dict[str, Workload] = {}
        for spec in self.specs:
            try:
                work = workload_of(plan_model(spec, catalog).meta)
            except UNREADABLE:
                continue
            if work.bytes_by_type:
                works[spec] = work
        if not works:
            return Speeds({})
        machine = estimate_this_machine(works.values(), self.n_threads, link.progress)
        return Speeds({spec: 1.0 / machine.predict_curve(work).cost(1) for spec, work in works.items()})
