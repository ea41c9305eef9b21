"""The race as a measurement, on a tiny pair: arms side by side, texts audited, rounds added up, stops that leave no trace."""

import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgespec.bench import arm_loop
from edgespec.bench.result import BenchResult
from edgespec.bench.verdict import verdict
from edgespec.decode.policy import Mode
from edgespec.decode.token import Token
from edgespec.errors import ContextOverflowError, NotEnoughMemoryError
from edgespec.session import EngineSettings, Session, open_pair
from edgespec.worker.protocol import AnyEvent, RaceAdvanced, RunRace, TokensArrived
from edgespec.worker.race import run_race
from edgespec.worker.token_stream import TokenStream
from tests.bench.wrong_tokens import accept_wrong_tokens, judge_strictly
from tests.session.eager import draft_eagerly

PROMPT = "once upon a time there was a cat and a hat and a cat and a hat"
MODES = (Mode.OFF, Mode.MODEL, Mode.AUTO)
ARMS = ["plain", "tiny-draft", "auto"]
LENGTH = 24


@dataclass
class Heard:
    """The app's end of the link."""

    events: list[AnyEvent] = field(default_factory=list)
    watch: Callable[[AnyEvent], None] = lambda _event: None

    def send(self, event: AnyEvent) -> None:
        self.events.append(event)
        self.watch(event)

    @property
    def advanced(self) -> list[RaceAdvanced]:
        return [event for event in self.events if isinstance(event, RaceAdvanced)]

    def text_of(self, arm: str) -> str:
        return "".join(e.text for e in self.events if isinstance(e, TokensArrived) and e.arm == arm)


