"""A whole benchmark on tiny models: arms, order, audit, progress, and what is recorded."""

import json
import platform
from pathlib import Path
from typing import Any

import gguf
import pytest

from edgespec.bench.arm_loop import ARM_WARM_UP_TOKENS, tokenize_prompts
from edgespec.bench.document import to_json
from edgespec.bench.prompts import Prompt
from edgespec.bench.summary import arm_name
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode
from edgespec.errors import ContextOverflowError
from edgespec.llama.context import Context
from edgespec.llama.sampler import Sampling
from edgespec.session import EngineSettings
from edgespec.session.context_pair import ContextPair
from edgespec.session.engine import Engine
from tests.bench.conftest import ARMS, PROMPTS, Spy, bench, interrupt_at
from tests.bench.wrong_tokens import FIRST_WRONG, accept_wrong_tokens
from tests.recorded_progress import RecordedProgress
from tests.tiny import CHAT_TEMPLATE, make_tiny_model


def test_every_arm_answers_every_prompt_in_every_repeat(engine: Engine, store: Spy):
    result = bench(engine, store)
    assert [arm.name for arm in result.arms] == ARMS
    for arm in result.arms:
        places = [(sample.repeat, sample.prompt_id) for sample in arm.samples]
        assert places == [(repeat, prompt.id) for repeat in range(2) for prompt in PROMPTS]
        assert set(arm.by_category) == {"chat", "edit"}
        assert all(sample.predicted_n == len(sample.tokens) == 24 for sample in arm.samples)
    assert result.complete


def test_the_text_of_all_arms_is_audited_and_equal(engine: Engine, store: Spy):
    result = bench(engine, store)
    assert result.audit.compared == 4 * len(PROMPTS) * 2
    assert result.audit.identical == result.audit.compared
    plain = result.arms[0]
    for arm in result.arms[1:]:
        assert [sample.tokens for sample in arm.samples] == [sample.tokens for sample in plain.samples]
    drafted = {arm.name: sum(sample.draft_n for sample in arm.samples) for arm in result.arms}
    assert drafted["plain"] == 0
    assert min(drafted["tiny-draft"], drafted["tiny-bpe"], drafted["auto"]) > 20


def test_the_figures_of_a_sample_agree_with_each_other(engine: Engine, store: Spy):
    for arm in bench(engine, store).arms:
        for sample in arm.samples:
            assert sample.tok_per_s == pytest.approx((sample.predicted_n - 1) / sample.decode_s)
            assert sample.prompt_tok_per_s == pytest.approx(sample.prompt_n / sample.ttft_s)
            assert sample.predicted_n - 1 == sample.target_passes + sample.draft_n_accepted
            assert sum(tested for _, tested in sample.accepted_per_position) == sample.draft_n
            assert sum(held for held, _ in sample.accepted_per_position) == sample.draft_n_accepted
            assert sample.verify_s + sample.draft_s <= sample.decode_s
            assert sample.stopped == "length"


def test_a_prompt_is_read_once_from_its_start_for_all_arms(
    engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch
):
    read: list[tuple[int, int]] = []
    prefill = Context.prefill

    def note(context: Context, tokens: list[int]) -> None:
        if len(tokens) > 1:
            read.append((context.n_past, len(tokens)))
        prefill(context, tokens)

    monkeypatch.setattr(Context, "prefill", note)
    plain, *others = bench(engine, store, repeat=1).arms
    prompt_n = [sample.prompt_n for sample in plain.samples]
    # Before that, measuring the costs and warming up read texts of their own.
    assert read[-len(PROMPTS) - 1 :] == [(0, prompt_n[0]), *((0, count) for count in prompt_n)]
    for arm in others:
        assert [sample.ttft_s for sample in arm.samples] == [sample.ttft_s for sample in plain.samples]


def spy_on_tokens(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[int]]:
    """The names of the arms whose tokens come, and how many rows each draft holds when an answer begins."""
    names: list[str] = []
    rows: list[int] = []
    make = Engine.generator

    def spied(
        engine: Engine, mode: Mode, draft: Any, sampling: Any, state: Any, contexts: ContextPair, length: Any
    ) -> Generator:
        generator = make(engine, mode, draft, sampling, state, contexts, length)
        name = arm_name(mode, draft, length)
        generate = generator.generate

        def noted(*arguments: Any) -> Any:
            if contexts.draft:
                rows.append(contexts.draft.n_past)
            for token in generate(*arguments):
                names.append(name)
                yield token

        monkeypatch.setattr(generator, "generate", noted)
        return generator

    monkeypatch.setattr(Engine, "generator", spied)
    return names, rows


