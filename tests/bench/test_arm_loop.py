"""The arm loop on tiny models: whose caches are read and dealt, whose texts are compared, and what a stop leaves."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench import arm_loop
from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.arm_loop import ArmLoop, TokenizedPrompt, tokenize_prompts
from edgespec.bench.prompts import Prompt
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.decode.token import Token
from edgespec.errors import NotEnoughMemoryError
from edgespec.llama.context import Context
from edgespec.llama.sampler import Sampling
from edgespec.session import EngineSettings
from edgespec.session.context_pair import ContextPair
from edgespec.session.engine import Engine
from tests.bench.wrong_tokens import FIRST_WRONG, accept_wrong_tokens, judge_strictly
from tests.session.eager import draft_eagerly

LENGTH = 16
PROMPTS = [
    Prompt(name, "chat", (ChatMessage("user", text),))
    for name, text in (("hat", "the cat and the hat"), ("numbers", "1 2 3 4 1 2 3 4 1 2 3 4 1 2"))
]


@pytest.fixture
def engines(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Engine]]:
    """A target with a draft, and another target whose texts are its own; whoever can draft does."""
    draft_eagerly(monkeypatch)
    settings = EngineSettings(n_threads=1)
    with ExitStack() as opened:
        drafted = Engine(open_file("tiny", tiny_model), [open_file("tiny-draft", tiny_draft)], settings)
        made = [drafted, Engine(open_file("other", tiny_draft), [], settings)]
        for engine in made:
            opened.callback(engine.close)
            for name in (None, *engine.drafts):
                engine.measure_costs(name)
        yield made


def spec(engine: Engine, mode: Mode, draft: str | None = None) -> ArmSpec:
    return ArmSpec(f"{engine.target.file.name} {mode}", engine, mode, draft, engine.states[draft])


def three_arms(engine: Engine) -> list[ArmSpec]:
    return [spec(engine, Mode.OFF), spec(engine, Mode.NGRAM), spec(engine, Mode.MODEL, "tiny-draft")]


def test_of_two_targets_each_reads_the_prompt_once_and_has_its_own_texts_compared(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
):
    first, second = engines
    specs = [*three_arms(first), spec(second, Mode.OFF), spec(second, Mode.NGRAM)]
    prompts = tokenize_prompts(first, PROMPTS)
    with ArmLoop(specs, prompts, LENGTH) as loop:
        read: list[tuple[Any, int]] = []
        prefill = Context.prefill
        monkeypatch.setattr(
            Context, "prefill", lambda own, ids: (read.append((own.model, len(ids))), prefill(own, ids))[1]
        )
        loop.run(prompts[0], 0, turn=1)
    whole = len(prompts[0].tokens)
    assert [model for model, count in read if count == whole] == [first.target.model, second.target.model]
    texts = [arm.samples[0].tokens for arm in loop.arms]
    assert texts[0] == texts[1] == texts[2] != texts[3] == texts[4]
    assert (loop.audit.compared, loop.audit.identical) == (3, 3)


def test_arms_of_one_target_share_the_time_of_the_reading(engines: list[Engine]):
    prompts = tokenize_prompts(engines[0], PROMPTS)
    with ArmLoop(three_arms(engines[0]), prompts, LENGTH) as loop:
        loop.run(prompts[0], 0, turn=0)
    (shared,) = {arm.stats.ttft_s for arm in loop.arms}
    for arm in loop.arms:
        assert arm.stats.prompt_evaluated_n == arm.stats.prompt_n == len(prompts[0].tokens)
        (sample,) = arm.samples
        assert (sample.ttft_s, sample.prompt_tok_per_s) == (shared, arm.stats.prompt_tok_per_s)
        assert sample.tok_per_s == pytest.approx((LENGTH - 1) / sample.decode_s)


def test_the_caches_of_a_target_go_round_among_its_arms(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
):
    first, second = engines
    specs = [spec(first, Mode.OFF), spec(second, Mode.OFF), spec(first, Mode.NGRAM), spec(first, Mode.AUTO)]
    prompts = tokenize_prompts(first, PROMPTS)
    dealt: dict[str, list[Context]] = {one.name: [] for one in specs}
    make = Arm.generator

    def spied(arm: Arm, state: Any, target: Context, sampling: Sampling) -> Any:
        dealt[arm.name].append(target)
        return make(arm, state, target, sampling)

    monkeypatch.setattr(Arm, "generator", spied)
    with ArmLoop(specs, prompts, 4) as loop:
        for turn in range(len(specs)):
            loop.run(prompts[0], turn, turn)
        own = {arm.name: arm.contexts.target for arm in loop.arms}
    assert dealt["other none"] == [own["other none"]] * len(specs)
    ring = {own[name] for name in ("tiny none", "tiny ngram", "tiny auto")}
    for name in ("tiny none", "tiny ngram", "tiny auto"):
        assert set(dealt[name]) == ring
    for turn in range(len(specs)):
        assert len({id(taken[turn]) for taken in dealt.values()}) == len(specs)


def test_who_looks_on_hears_of_every_token_in_turn_and_of_every_end(engines: list[Engine]):
    prompts = tokenize_prompts(engines[0], PROMPTS)
    heard: list[str] = []
    ended: list[str] = []
    counts: list[int] = []

    def came(arm: Arm, _token: Token) -> None:
        heard.append(arm.name)
        counts.append(arm.stats.predicted_n)

    specs = three_arms(engines[0])
    with ArmLoop(specs, prompts, LENGTH, came=came, ended=lambda arm: ended.append(arm.name)) as loop:
        loop.warm_up()
        assert heard == []
        loop.run(prompts[0], 0, turn=1)
    names = [one.name for one in specs]
    assert heard == [*names[1:], names[0]] * LENGTH
    assert counts == [number for number in range(1, LENGTH + 1) for _ in names]
    assert sorted(ended) == sorted(names)


def test_a_wrong_text_is_found_on_the_target_where_it_was_written(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
):
    accept_wrong_tokens(monkeypatch, "tiny-draft")
    judge_strictly(monkeypatch)
    first, second = engines
    prompts = tokenize_prompts(first, PROMPTS)
    with ArmLoop([*three_arms(first), spec(second, Mode.OFF)], prompts, LENGTH) as loop:
        for number, prompt in enumerate(prompts):
            loop.run(prompt, 0, turn=number)
    assert (loop.audit.compared, loop.audit.identical) == (4, 2)
    assert {one.arm for one in loop.audit.first_differences} == {"tiny model"}
    assert all(one.position >= FIRST_WRONG for one in loop.audit.first_differences)
    assert loop.audit.failed


def test_a_round_that_is_stopped_counts_for_no_arm(engines: list[Engine]):
    prompts = tokenize_prompts(engines[0], PROMPTS)
    heard: list[str] = []

    def came(arm: Arm, _token: Token) -> None:
        heard.append(arm.name)
        if len(heard) == 3 * LENGTH + 7:
            raise KeyboardInterrupt

    with ArmLoop(three_arms(engines[0]), prompts, LENGTH, came=came) as loop:
        loop.run(prompts[0], 0, turn=0)
        with pytest.raises(KeyboardInterrupt):
            loop.run(prompts[1], 0, turn=1)
        assert [len(arm.samples) for arm in loop.arms] == [1, 1, 1]
        assert loop.audit.compared == 2
        loop.run(prompts[1], 0, turn=1)
    assert [len(arm.samples) for arm in loop.arms] == [2, 2, 2]
    assert (loop.audit.compared, loop.audit.identical) == (4, 4)


def spy_on_openings(monkeypatch: pytest.MonkeyPatch, *, failing: int = -1) -> list[ContextPair]:
    """What is opened; the opening of that number fails as llama.cpp's would."""
    made: list[ContextPair] = []
    open_context_pair = Engine.open_context_pair

    def spied(engine: Engine, *arguments: Any) -> ContextPair:
        if len(made) == failing:
            raise NotEnoughMemoryError("no cache", "a smaller one")
        made.append(open_context_pair(engine, *arguments))
        return made[-1]

    monkeypatch.setattr(Engine, "open_context_pair", spied)
    return made


def test_arms_that_will_not_fit_are_refused_before_any_cache_is_opened(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
):
    made = spy_on_openings(monkeypatch)
    monkeypatch.setattr(arm_loop, "available_memory_bytes", lambda: 2 << 20)
    prompt = TokenizedPrompt("p", "chat", (5,) * 40)
    with pytest.raises(NotEnoughMemoryError, match=r"the caches of 3 arms .* would take \d.* 2.0 MiB free"):
        ArmLoop(three_arms(engines[0]), [prompt], LENGTH)
    assert made == []


def test_where_a_cache_cannot_be_had_those_before_it_are_freed(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
):
    made = spy_on_openings(monkeypatch, failing=2)
    with pytest.raises(NotEnoughMemoryError, match="no cache"):
        ArmLoop(three_arms(engines[0]), tokenize_prompts(engines[0], PROMPTS), LENGTH)
    assert len(made) == 2
    assert all(pair.target.handle is None for pair in made)
