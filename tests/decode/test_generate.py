"""The generation loop on a scripted pair: the target's text whatever is drafted, exact limits, exact figures."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import MAX_DRAFT, Mode
from edgespec.decode.token import DraftSource, GenerationStats, Token
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    PROMPT,
    STAIRCASE,
    USUAL_DRAFT,
    WRONG,
    Machine,
    Performance,
    Script,
    fresh_tokens,
    random_script,
    script_of,
)

WORDS = "un café à 日本 😀!"


def eager(**changes: object) -> Machine:
    """Rows and draft steps are nearly free: it drafts whenever it may."""
    return Machine(FLAT, CHEAP_DRAFT, **{"mode": Mode.MODEL, **changes})  # type: ignore[arg-type]


def copying_script(count: int) -> Script:
    """A text that repeats itself from the start."""
    pattern = fresh_tokens(10)
    return script_of((pattern * count)[:count])


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    random = Random(draw(st.integers(0, 2**32)))
    script = random_script(
        random,
        draw(st.integers(1, 60)),
        acceptance=draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
        telling=draw(st.sampled_from([0.0, 1.0])),
        repeats=0.5,
    )
    silent = frozenset(draw(st.sets(st.integers(0, 60), max_size=5)))
    small = tuple(token % draw(st.sampled_from([3, 20, 5000])) for token in script.tokens)
    return replace(script, tokens=small, silent=silent)


machines = st.builds(
    Machine,
    verify=st.sampled_from([LINEAR, FLAT, STAIRCASE]),
    draft=st.sampled_from([None, CHEAP_DRAFT, USUAL_DRAFT]),
    mode=st.sampled_from(list(Mode)),
    draft_length=st.sampled_from([None, None, 1, 4, 15]),
)


def recount(script: Script, passes: Sequence[tuple[list[int], int]]) -> tuple[list[int], list[int]]:
    """Tested and accepted draft tokens by position, from what the target was given to read."""
    tested, accepted, place = [0] * 20, [0] * 20, 1
    for tokens, _batch in passes:
        held = 0
        for position, token in enumerate(tokens[1:]):
            tested[position] += 1
            if token != script.tokens[place + position]:
                break
            accepted[position] += 1
            held += 1
        place += held + 1
    return [count for count in tested if count], accepted[: sum(count > 0 for count in tested)]


@given(machines, scripts())
@settings(max_examples=150)
def test_the_text_is_the_targets_own_whatever_is_drafted(machine: Machine, script: Script):
    assert replace(machine).play(script).ids == list(script.tokens)


@given(machines, scripts())
@settings(max_examples=150)
def test_the_figures_are_those_of_what_the_target_read(machine: Machine, script: Script):
    machine = replace(machine, clock=replace(machine.clock))
    done = machine.play(script)
    stats = done.stats
    tested, accepted = recount(script, done.target.passes)
    assert stats.target_passes == len(done.target.passes)
    assert (stats.tested_at, stats.accepted_at) == (tested, accepted)
    assert (stats.draft_n, stats.draft_n_accepted) == (sum(tested), sum(accepted))
    assert stats.predicted_n == len(done.tokens) == 1 + stats.target_passes + stats.draft_n_accepted
    assert stats.decode_s == pytest.approx(machine.clock.now_s)
    assert stats.draft_s + stats.verify_s == pytest.approx(stats.decode_s)
    by_source = list(stats.by_source.values())
    assert sum(tested for tested, _ in by_source) == stats.draft_n
    assert sum(token.from_draft for token in done.tokens) == stats.draft_n_accepted
    assert sum(t.round_s / t.round_tokens for t in done.tokens[1:]) == pytest.approx(stats.decode_s)


@given(machines, scripts(), st.integers(1, 80))
def test_an_answer_has_exactly_as_many_tokens_as_asked_for(machine: Machine, script: Script, limit: int):
    limit = min(limit, len(script.tokens))
    done = replace(machine).play(script, limit)
    assert done.ids == list(script.tokens[:limit])
    assert done.stats.stopped == "length"


@given(machines, scripts(), st.integers(len(PROMPT) + 1, 80))
def test_a_full_context_ends_the_answer_and_nothing_overflows(machine: Machine, script: Script, n_ctx: int):
    """The last token needs no place in the cache: nothing is read after it."""
    done = replace(machine, n_ctx=n_ctx).play(script)
    room = n_ctx - len(PROMPT)
    assert len(done.tokens) == min(len(script.tokens), room)
    assert done.stats.stopped == ("length" if len(script.tokens) <= room else "context")


@given(machines, scripts(), st.data())
def test_an_end_token_ends_the_answer_wherever_it_comes(
    machine: Machine, script: Script, data: st.DataObject
):
    end = data.draw(st.sampled_from(script.tokens))
    done = replace(machine).play(replace(script, ends=frozenset({end})))
    assert done.ids == list(script.tokens[: script.tokens.index(end) + 1])
    assert done.stats.stopped == "eog"
    assert done.tokens[-1].text == ""
    assert done.target.cache == [*PROMPT, *done.ids[:-1]]


@given(machines, scripts(), st.data())
def test_an_end_token_that_is_ignored_changes_no_token(machine: Machine, script: Script, data: st.DataObject):
    end = data.draw(st.sampled_from(script.tokens))
    script = replace(script, ends=frozenset({end}))
    done = replace(machine).play(script, ignore_end=True)
    assert done.ids == list(script.tokens)
    assert done.stats.stopped == "length"


def test_a_draft_that_is_always_right_brings_whole_batches():
    done = eager().play(script_of(fresh_tokens(100)))
    assert done.stats.acceptance == 1.0
    assert done.stats.target_passes < 20
    assert {token.source for token in done.tokens[1:]} == {DraftSource.MODEL, DraftSource.TARGET}
    assert max(token.round_tokens for token in done.tokens) == MAX_DRAFT + 1


def test_only_tokens_up_to_the_first_rejected_one_count_as_tested():
    """The third of eight is wrong: the other five were never put to the test."""
    held = [True, True, True, False, *[True] * 16]
    generator, target, _ = eager().generator(script_of(fresh_tokens(20), held=held))
    stream = generator.generate(PROMPT, 20)
    brought = [next(stream).id for _ in range(4)]
    assert brought == [1, 2, 3, 4]
    assert len(target.passes) == 1
    drafted = target.passes[0][0][1:]
    assert (len(drafted), drafted[:3]) == (MAX_DRAFT, [2, 3, 4 + WRONG])
    stats = generator.stats
    assert (stats.draft_n, stats.draft_n_accepted) == (3, 2)
    assert (stats.tested_at, stats.accepted_at) == ([1, 1, 1], [1, 1, 0])
    assert stats.by_source == {DraftSource.MODEL: (3, 2)}


def test_a_rejected_token_is_replaced_in_the_same_pass():
    done = eager().play(script_of(fresh_tokens(12), held=False))
    assert done.stats.draft_n_accepted == 0
    assert done.stats.target_passes == 11
    assert {token.source for token in done.tokens} == {DraftSource.TARGET}


def test_an_end_token_inside_an_accepted_draft_stops_there():
    done = eager().play(replace(script_of(fresh_tokens(40)), ends=frozenset({5})))
    drafted = done.target.passes[0][0][1:]
    assert 5 in drafted[:-1]
    assert done.ids == [1, 2, 3, 4, 5]
    assert done.tokens[-1].source is DraftSource.MODEL
    assert (done.stats.draft_n, done.stats.draft_n_accepted) == (4, 4)


def test_tokens_copied_from_the_text_are_booked_as_such():
    done = Machine(FLAT, mode=Mode.NGRAM).play(copying_script(80))
    assert set(done.stats.by_source) == {DraftSource.NGRAM}
    assert done.stats.draft_n_accepted > 40
    assert {token.source for token in done.tokens} == {DraftSource.NGRAM, DraftSource.TARGET}


def test_one_answer_can_draft_from_the_text_and_from_the_model():
    random = Random(1)
    script = random_script(random, 200, acceptance=0.95, repeats=0.3)
    done = Machine(FLAT, USUAL_DRAFT).play(script)
    assert set(done.stats.by_source) == {DraftSource.MODEL, DraftSource.NGRAM}


def test_one_round_can_be_drafted_by_text_and_model_in_turn():
    """Each of its tokens is booked to whoever thought of it."""
    done = eager(mode=Mode.AUTO, draft_length=4).play(copying_script(80))
    later = [token.source for token in done.tokens[-20:]]
    assert later[:5].count(DraftSource.TARGET) == 1
    start = later.index(DraftSource.TARGET)
    assert later[start + 1 : start + 5] == [DraftSource.NGRAM, DraftSource.MODEL] * 2


@pytest.mark.parametrize("length", [1, 4, 15])
def test_a_fixed_length_is_drafted_in_every_round_that_has_room_for_it(length: int):
    done = Machine(LINEAR, USUAL_DRAFT, Mode.MODEL, length).play(script_of(fresh_tokens(60), held=False))
    rows = [len(tokens) for tokens, _ in done.target.passes]
    assert rows == [min(length + 1, 59 - place) for place in range(59)]


def test_what_the_draft_cannot_say_ends_a_draft_and_not_the_answer():
    script = replace(script_of(fresh_tokens(40)), silent=frozenset(range(0, 40, 3)))
    done = eager().play(script)
    assert done.ids == list(script.tokens)
    assert 0 < max(len(tokens) for tokens, _ in done.target.passes) <= 3


def test_a_draft_without_a_word_to_say_costs_no_extra_row():
    done = eager().play(replace(script_of(fresh_tokens(20)), silent=frozenset(range(20))))
    assert done.stats.draft_n == 0
    assert {len(tokens) for tokens, _ in done.target.passes} == {1}


def test_plain_decoding_reads_one_token_at_a_time_and_never_asks_the_draft():
    done = eager(mode=Mode.OFF).play(copying_script(50))
    assert done.target.passes == [([token], 1) for token in done.ids[:-1]]
    assert done.draft is not None
    assert done.draft.reads == []
    assert done.stats.acceptance is None


@pytest.mark.parametrize("machine", [eager(), eager(mode=Mode.OFF)], ids=["drafting", "plain"])
def test_a_character_in_several_tokens_appears_with_its_last_one(machine: Machine):
    raw = WORDS.encode()
    pieces = {index + 1: raw[index : index + 1] for index in range(len(raw))}
    done = replace(machine, pieces=pieces).play(script_of(fresh_tokens(len(raw))))
    assert "".join(token.text for token in done.tokens) == WORDS
    assert "\ufffd" not in {token.text for token in done.tokens}
    assert [token.text for token in done.tokens].count("") == len(raw) - len(WORDS)


def test_a_character_and_a_half_in_one_token_are_split_properly():
    first, second = "日".encode(), "本".encode()
    pieces = {1: b"a" + first[:2], 2: first[2:] + second[:1], 3: second[1:] + b"b"}
    done = replace(eager(), pieces=pieces).play(script_of([1, 2, 3]))
    assert [token.text for token in done.tokens] == ["a", "日", "本b"]


@pytest.mark.parametrize("ends", [frozenset({2}), frozenset[int]()], ids=["end token", "length"])
def test_a_character_that_is_never_finished_is_shown_as_a_replacement_mark(ends: frozenset[int]):
    pieces = {1: "é".encode()[:1], 2: b""}
    done = replace(eager(), pieces=pieces).play(replace(script_of([1, 2]), ends=ends))
    assert "".join(token.text for token in done.tokens) == "\ufffd"


def test_bytes_that_are_not_text_at_all_are_shown_as_replacement_marks():
    done = replace(eager(), pieces={1: b"\xff", 2: b"ok"}).play(script_of([1, 2]))
    assert "".join(token.text for token in done.tokens) == "\ufffdok"


@given(st.integers(1, 30))
def test_an_answer_can_be_stopped_between_any_two_tokens_and_another_begun(count: int):
    script = script_of(fresh_tokens(60))
    generator, target, _ = eager().generator(script)
    stream = generator.generate(script.prompt, 60)
    got: list[Token] = [next(stream) for _ in range(count)]
    stream.close()
    assert [token.id for token in got] == list(script.tokens[:count])
    assert generator.stats.predicted_n == count
    assert generator.stats.stopped == ""
    assert target.cache[: len(PROMPT) + count - 1] == [*PROMPT, *script.tokens[: count - 1]]
    again = list(generator.generate(script.prompt, 60))
    assert [token.id for token in again] == list(script.tokens)
    assert generator.stats.predicted_n == 60


def test_figures_start_at_zero_for_every_answer():
    script = script_of(fresh_tokens(30))
    generator, _, _ = eager().generator(script)
    for _ in range(2):
        list(generator.generate(script.prompt, 30))
        assert generator.stats.predicted_n == 30
        assert generator.stats.draft_n <= 29


def test_closing_a_generator_closes_its_target():
    generator, target, _ = eager().generator(script_of([1]))
    generator.close()
    assert target.closed


def test_the_prompts_time_is_not_decoding_time():
    machine = eager()
    script = script_of(fresh_tokens(10))
    generator, target, _ = machine.generator(script)
    start = target.start

    def slow_start(prompt: Sequence[int]) -> int:
        machine.clock.spend(7.0)
        return start(prompt)

    target.start = slow_start  # type: ignore[method-assign]
    tokens = list(generator.generate(script.prompt, 10))
    assert generator.stats.prefill_s == generator.stats.ttft_s == tokens[0].round_s == 7.0
    assert generator.stats.decode_s == pytest.approx(machine.clock.now_s - 7.0)
    assert generator.stats.prompt_tok_per_s == pytest.approx(len(PROMPT) / 7.0)


def test_the_derived_figures_of_an_answer():
    done: Performance = eager().play(script_of(fresh_tokens(30)))
    stats = done.stats
    assert stats.tok_per_s == pytest.approx(29 / stats.decode_s)
    assert stats.mean_accepted_len == pytest.approx(29 / stats.target_passes)
    assert stats.estimated_speedup == pytest.approx(done.speedup)


def test_the_speed_up_is_against_plain_steps_of_this_answer():
    """However wrong what was kept of another hour: plain steps among the passes tell, and in plain decoding every pass."""
    wrong = {rows: 3 * cost for rows, cost in FLAT.items()}
    machine = Machine(verify=FLAT, mode=Mode.OFF, believed_verify=wrong)
    assert machine.play(script_of(fresh_tokens(30))).stats.plain_step_s == pytest.approx(1.0)


def test_the_speed_up_is_never_above_the_tokens_of_a_pass():
    stats = GenerationStats(predicted_n=101, decode_s=10.0, target_passes=99, plain_step_s=0.2)
    assert stats.estimated_speedup == pytest.approx(100 / 99)
    stats.plain_step_s = 0.1
    assert stats.estimated_speedup == pytest.approx(1.0)


def test_a_step_that_changed_its_speed_counts_for_as_many_passes_as_it_had_it():
    stats = GenerationStats(plain_step_s=9.0)
    for step_s in (1.0, 1.0, 1.0, 5.0):
        stats.target_passes += 1
        stats.count_plain_step(step_s)
    assert stats.plain_step_s == pytest.approx(2.0)


def test_plain_steps_are_padded_where_that_is_faster():
    script = script_of(fresh_tokens(12))
    machine = Machine(verify={1: 1.0, 2: 1.0, 4: 1.5}, mode=Mode.OFF)
    generator, target, _ = machine.generator(script, PairCosts(CostCurve(machine.verify), target_pads=True))
    ids = [token.id for token in generator.generate(script.prompt, 12)]
    assert ids == list(script.tokens)
    assert {batch for _, batch in target.passes} == {2}
    assert all(len(tokens) == 1 for tokens, _ in target.passes)


@pytest.mark.parametrize(("mode", "is_corrected"), [(Mode.OFF, False), (Mode.NGRAM, True)])
def test_costs_are_corrected_where_something_is_decided_by_them(mode: Mode, is_corrected: bool):
    machine = Machine(verify=FLAT, mode=mode, believed_verify={rows: 3 * cost for rows, cost in FLAT.items()})
    costs = machine.costs()
    believed = costs.step_s
    machine.play(copying_script(50), costs=costs)
    assert (costs.step_s != believed) is is_corrected
