"""What was measured and learnt is kept, and measured again where it cannot be trusted."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgespec.decode.acceptance import Acceptance
from edgespec.llama.devices import Device
from edgespec.llama.kv_types import KvType
from edgespec.llama.placement import PlacementRequest
from edgespec.paths import costs_dir
from edgespec.session import EngineSettings, Session, cost_store, open_pair, placing
from tests.odd_documents import damage_json
from tests.recorded_progress import RecordedProgress
from tests.session.eager import draft_eagerly


def open_noting(*arguments: Any, **options: Any) -> tuple[Session, list[str]]:
    """A session, and what was measured on opening it."""
    progress = RecordedProgress()
    session = open_pair(*arguments, progress=progress, **options)
    return session, [label for label in progress.labels if label.startswith("measuring")]


def use(*arguments: Any, **options: Any) -> list[str]:
    session, measured = open_noting(*arguments, **options)
    session.close()
    return measured


def test_a_pair_is_measured_once(tiny_model: Path, tiny_draft: Path):
    assert use(tiny_model, tiny_draft) == ["measuring tiny-draft"]
    (file,) = costs_dir().iterdir()
    document = json.loads(file.read_text(encoding="utf-8"))
    session, measured = open_noting(tiny_model, tiny_draft)
    with session:
        assert measured == []
        costs = session.state.costs
        assert {str(rows): seconds for rows, seconds in costs.verify.points.items()} == document["verify_s"]
        assert costs.draft is not None
        assert {str(rows): seconds for rows, seconds in costs.draft.points.items()} == document["draft_s"]
    assert list(costs_dir().iterdir()) == [file]


def test_a_target_alone_is_measured_once_for_every_mode_without_a_draft(tiny_model: Path):
    assert use(tiny_model, "none") == ["measuring tiny"]
    assert use(tiny_model, "ngram") == []
    assert use(tiny_model) == []


TABLES = ("model", "by_context", "by_lead", "agreed_match", "split_match")


def test_what_was_learnt_is_kept(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch):
    draft_eagerly(monkeypatch)
    with open_pair(tiny_model, tiny_draft) as session:
        for _ in session.stream("the cat and the hat and the cat and the hat and the", max_tokens=60):
            pass
        learnt = session.state.acceptance
    unlearnt = Acceptance()
    changed = {name for name in TABLES if getattr(learnt, name) != getattr(unlearnt, name)}
    assert changed >= {"model", "by_lead", "agreed_match"}
    with open_pair(tiny_model, tiny_draft) as session:
        for name in TABLES:
            assert getattr(session.state.acceptance, name) == getattr(learnt, name)


@pytest.mark.parametrize(("change", "kept"), [(5.0, 1.1), (1.05, 1.05), (0.5, 0.5)])
def test_a_speed_of_a_bad_hour_does_not_begin_the_next_session(
    tiny_model: Path, tiny_draft: Path, change: float, kept: float
):
    with open_pair(tiny_model, tiny_draft) as session:
        before = session.state.costs
        step_s, ratio = before.step_s, before.draft_step_s / before.step_s
        before.verify.scale(change)
        assert before.draft is not None
        before.draft.scale(change)
    with open_pair(tiny_model, tiny_draft) as session:
        after = session.state.costs
        assert after.step_s == pytest.approx(kept * step_s)
        assert after.draft_step_s / after.step_s == pytest.approx(ratio)


def test_costs_that_were_measured_or_kept_are_in_doubt_at_first(tiny_model: Path, tiny_draft: Path):
    """The machine may have been busy then, or may be now: a plain step is taken before anything is drafted."""
    for _ in ("measured", "kept"):
        with open_pair(tiny_model, tiny_draft) as session:
            assert not session.state.costs.knows_step
            list(session.stream("the cat and the cat and the cat and", max_tokens=3))
            assert session.stats.draft_n == 0


@pytest.mark.parametrize(
    "options",
    [
        {"settings": EngineSettings(n_threads=7)},
        {"settings": EngineSettings(n_ctx=256)},
        {"settings": EngineSettings(kv_type_k=KvType.F32)},
        {"settings": EngineSettings(flash_attention="off")},
        {"settings": EngineSettings(kv_offload=False)},
    ],
    ids=["threads", "context", "cache", "attention", "place of the cache"],
)
def test_other_settings_are_measured_for_themselves(tiny_model: Path, options: dict[str, Any]):
    use(tiny_model)
    assert use(tiny_model, **options) == ["measuring tiny"]
    assert use(tiny_model) == []
    assert len(list(costs_dir().iterdir())) == 2


def test_another_card_of_the_same_name_and_other_shares_are_measured_for_themselves(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    def use_on(description: str, *shares: float) -> list[str]:
        card = Device("Vulkan0", description, "gpu", 8 << 30, 8 << 30)
        for module in (placing, cost_store):
            monkeypatch.setattr(module, "list_devices", lambda: (card,))
        return use(tiny_model, settings=EngineSettings(placement=PlacementRequest(2, tensor_split=shares)))

    assert use_on("a card") == ["measuring tiny"]
    assert use_on("a card") == []
    assert use_on("another card") == ["measuring tiny"]
    assert use_on("a card", 1.0) == ["measuring tiny"]


def test_a_changed_file_is_measured_again(tiny_model: Path, tmp_path: Path):
    path = tmp_path / "model.gguf"
    shutil.copyfile(tiny_model, path)
    use(path)
    assert use(path) == []
    os.utime(path, ns=(1, 1))
    assert use(path) == ["measuring model"]


def set_in(document: dict[str, Any], table: str, column: str, value: object) -> None:
    document["acceptance"][table][column][0] = value


DAMAGE: dict[str, Any] = {
    "nothing": "",
    "half of it": '{"version": 3, "verify',
    "a list": "[]",
    "null": "null",
    "another version": lambda document: document.update(version=99),
    "the version before": lambda document: document.update(version=2),
    "no costs": lambda document: document.pop("verify_s"),
    "empty costs": lambda document: document.update(verify_s={}),
    "costs in a list": lambda document: document.update(verify_s=[1, 2]),
    "a cost of nothing": lambda document: document["verify_s"].update({"1": 0}),
    "a negative cost": lambda document: document["verify_s"].update({"2": -1e-3}),
    "a cost that is not a number": lambda document: document["verify_s"].update({"1": float("nan")}),
    "an endless cost": lambda document: document["draft_s"].update({"1": float("inf")}),
    "no plain step": lambda document: document["verify_s"].pop("1"),
    "rows that are not a number": lambda document: document["verify_s"].update({"many": 1.0}),
    "no draft step": lambda document: document["draft_s"].pop("1"),
    "no acceptance": lambda document: document.pop("acceptance"),
    "acceptance in a list": lambda document: document.update(acceptance=[]),
    "a table missing": lambda document: document["acceptance"].pop("split_match"),
    "a table too short": lambda document: document["acceptance"]["by_lead"].update(
        means=[0.5], variances=[0.1]
    ),
    "a table too long": lambda document: document["acceptance"]["model"].update(
        means=[0.5, 0.5], variances=[0.1, 0.1]
    ),
    "fewer variances than means": lambda document: document["acceptance"]["by_lead"]["variances"].pop(),
    "a mean that is not a number": lambda document: set_in(document, "by_lead", "means", float("nan")),
    "a mean that cannot be": lambda document: set_in(document, "by_lead", "means", 1e9),
    "a variance of nothing": lambda document: set_in(document, "agreed_match", "variances", 0.0),
    "a negative variance": lambda document: set_in(document, "by_context", "variances", -0.1),
    "an endless variance": lambda document: set_in(document, "model", "variances", float("inf")),
    "a mean in words": lambda document: set_in(document, "model", "means", "high"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_measured_again_and_mended(tiny_model: Path, tiny_draft: Path, damage: Any):
    use(tiny_model, tiny_draft)
    (file,) = costs_dir().iterdir()
    damage_json(file, damage)
    session, measured = open_noting(tiny_model, tiny_draft)
    with session:
        assert measured == ["measuring tiny-draft"]
        assert len(list(session.stream("the cat", max_tokens=8))) == 8
    assert use(tiny_model, tiny_draft) == []


def test_bytes_that_are_not_text_are_measured_again(tiny_model: Path):
    use(tiny_model)
    (file,) = costs_dir().iterdir()
    file.write_bytes(b"\xff\xfe\x00")
    assert use(tiny_model) == ["measuring tiny"]


def test_a_folder_that_cannot_be_written_to_costs_only_the_next_measurement(tiny_model: Path):
    costs_dir().parent.mkdir(parents=True)
    costs_dir().write_text("a file where the folder should be", encoding="utf-8")
    assert use(tiny_model) == ["measuring tiny"]
    assert use(tiny_model) == ["measuring tiny"]
    assert costs_dir().is_file()
