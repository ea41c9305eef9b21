"""What a benchmark keeps: every finished prompt at once, and of an interrupted one what all arms have answered."""

from typing import Any

import pytest

from edgespec.bench import arm_loop
from edgespec.bench.document import to_json
from edgespec.session.engine import Engine
from tests.bench.conftest import Spy, bench, interrupt_at
from tests.recorded_progress import RecordedProgress


def test_every_finished_prompt_is_saved_at_once(engine: Engine, store: Spy):
    result = bench(engine, store)
    assert len(store.saved) == 7
    assert [len(saved.arms[0].samples) for saved in store.saved] == [1, 2, 3, 4, 5, 6, 6]
    assert [saved.complete for saved in store.saved] == [False] * 6 + [True]
    assert {saved.run_id for saved in store.saved} == {result.run_id}
    assert [path.name for path in store.folder.iterdir()] == [f"{result.run_id}.json"]
    assert to_json(store.load("latest")) == to_json(result)


@pytest.mark.parametrize(("answer", "finished"), [(6, 1), (7, 1), (9, 1), (11, 2), (29, 5)])
def test_ctrl_c_keeps_the_prompts_that_all_arms_have_answered(
    engine: Engine, store: Spy, answer: int, finished: int
):
    result = bench(engine, store, interrupt_at(answer))
    assert not result.complete
    assert [len(arm.samples) for arm in result.arms] == [finished] * 5
    assert result.audit.compared == 4 * finished
    assert to_json(store.load("latest")) == to_json(result)


def test_ctrl_c_in_the_audit_leaves_no_prompt_that_was_not_audited(
    engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch
):
    compare, calls = arm_loop.compare_answers, list[int]()

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compare(*arguments, **options)

    monkeypatch.setattr(arm_loop, "compare_answers", interrupted)
    result = bench(engine, store)
    assert [len(arm.samples) for arm in result.arms] == [1] * 5
    assert result.audit.compared == 4


def test_ctrl_c_before_the_first_prompt_saves_nothing(engine: Engine, store: Spy):
    result = bench(engine, store, interrupt_at(0))
    assert (result.arms, result.complete) == ((), False)
    assert store.saved == []
    assert not store.folder.exists()


def test_ctrl_c_while_measuring_saves_nothing(engine: Engine, store: Spy):
    def interrupt(_done: float, label: str) -> None:
        if label == "measuring tiny-bpe":
            raise KeyboardInterrupt

    result = bench(engine, store, RecordedProgress(watch=interrupt))
    assert (result.arms, result.complete, store.saved) == ((), False, [])