def test_the_arms_answer_side_by_side_and_another_one_goes_first_each_time(
    engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch
):
    names, _ = spy_on_tokens(monkeypatch)
    bench(engine, store, repeat=1)
    first, per_prompt = len(ARMS) * ARM_WARM_UP_TOKENS, len(ARMS) * 24
    assert len(names) == first + len(PROMPTS) * per_prompt
    for number in range(len(PROMPTS)):
        answer = names[first + number * per_prompt :][:per_prompt]
        turned = [*ARMS[number:], *ARMS[:number]]
        assert list(dict.fromkeys(answer)) == turned
        for place in range(per_prompt):
            counts = [answer[:place].count(name) for name in turned]
            assert max(counts) - min(counts) <= 1


def test_progress_counts_the_tokens_of_the_answers(engine: Engine, store: Spy):
    told = RecordedProgress()
    bench(engine, store, told, repeat=1)
    reports = [report for report in told.steps if not report[2].startswith("measuring")]
    # Once at the begin of a prompt, and at the end of each answer.
    answers = [*range(6), *range(5, 11), *range(10, 16)]
    assert [done for done, _, _ in reports] == [24 * number for number in answers]
    assert {total for _, total, _ in reports} == {15 * 24}
    labels = dict.fromkeys(label for _, _, label in reports)
    assert list(labels) == ["chat: p0, tokens", "chat: p1, tokens", "edit: p2, tokens"]


def ending_after(path: Path, length: int) -> Path:
    """A model that ends its answer to the first prompt with token `length`, and the others as late as ever."""
    make_tiny_model(path, chat_template=CHAT_TEMPLATE)
    with Engine(open_file("endless", path), [], EngineSettings(n_threads=1)) as engine:
        state = engine.measure_costs(None)
        texts = [
            [
                token.id
                for token in engine.generator(Mode.OFF, None, Sampling(), state).generate(prompt.tokens, 24)
            ]
            for prompt in tokenize_prompts(engine, PROMPTS)
        ]
    last = texts[0][length - 1]
    assert last not in [*texts[0][: length - 1], *texts[1], *texts[2]]
    field = gguf.GGUFReader(path, "r+").fields["tokenizer.ggml.eos_token_id"]
    field.parts[field.data[0]][0] = last
    return path


def test_a_short_answer_is_timed_more_often_and_progress_knows_by_how_much(store: Spy, tmp_path: Path):
    told = RecordedProgress()
    model = open_file("short", ending_after(tmp_path / "short.gguf", 7))
    with Engine(model, [], EngineSettings(n_threads=1)) as engine:
        plain = bench(engine, store, told, repeat=2).arms[0]
    counts = {prompt.id: sum(one.prompt_id == prompt.id for one in plain.samples) for prompt in PROMPTS}
    # ceil(2 * 24 / 7)
    assert counts == {"p0": 7, "p1": 2, "p2": 2}
    reports = [report for report in told.steps if not report[2].startswith("measuring")]
    whole = 3 * (7 * 7 + 2 * 24 + 2 * 24)
    assert reports[0][:2] == (0, 3 * 3 * 2 * 24)
    assert {total for done, total, _ in reports if done > 3 * 7} == {whole}
    assert reports[-1][0] == whole


def test_a_draft_starts_empty_for_every_answer(engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch):
    _, rows = spy_on_tokens(monkeypatch)
    bench(engine, store, repeat=2)
    assert rows == [0] * (3 * (1 + 2 * len(PROMPTS)))


def test_the_arms_own_contexts_are_freed(engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch):
    made: list[ContextPair] = []
    open_context_pair = Engine.open_context_pair

    def spied(engine: Engine, *arguments: Any) -> ContextPair:
        made.append(open_context_pair(engine, *arguments))
        return made[-1]

    monkeypatch.setattr(Engine, "open_context_pair", spied)
    bench(engine, store, interrupt_at(7))
    assert [pair.draft is not None for pair in made] == [False, True, True, False, True]
    assert all(context.handle is None for pair in made for context in (pair.target, pair.draft) if context)


