"""The machine at hand: what its speeds predict, and that they are measured once and kept."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edgespec.catalog.dimensions import Dimensions
from edgespec.catalog.entries import ModelEntry
from edgespec.llama.devices import Device
from edgespec.llama.placement import DEVICE_RESERVE_BYTES
from edgespec.paths import costs_dir
from edgespec.plan import this_machine
from edgespec.plan.acceptance import AcceptanceRate
from edgespec.plan.models import PlannedModel, PlannedPair
from edgespec.plan.prediction import predict
from edgespec.plan.probe import PROBED_ROWS, ProcessorTime, TypeSpeed
from edgespec.plan.sketch import sketch_metadata
from edgespec.plan.this_machine import (
    ThisMachine,
    estimate_this_machine,
    measure_this_machine,
    needed_types,
)
from edgespec.plan.workload import Workload, workload_of
from edgespec.progress import SILENT
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.speeds import Speeds, SpeedsJob
from edgespec.worker.protocol import AnyEvent
from tests.odd_documents import damage_json


def rising(first: float) -> dict[int, float]:
    """A curve that costs a tenth more for each row."""
    return {rows: first * (1 + 0.1 * (rows - 1)) for rows in PROBED_ROWS}


SPEEDS = {
    "Q4_K": TypeSpeed(1000, rising(1e-3), 3000, rising(2e-3)),
    "Q6_K": TypeSpeed(1000, rising(4e-3), 3000, rising(8e-3)),
}
MACHINE = ThisMachine("a box", 10**12, True, rising(0.5), SPEEDS)


def test_a_step_is_every_types_bytes_at_their_speed_the_cache_and_a_constant_for_each_block() -> None:
    work = Workload({"Q4_K": 600, "Q6_K": 200}, n_elements=1600, n_blocks=3, kv_bytes=50)
    curve = MACHINE.predict_curve(work)
    assert curve.cost(1) == pytest.approx(3 * 0.5 + 600 * 1e-3 + 200 * 4e-3 + 50 * 1e-3)
    # Of eight rows all but the cache cost 1.7 times as much.
    assert curve.cost(8) == pytest.approx(1.7 * (3 * 0.5 + 600 * 1e-3 + 200 * 4e-3) + 50 * 1e-3)


def test_a_model_beyond_the_caches_is_read_at_the_speed_of_memory() -> None:
    work = Workload({"Q4_K": 4000}, n_elements=8000, n_blocks=0, kv_bytes=0)
    assert MACHINE.predict_curve(work).cost(1) == pytest.approx(4000 * 2e-3)


def test_another_model_beside_it_takes_the_caches_away() -> None:
    work = Workload({"Q4_K": 500}, n_elements=1000, n_blocks=0, kv_bytes=0)
    # 2000 bytes in all lie half way between the small model and the large one.
    assert MACHINE.predict_curve(work, beside_bytes=1500).cost(1) == pytest.approx(500 * 1.5e-3)
    assert MACHINE.predict_curve(work).cost(1) == pytest.approx(500 * 1e-3)


def test_a_draft_is_predicted_beside_its_target() -> None:
    own = workload_of(PAIR.target.meta).n_bytes
    draft = MACHINE.draft_workload(PAIR.drafts[0].meta)
    speed = TypeSpeed(own, rising(1e-9), own + draft.n_bytes, rising(3e-9))
    machine = replace(MACHINE, types=dict.fromkeys(("Q4_K", "Q6_K", "Q4_0"), speed))
    found = predict(PAIR, machine, n_ctx=512, acceptance_of=lambda _draft: AcceptanceRate(0.8, "as stated"))
    # Both together are as large as the large model; the target alone as the small one.
    step_s = draft.n_blocks * 0.5 + (draft.n_bytes + draft.kv_bytes) * 3e-9
    assert found.drafts[0].costs.draft_step_s == pytest.approx(step_s, rel=1e-9)
    assert found.verify_s == machine.predict_curve(workload_of(PAIR.target.meta)).points


def test_a_type_that_holds_next_to_nothing_goes_at_the_speed_of_the_main_one() -> None:
    work = Workload({"Q4_K": 700, "F32": 10}, n_elements=1400, n_blocks=0, kv_bytes=0)
    assert MACHINE.predict_curve(work).cost(1) == pytest.approx(710 * 1e-3)


def test_single_rows_run_as_two_where_that_is_faster() -> None:
    speed = TypeSpeed(1000, {**rising(1e-3), 1: 3e-3}, 1000, rising(1e-3))
    machine = replace(MACHINE, types={"Q4_K": speed}, block_s=dict.fromkeys(PROBED_ROWS, 0.0))
    curve = machine.predict_curve(Workload({"Q4_K": 100}, n_elements=200, n_blocks=1, kv_bytes=0))
    assert curve.cost(1) == curve.cost(2) == pytest.approx(100 * 1.1e-3)


def test_types_that_matter_are_those_with_a_share_of_some_model_the_largest_first() -> None:
    works = [
        Workload({"Q4_K": 960, "F32": 39, "Q6_K": 1}, 0, 0, 0),
        Workload({"Q8_0": 100}, 0, 0, 0),
        Workload({"Q6_K": 4, "Q4_K": 96}, 0, 0, 0),
    ]
    assert needed_types(works) == ["Q4_K", "Q8_0", "Q6_K"]
    assert needed_types([]) == []


LARGE = Dimensions(blocks=4, embedding=512, feed_forward=1024, heads=8, kv_heads=8, vocab=2000)


def sketched(name: str, label: str, shape: Dimensions = LARGE) -> PlannedModel:
    entry = ModelEntry(name, repo="a/b", file=f"{name}-{label}.gguf", shape=shape)
    return PlannedModel(name, sketch_metadata(entry, []), False, label)


PAIR = PlannedPair(sketched("target", "Q4_K_S"), (sketched("draft", "Q8_0", replace(LARGE, blocks=1)),))


@dataclass
class Probe:
    """Stands for the seconds of measuring: what was asked for, and speeds that it could have found."""

    measured: list[str] = field(default_factory=list)
    share: float = 1.0
    """Of the time of two threads, what the decodes got."""

    def block(self, _settings: EngineSettings, got: ProcessorTime) -> dict[int, float]:
        self.measured.append("blocks")
        self._decode(got)
        return rising(1e-4)

    def type(
        self, name: str, block_s: Mapping[int, float], _settings: EngineSettings, got: ProcessorTime
    ) -> TypeSpeed:
        assert dict(block_s) == rising(1e-4)
        self.measured.append(name)
        self._decode(got)
        return TypeSpeed(70_000, rising(len(self.measured) * 1e-9), 270_000, rising(2e-9))

    def _decode(self, got: ProcessorTime) -> None:
        got.wall_s += 1.0
        got.cpu_s += 2 * self.share


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    found = Probe()
    monkeypatch.setattr(this_machine, "measure_block", found.block)
    monkeypatch.setattr(this_machine, "measure_type", found.type)
    return found


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    card = Device(
        name="CUDA0",
        description="a card",
        kind="gpu",
        memory_free_bytes=20 * 2**30,
        memory_total_bytes=24 * 2**30,
    )
    monkeypatch.setattr(this_machine, "list_devices", lambda: [card])
    yield card


def test_a_machine_is_measured_once_for_the_types_that_its_models_need(probe: Probe) -> None:
    first = measure_this_machine([PAIR], n_threads=2)
    # The draft in Q8_0 runs as its Q4_0 copy on a CPU.
    assert probe.measured == ["blocks", "Q4_K", "Q4_0", "Q6_K"]
    assert "2 threads" in first.description
    assert first.is_cpu
    second = measure_this_machine([PAIR], n_threads=2)
    assert probe.measured == ["blocks", "Q4_K", "Q4_0", "Q6_K"]
    assert (second.block_s, second.types) == (first.block_s, first.types)


def test_only_what_is_new_is_measured(probe: Probe) -> None:
    measure_this_machine([PAIR], n_threads=2)
    probe.measured.clear()
    measure_this_machine([PAIR, PlannedPair(sketched("other", "F16"))], n_threads=2)
    assert probe.measured == ["F16"]


def test_other_threads_are_measured_for_themselves(probe: Probe) -> None:
    measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    measure_this_machine([PlannedPair(PAIR.target)], n_threads=1)
    assert probe.measured == 2 * ["blocks", "Q4_K", "Q6_K"]
    assert len(list(costs_dir().iterdir())) == 2


def test_what_was_measured_beside_a_busy_program_is_said_to_be_and_not_remembered(probe: Probe) -> None:
    probe.share = 0.6
    found = measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    assert "beside other programs (its threads got 60% of their time)" in found.description
    assert set(found.types) == {"Q4_K", "Q6_K"}
    probe.share = 0.97
    again = measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    assert probe.measured == 2 * ["blocks", "Q4_K", "Q6_K"]
    assert again.description == "this machine: 2 threads, measured"
    measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    assert probe.measured == 2 * ["blocks", "Q4_K", "Q6_K"]


def test_an_accelerator_needs_no_processor(probe: Probe, accelerator: Device) -> None:
    probe.share = 0.1
    for _ in range(2):
        assert measure_this_machine([PlannedPair(PAIR.target)], n_threads=2).description.endswith(
            ", measured"
        )
    assert probe.measured == ["blocks", "Q4_K", "Q6_K"]


def test_measuring_tells_what_it_is_at(probe: Probe) -> None:
    told: list[tuple[str, float | None, float]] = []

    class Told:
        def stage(
            self, label: str, total: float | None = None, *, done: float = 0, unit: str = "steps"
        ) -> None:
            told.append((label, total, done))

        def advance(self, amount: float = 1) -> None:
            raise AssertionError("every measurement is a stage")

    measure_this_machine([PlannedPair(PAIR.target)], 2, Told())
    assert told == [("measuring blocks", 3, 0), ("measuring Q4_K", 3, 1), ("measuring Q6_K", 3, 2)]
    told.clear()
    measure_this_machine([PlannedPair(PAIR.target)], 2, Told())
    assert told == []


def test_an_accelerator_has_its_own_memory_and_drafts_with_the_file_itself(
    probe: Probe, accelerator: Device
) -> None:
    on_disk = replace(PAIR, drafts=tuple(replace(draft, is_here=True) for draft in PAIR.drafts))
    machine = measure_this_machine([on_disk], n_threads=2)
    assert machine.total_memory_bytes == accelerator.memory_free_bytes - DEVICE_RESERVE_BYTES
    assert machine.description == "this machine: a card, measured"
    assert "Q8_0" in probe.measured
    assert "Q4_0" not in probe.measured
    found = predict(
        on_disk, machine, n_ctx=512, acceptance_of=lambda _draft: AcceptanceRate(0.8, "as stated")
    )
    assert found.drafts[0].step_share < 1


def pop_rows(document: dict[str, Any]) -> None:
    document["types"]["Q4_K"]["small"].pop("16")


DAMAGE: dict[str, str | Callable[[dict[str, Any]], object]] = {
    "nothing": "",
    "half of it": '{"version": 1, "block',
    "a list": "[]",
    "another version": lambda document: document.update(version=99),
    "no blocks": lambda document: document.pop("block_s"),
    "empty blocks": lambda document: document.update(block_s={}),
    "a speed of nothing": lambda document: document["block_s"].update({"1": 0}),
    "a speed that nobody knows": lambda document: document["block_s"].update({"1": None}),
    "an endless speed": lambda document: document["types"]["Q4_K"]["large"].update({"2": float("inf")}),
    "rows that are missing": pop_rows,
    "rows that are not a number": lambda document: document["block_s"].update({"many": 1.0}),
    "a type in a list": lambda document: document["types"].update(Q4_K=[1, 2]),
    "a size in words": lambda document: document["types"]["Q4_K"].update(small_bytes="few"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_measured_again_and_mended(
    probe: Probe, damage: str | Callable[[dict[str, Any]], object]
) -> None:
    pair = PlannedPair(PAIR.target)
    measure_this_machine([pair], n_threads=2)
    (file,) = costs_dir().iterdir()
    damage_json(file, damage)
    probe.measured.clear()
    measure_this_machine([pair], n_threads=2)
    assert probe.measured == ["blocks", "Q4_K", "Q6_K"]
    measure_this_machine([pair], n_threads=2)
    assert len(probe.measured) == 3


def test_a_file_of_an_earlier_version_of_edgespec_is_read(probe: Probe) -> None:
    measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    (file,) = costs_dir().iterdir()
    curve = {str(rows): 1e-9 for rows in PROBED_ROWS}
    kept = {"small_bytes": 70, "small": curve, "large_bytes": 270, "large": curve}
    file.write_text(json.dumps({"version": 1, "block_s": curve, "types": {"Q4_K": kept, "Q6_K": kept}}))
    probe.measured.clear()
    machine = measure_this_machine([PlannedPair(PAIR.target)], n_threads=2)
    assert probe.measured == []
    assert machine.types["Q6_K"] == TypeSpeed(
        70, dict.fromkeys(PROBED_ROWS, 1e-9), 270, dict.fromkeys(PROBED_ROWS, 1e-9)
    )


def test_a_folder_that_cannot_be_written_to_costs_only_the_next_measurement(probe: Probe) -> None:
    costs_dir().parent.mkdir(parents=True)
    Path(costs_dir()).write_text("a file where the folder should be", encoding="utf-8")
    pair = PlannedPair(PAIR.target)
    assert set(measure_this_machine([pair], n_threads=2).types) == {"Q4_K", "Q6_K"}
    assert probe.measured == ["blocks", "Q4_K", "Q6_K"]


def test_many_models_are_estimated_by_what_is_known_and_one_type_is_measured_where_nothing_is(
    probe: Probe,
) -> None:
    works = [workload_of(PAIR.target.meta), workload_of(PAIR.drafts[0].meta)]
    first = estimate_this_machine(works, 2)
    assert probe.measured == ["blocks", "Q4_K"]
    assert all(first.predict_curve(work).cost(1) > 0 for work in works)
    second = estimate_this_machine(works, 2)
    assert probe.measured == ["blocks", "Q4_K"]
    assert second.predict_curve(works[1]).cost(1) == first.predict_curve(works[1]).cost(1)


def test_a_list_of_models_gets_speeds_and_those_that_cannot_be_read_none(
    probe: Probe, tiny_model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF no more")
    found = SpeedsJob((str(tiny_model), str(broken), "nonsense", "smollm2-135m")).run(SilentLink())
    assert set(found.tok_per_s) == {str(tiny_model), "smollm2-135m"}
    assert found.tok_per_s[str(tiny_model)] > found.tok_per_s["smollm2-135m"] > 0
    assert SpeedsJob(("nonsense",)).run(SilentLink()) == Speeds({})


class SilentLink:
    """For a job in the test's own process."""

    progress = SILENT

    def send(self, event: AnyEvent) -> None: ...