@pytest.fixture
def session(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    draft_eagerly(monkeypatch)
    with open_pair(tiny_model, tiny_draft, settings=EngineSettings(n_threads=1)) as opened:
        yield opened


def race(session: Session, earlier: BenchResult | None = None, modes: tuple[Mode, ...] = MODES) -> Heard:
    heard = Heard()
    run_race(session, RunRace(PROMPT, modes, LENGTH, earlier), heard)  # type: ignore[arg-type]
    return heard


def test_all_arms_come_in_with_equal_audited_texts(session: Session):
    heard = race(session)
    assert [one.arm for one in heard.advanced] == ARMS
    assert [one.is_last for one in heard.advanced] == [False, False, True]
    result = heard.advanced[-1].result
    assert [arm.name for arm in result.arms] == ARMS
    assert [arm.draft for arm in result.arms] == [None, "tiny-draft", "tiny-draft"]
    (tokens,) = {arm.samples[0].tokens for arm in result.arms}
    assert len(tokens) == LENGTH
    assert (result.audit.compared, result.audit.identical) == (2, 2)
    assert result.calibration.t_d_s["tiny-draft"] > 0
    # What the panes show is what was compared.
    (text,) = {heard.text_of(arm) for arm in ARMS}
    assert text == "".join(token.text for token in session.stream(PROMPT, max_tokens=LENGTH))


def test_the_tokens_of_the_arms_alternate(session: Session, monkeypatch: pytest.MonkeyPatch):
    came: list[tuple[str, int]] = []
    add = TokenStream.add

    def noted(stream: TokenStream, token: Token) -> None:
        came.append((stream._arm, token.id))
        add(stream, token)

    monkeypatch.setattr(TokenStream, "add", noted)
    earlier = race(session).advanced[-1].result
    assert [arm for arm, _ in came] == ARMS * LENGTH
    assert [token for arm, token in came if arm == "auto"] == list(earlier.arms[2].samples[0].tokens)
    came.clear()
    race(session, earlier)
    assert [arm for arm, _ in came] == [*ARMS[1:], ARMS[0]] * LENGTH


def test_the_figures_mean_what_those_of_a_benchmark_mean(session: Session):
    result = race(session).advanced[-1].result
    (ttft_s,) = {arm.samples[0].ttft_s for arm in result.arms}
    assert ttft_s > 0
    for advanced, arm in zip(race(session, result).advanced, result.arms, strict=True):
        (sample,) = arm.samples
        assert sample.tok_per_s == pytest.approx((sample.predicted_n - 1) / sample.decode_s)
        assert sample.prompt_tok_per_s == pytest.approx(sample.prompt_n / sample.ttft_s)
        assert sample.predicted_n - 1 == sample.target_passes + sample.draft_n_accepted
        assert sample.stopped == "length"
        assert arm.peak_memory_bytes > 1 << 20
        assert advanced.stats.prompt_evaluated_n == advanced.stats.prompt_n == sample.prompt_n
        assert advanced.stats.ttft_s == advanced.result.arms[0].samples[1].ttft_s
    assert result.arms[0].samples[0].draft_n == 0
    assert all(arm.samples[0].draft_n > 0 for arm in result.arms[1:])
    assert result.arms[0].speedup == 1.0
    assert result.arms[2].speedup == pytest.approx(result.arms[2].tok_per_s / result.arms[0].tok_per_s)


def test_rounds_add_up_and_are_paired(session: Session):
    first = race(session).advanced[-1].result
    second = race(session, first).advanced[-1].result
    assert (second.run_id, second.started_at) == (first.run_id, first.started_at)
    assert [[sample.repeat for sample in arm.samples] for arm in second.arms] == [[0, 1]] * 3
    assert (second.audit.compared, second.audit.identical) == (4, 4)
    assert "single answer" in verdict(first)
    assert "single answer" not in verdict(second)


def test_without_a_draft_model_the_text_itself_drafts(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    draft_eagerly(monkeypatch)
    with open_pair(tiny_model, "none", settings=EngineSettings(n_threads=1)) as session:
        result = race(session, modes=(Mode.OFF, Mode.NGRAM, Mode.AUTO)).advanced[-1].result
    assert [arm.name for arm in result.arms] == ["plain", "ngram", "auto"]
    assert (result.audit.compared, result.audit.identical) == (2, 2)


def test_a_wrong_text_is_not_a_victory(session: Session, monkeypatch: pytest.MonkeyPatch):
    accept_wrong_tokens(monkeypatch, "auto")
    judge_strictly(monkeypatch)
    result = race(session).advanced[-1].result
    assert result.audit.failed
    assert {one.arm for one in result.audit.first_differences} == {"auto"}
    assert verdict(result).startswith("do not trust these figures: 1 output differs from plain decoding")
    # A later round does not make it forgotten.
    assert race(session, result).advanced[-1].result.audit.failed


def test_the_conversation_stays_in_its_cache(session: Session):
    answer = "".join(token.text for token in session.stream("the cat", max_tokens=8))
    before = list(session.engine.target.context.tokens)
    learnt = deepcopy(session.state.acceptance)
    race(session)
    assert session.engine.target.context.tokens == before
    assert session.state.acceptance == learnt
    assert "".join(token.text for token in session.stream("the cat", max_tokens=8)) == answer
    assert session.stats.prompt_evaluated_n == 1


def stop_at(count: int) -> Heard:
    """An app that stops the race, by the worker's own signal, when it has heard of so many batches of tokens."""
    heard = Heard()

    def watch(_event: AnyEvent) -> None:
        if len(heard.events) == count:
            signal.raise_signal(signal.SIGINT)

    heard.watch = watch
    return heard


def test_a_stop_keeps_what_came_and_the_next_round_is_whole(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgespec.worker.token_stream.BATCH_S", 0.0)
    earlier = race(session).advanced[-1].result
    whole = race(session, earlier).text_of("auto")
    heard = stop_at(20)
    with pytest.raises(KeyboardInterrupt):
        run_race(session, RunRace(PROMPT, MODES, LENGTH, earlier), heard)  # type: ignore[arg-type]
    assert heard.advanced == []
    assert len(heard.events) >= 20
    for arm in ARMS:
        text = heard.text_of(arm)
        assert text and whole.startswith(text) and text != whole
    result = race(session, earlier).advanced[-1].result
    assert [[sample.repeat for sample in arm.samples] for arm in result.arms] == [[0, 1]] * 3


def test_arms_that_do_not_fit_are_refused_in_words(session: Session, monkeypatch: pytest.MonkeyPatch):
    before = list(session.stream("the cat", max_tokens=4))
    monkeypatch.setattr(arm_loop, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(NotEnoughMemoryError, match="the caches of 3 arms side by side would take"):
        race(session)
    assert [token.id for token in session.stream("the cat", max_tokens=4)] == [token.id for token in before]


def test_a_prompt_longer_than_the_context_is_refused(session: Session):
    with pytest.raises(ContextOverflowError):
        run_race(session, RunRace("x " * 2000, MODES, LENGTH), Heard())  # type: ignore[arg-type]