def test_what_one_arm_learns_is_not_known_to_another(engine: Engine, store: Spy):
    bench(engine, store, repeat=1)
    for state in engine.states.values():
        assert state.acceptance == Acceptance()


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_measured(engine: Engine, store: Spy):
    long = Prompt("long", "chat", (ChatMessage("user", "x" * 600),))
    told = RecordedProgress()
    with pytest.raises(ContextOverflowError, match="the context 512"):
        bench(engine, store, told, (*PROMPTS, long))
    assert (told.steps, store.saved) == ([], [])


def test_an_arm_that_accepts_wrong_tokens_fails_the_audit(
    engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch
):
    accept_wrong_tokens(monkeypatch, "ngram")
    audit = bench(engine, store, repeat=1).audit
    assert audit.failed
    assert (audit.compared, audit.identical) == (12, 9)
    assert {difference.arm for difference in audit.first_differences} == {"ngram"}
    assert all(difference.position >= FIRST_WRONG for difference in audit.first_differences)
    assert any(difference.large for difference in audit.first_differences)
    assert store.load("latest").audit == audit


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.8, seed=3), Sampling(repeat_penalty=1.2)])
def test_answers_that_are_not_plain_greedy_are_compared_and_not_judged(
    engine: Engine, store: Spy, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
):
    accept_wrong_tokens(monkeypatch, "ngram")
    audit = bench(engine, store, repeat=1, sampling=sampling).audit
    assert (audit.compared, audit.identical) == (12, 9)
    assert not audit.failed


def test_a_seed_gives_every_arm_the_same_sample(engine: Engine, store: Spy):
    result = bench(engine, store, repeat=1, sampling=Sampling(temperature=0.8, seed=3))
    assert result.audit.identical == result.audit.compared == 12
    greedy = bench(engine, store, repeat=1)
    assert result.arms[0].samples[0].tokens != greedy.arms[0].samples[0].tokens


def test_costs_and_memory_are_recorded(engine: Engine, store: Spy):
    result = bench(engine, store, repeat=1)
    assert set(result.calibration.t_d_s) == {"tiny-draft", "tiny-bpe"}
    assert {1, 2, 3, 4, 8, 16} <= set(result.calibration.t_v_s)
    assert list(result.calibration.t_v_s) == sorted(result.calibration.t_v_s)
    assert min(result.calibration.t_v_s.values()) > 0
    by_name = {arm.name: arm for arm in result.arms}
    assert by_name["tiny-draft"].t_d_s == result.calibration.t_d_s["tiny-draft"]
    assert by_name["plain"].t_d_s is None
    assert by_name["auto"].draft in ("tiny-draft", "tiny-bpe")
    drafts = sum(draft.memory_bytes for draft in engine.drafts.values())
    assert by_name["plain"].peak_memory_bytes > 1 << 20
    assert by_name["plain"].peak_memory_bytes <= by_name["auto"].peak_memory_bytes + drafts


def test_the_record_names_versions_and_files_and_nobody(engine: Engine, store: Spy, tmp_path: Path):
    result = bench(engine, store, repeat=1, prompts=PROMPTS[:1])
    text = to_json(result)
    assert result.env["n_threads"] == 1
    assert result.env["target"]["file"] == "tiny.gguf"
    assert set(result.env["drafts"]) == {"tiny-draft", "tiny-bpe"}
    assert result.settings["max_tokens"] == 24
    assert json.loads(text)["settings"]["sampling"]["temperature"] == 0.0
    for private in (str(tmp_path.parent), str(Path.home()), platform.node()):
        # A machine may be called after its processor or system.
        assert len(private) < 8 or json.dumps(private)[1:-1] not in text


def test_a_target_alone_has_three_arms(tiny_model: Path, store: Spy):
    with Engine(open_file("tiny", tiny_model), [], EngineSettings(n_threads=1)) as engine:
        result = bench(engine, store, repeat=1)
    assert [arm.name for arm in result.arms] == ["plain", "ngram", "auto"]
    assert result.arms[2].draft is None
    assert "both" not in result.arms[2].note
    assert result.calibration.t_d_s == {}
