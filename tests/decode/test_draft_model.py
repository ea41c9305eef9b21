"""A draft model as a drafter: what it would read, what it asks for a guess, what its guesses teach."""

import pytest

from edgespec.decode.acceptance import ENOUGH_READ, Acceptance
from edgespec.decode.beliefs import expected_chance, learn
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Guess, Quote, Reading
from edgespec.decode.drafters.draft_model import WINDOWS, ModelDrafter
from edgespec.decode.token import DraftSource
from tests.decode.scripted import PROMPT, FakeClock, Script, ScriptedDraft, fresh_tokens, script_of

FLAT = {1: 1.0, 16: 1.4}
DRAFT = {1: 0.25, 2: 0.4, 8: 1.2, 32: 3.7, 320: 30.0}
LONG_PROMPT = tuple(range(600_000, 600_300))


class Bench:
    """A drafter on a scripted draft, before an answer."""

    def __init__(self, script: Script, *, held: int = 0, slower: float = 1.0) -> None:
        self.clock = FakeClock()
        self.costs = PairCosts(CostCurve(FLAT), CostCurve(DRAFT))
        self.acceptance = Acceptance()
        curve = CostCurve(DRAFT)
        self.model = ScriptedDraft(script, self.clock, lambda rows: slower * curve.cost(rows))
        self.drafter = ModelDrafter(self.model, self.costs, self.acceptance, self.clock)
        self.history = [*script.prompt, *script.tokens[: held + 1]]
        self.drafter.begin(self.history)

    def guess(self, reading: Reading | None, chain: tuple[int, ...] = ()) -> Guess:
        (guess,) = self.drafter.draft(chain, 5, reading)
        return guess


def bench(*, prompt: tuple[int, ...] = PROMPT, **options: float) -> Bench:
    script = script_of(fresh_tokens(400))
    return Bench(Script(script.tokens, script.held, script.leads, prompt), **options)  # type: ignore[arg-type]


def chance_of(quote: Quote | None) -> float:
    assert quote is not None
    return next(iter(quote.chances))


# Readings


def test_a_draft_that_has_read_nothing_may_read_the_end_or_all_of_the_text():
    made = bench(prompt=LONG_PROMPT)
    readings = made.drafter.readings()
    assert [reading.n_rows for reading in readings] == [*WINDOWS, 301]
    assert all(reading.is_fresh for reading in readings)


def test_a_short_text_can_only_be_read_whole():
    (reading,) = bench().drafter.readings()
    assert (reading.n_rows, reading.is_fresh) == (4, True)


def test_no_more_is_read_than_the_draft_may_begin_with():
    made = bench(prompt=LONG_PROMPT)
    made.model.most_read = 100
    assert [reading.n_rows for reading in made.drafter.readings()] == [24, 64, 100]


def test_a_small_gap_is_read_and_nothing_else():
    made = bench(prompt=LONG_PROMPT)
    made.guess(made.drafter.readings()[0])
    made.drafter.extend(range(500, 516))
    (reading,) = made.drafter.readings()
    assert (reading.n_rows, reading.is_fresh) == (16, False)


def test_beside_a_large_gap_stands_a_new_beginning_that_reads_less():
    made = bench(prompt=LONG_PROMPT)
    made.guess(made.drafter.readings()[0])
    made.drafter.extend(range(500, 570))
    readings = [(reading.n_rows, reading.is_fresh) for reading in made.drafter.readings()]
    assert readings == [(70, False), (24, True), (64, True)]


def test_a_gap_larger_than_all_it_may_begin_with_can_be_left_behind():
    made = bench(prompt=LONG_PROMPT)
    made.model.most_read = 100
    made.guess(made.drafter.readings()[0])
    made.drafter.extend(range(500, 650))
    readings = [(reading.n_rows, reading.is_fresh) for reading in made.drafter.readings()]
    assert readings == [(150, False), (24, True), (64, True), (100, True)]


def test_a_reading_costs_what_it_takes_beyond_a_guess():
    made = bench(prompt=LONG_PROMPT)
    curve = CostCurve(DRAFT)
    for reading in made.drafter.readings():
        assert reading.seconds == pytest.approx(curve.cost(reading.n_rows) - DRAFT[1])
    made.guess(made.drafter.readings()[0])
    made.drafter.extend([500])
    assert made.drafter.readings()[0].seconds == 0.0


def test_the_more_it_reads_the_more_it_promises_until_it_has_read_enough():
    short, enough, more, _ = bench(prompt=LONG_PROMPT).drafter.readings()
    assert enough.n_rows == ENOUGH_READ
    assert len(short.outlook) == 3
    grows = [stretch.log_odds for stretch in short.outlook]
    assert grows == sorted(grows)
    assert grows[-1] <= enough.outlook[0].log_odds
    assert enough.outlook == more.outlook
    assert len(enough.outlook) == 1


def test_all_of_a_short_text_is_enough():
    (reading,) = bench().drafter.readings()
    (stretch,) = reading.outlook
    assert stretch.log_odds == bench().acceptance.model[0].mean


def test_what_an_answer_has_shown_is_in_the_outlook_and_not_in_the_next_answers():
    made = bench()
    first = made.drafter.readings()[0].outlook[0]
    guess = made.guess(made.drafter.readings()[0])
    for _ in range(10):
        for beliefs in guess.beliefs:
            learn(beliefs, False)
    made.drafter.extend([500])
    after = made.drafter.readings()[0].outlook[0]
    made.drafter.begin(made.history)
    again = made.drafter.readings()[0].outlook[0]
    assert after.log_odds < again.log_odds < first.log_odds
    assert after.variance < again.variance


