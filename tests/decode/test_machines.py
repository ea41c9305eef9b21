"""The recorded machines: what their names promise."""

import pytest

from edgespec.decode.draft_length import best_token_s
from edgespec.decode.machines import RecordedMachine, recorded_machines
from edgespec.decode.policy import MAX_DRAFT

MACHINES = {machine.name: machine for machine in recorded_machines()}


def test_there_are_five_kinds():
    assert list(MACHINES) == ["flat", "fast-memory", "stair", "linear", "slow"]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
def test_everything_is_in_plain_steps_and_says_where_it_is_from(machine: RecordedMachine):
    costs = machine.costs()
    assert costs.step_s == 1.0
    assert 0.0 < costs.draft_step_s < 1.0
    assert max(machine.verify) == MAX_DRAFT + 1
    # All that a draft may begin to read with is within what was timed, or a longer text on the same line.
    assert max(machine.draft) == 256
    assert len(machine.origin.split()) > 10
    assert "\n" not in machine.origin


def test_costs_are_new_each_time():
    MACHINES["flat"].costs().verify.scale(2.0)
    assert MACHINES["flat"].costs().step_s == 1.0


def test_rows_cost_what_the_names_say():
    flat, stair, linear = (MACHINES[name].costs() for name in ("flat", "stair", "linear"))
    assert flat.verify_s(4) < 1.1
    assert stair.verify_s(4) < min(stair.verify.cost(2), stair.verify.cost(3))
    assert stair.batch_for[2] == 4
    assert all(linear.verify_s(rows) > 0.5 * rows for rows in range(2, MAX_DRAFT + 2))
    assert MACHINES["slow"].costs().draft_step_s > 0.5 > 2 * flat.draft_step_s - 0.1


def test_a_usual_draft_pays_everywhere_but_on_linear_rows():
    worth = {
        name: 1.0 / best_token_s(machine.costs(), machine.costs().draft_step_s, 0.75, MAX_DRAFT)
        for name, machine in MACHINES.items()
    }
    assert max(worth, key=worth.__getitem__) == "flat"
    assert worth["linear"] < 1.0 < min(share for name, share in worth.items() if name != "linear")