# Quotes


def test_a_guess_is_quoted_at_a_step_and_what_others_guessed_is_read_on_the_way():
    made = bench()
    curve = CostCurve(DRAFT)
    for chain in ((), (2, 3, 4)):
        quote = made.drafter.quote(chain, 5)
        assert quote is not None
        assert quote.first_s == pytest.approx(curve.cost(1 + len(chain)))
        assert quote.next_s == pytest.approx(DRAFT[1])
        assert len(list(quote.chances)) == 5


def test_what_it_has_read_of_a_chain_is_not_read_again():
    made = bench()
    guess = made.guess(made.drafter.readings()[0])
    quote = made.drafter.quote((guess.token,), 5)
    assert quote is not None
    assert quote.first_s == pytest.approx(DRAFT[1])
    quote = made.drafter.quote((guess.token, 3, 4), 5)
    assert quote is not None
    assert quote.first_s == pytest.approx(CostCurve(DRAFT).cost(3))


def test_a_guess_is_believed_more_once_it_has_read_the_text():
    made = bench(prompt=LONG_PROMPT)
    short, enough, *_ = made.drafter.readings()
    unread = chance_of(made.drafter.quote((), 5))
    first = made.guess(short)
    after_short = chance_of(made.drafter.quote((first.token,), 5))
    made.drafter.begin(made.history)
    first = made.guess(enough)
    after_enough = chance_of(made.drafter.quote((first.token,), 5))
    assert unread < after_short < after_enough
    assert after_enough == pytest.approx(expected_chance([made.acceptance.model[0]]), abs=0.05)


# Guesses


def test_it_guesses_one_by_one_with_the_chance_that_its_lead_gives():
    made = bench()
    guess = made.guess(made.drafter.readings()[0])
    assert (guess.token, guess.source) == (2, DraftSource.MODEL)
    assert guess.chance == pytest.approx(expected_chance([made.acceptance.of_lead(8.0)]), abs=0.02)
    assert not made.drafter.sees_ahead


def test_a_fresh_reading_forgets_and_any_other_reads_on():
    made = bench(prompt=LONG_PROMPT)
    made.guess(made.drafter.readings()[0])
    assert (made.model.first, made.model.reads) == (277, [24])
    made.drafter.extend([2, 3])
    made.guess(made.drafter.readings()[0])
    assert (made.model.first, made.model.reads) == (277, [24, 2])


def test_behind_a_chain_it_guesses_what_follows_the_chain():
    made = bench()
    made.guess(made.drafter.readings()[0])
    assert made.guess(None, (2, 3, 4)).token == 5
    assert made.model.reads == [4, 3]


def test_where_the_target_has_no_word_for_its_token_there_is_no_guess():
    script = script_of(fresh_tokens(20))
    made = Bench(Script(script.tokens, script.held, script.leads, silent=frozenset({1})))
    assert made.drafter.draft((), 5, made.drafter.readings()[0]) == []


def test_every_pass_corrects_the_costs():
    made = bench(slower=2.0)
    believed = made.costs.draft_step_s
    made.guess(made.drafter.readings()[0])
    for place in range(2, 20):
        made.drafter.extend([place])
        made.guess(made.drafter.readings()[0])
    assert made.costs.draft_step_s > 1.8 * believed


def test_a_pass_that_read_nothing_says_nothing_of_the_costs():
    """A history in which the draft has no word: nothing was evaluated."""

    class Wordless(ScriptedDraft):
        def read(self, *_: object) -> int:
            return 0

        def guess(self) -> None:
            return None

    made = bench()
    drafter = ModelDrafter(
        Wordless(script_of([1]), made.clock, lambda rows: 1.0), made.costs, made.acceptance, made.clock
    )
    drafter.begin([1])
    before = made.costs.draft_step_s
    assert drafter.draft((), 1, drafter.readings()[0]) == []
    assert made.costs.draft_step_s == before


def test_an_outcome_teaches_what_its_lead_means_what_the_pair_does_and_what_this_answer_does():
    made = bench()
    guess = made.guess(made.drafter.readings()[0])
    lead, model = made.acceptance.of_lead(8.0).mean, made.acceptance.model[0].mean
    for beliefs in guess.beliefs:
        learn(beliefs, False)
    assert made.acceptance.of_lead(8.0).mean < lead
    assert made.acceptance.model[0].mean < model
    made.drafter.extend([3])
    next_guess = made.guess(made.drafter.readings()[0])
    assert next_guess.chance < guess.chance


def test_an_outcome_teaches_too_what_a_draft_loses_that_has_not_read_all():
    made = bench(prompt=LONG_PROMPT)
    before = made.acceptance.of_context(24).mean
    guess = made.guess(made.drafter.readings()[0])
    for beliefs in guess.beliefs:
        learn(beliefs, True)
    assert made.acceptance.of_context(24).mean > before


def test_an_answer_without_a_guess_makes_it_forget_and_one_with_a_guess_does_not():
    made = bench()
    model = made.acceptance.model[0]
    for _ in range(20):
        learn([model], False)
    before = model.mean
    made.drafter.begin(made.history)
    assert model.mean > before, "nothing was guessed at the first answer"
    made.guess(made.drafter.readings()[0])
    before = model.mean
    made.drafter.begin(made.history)
    assert model.mean == before
