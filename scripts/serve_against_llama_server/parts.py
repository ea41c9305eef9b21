"""What is measured: one caller, eight at once, a conversation of ten turns, two conversations on one slot."""

import math
import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import perf_counter
from typing import Final

from edgespec.bench.interleave import turned
from edgespec.bench.prompts import Prompt, builtin_prompts
from edgespec.bench.statistics import mean_ratio, median, ratio_interval
from edgespec.chat.messages import ChatMessage

from .asking import Timed, ask
from .servers import EDGESPEC, LLAMA, Contest, both_started

ENGINE: Final = "edgespec run"
Asker = Callable[[Sequence[ChatMessage], int], Timed]
_TURNS: Final = (
    "Explain in a few sentences how a bicycle stays upright.",
    "Which part of that is the most disputed?",
    "Give an example that a child would understand.",
    "Now as a list of three points.",
    "What changes when the rider is very slow?",
    "And on ice?",
    "Compare it with a motorcycle.",
    "Which of the two is easier to model with equations, and why?",
    "Write down the simplest such equation and name its symbols.",
    "Sum all of this up in one paragraph.",
)
_OTHER_TURNS: Final = tuple(f"About tides: {turn[0].lower()}{turn[1:]}" for turn in _TURNS)


def chosen_prompts(limit: int) -> list[Prompt]:
    """The first of each kind."""
    kinds: dict[str, list[Prompt]] = {}
    for prompt in builtin_prompts():
        kind = kinds.setdefault(prompt.category, [])
        if len(kind) < limit:
            kind.append(prompt)
    return [prompt for kind in kinds.values() for prompt in kind]


def one_caller(contest: Contest, *, limit: int, repeat: int, max_tokens: int) -> None:
    """Every prompt from each in turn, also from an engine without a server."""
    prompts = chosen_prompts(limit)
    found: dict[str, dict[str, list[Timed]]] = {}
    with both_started(contest, 1) as ports, closing(_engine(contest)) as engine:
        askers: dict[str, Asker] = {name: _asker(port) for name, port in ports.items()}
        askers[ENGINE] = lambda messages, count: engine.send((messages, count))
        next(engine)
        for name, asker in askers.items():  # the first answer of each pays for what is made once
            asker(_numbered(prompts[0], f"warm-up of {name}"), 8)
        for number in range(repeat):
            for place, prompt in enumerate(prompts):
                messages = _numbered(prompt, f"{number}-{place}")
                for name in turned(list(askers), number + place):
                    answer = askers[name](messages, max_tokens)
                    found.setdefault(name, {}).setdefault(prompt.id, []).append(answer)
    for other in (ENGINE, LLAMA):
        _tell_ratio(f"tok/s of {EDGESPEC} over {other}", found, other, lambda one: one.tok_per_s)
        _tell_equal(found, other)
    for name, by_prompt in found.items():
        answers = [one for group in by_prompt.values() for one in group]
        firsts = median([one.first_s for one in answers])
        rates = statistics.geometric_mean([one.tok_per_s for one in answers if one.tok_per_s > 0])
        print(f"{name:<14} {rates:7.2f} tok/s, first token after {1000 * firsts:.1f} ms (median)")
    for other in (ENGINE, LLAMA):
        later = [
            1000 * (ours.first_s - theirs.first_s)
            for prompt, group in found[EDGESPEC].items()
            for ours, theirs in zip(group, found[other][prompt], strict=True)
        ]
        print(f"first token of {EDGESPEC} after that of {other}: {median(later):+.1f} ms (median of pairs)")


def many_callers(contest: Contest, *, n_callers: int, limit: int, repeat: int, max_tokens: int) -> None:
    """As many at once as there are places, from both in turn."""
    prompts = chosen_prompts(limit)
    groups = [prompts[i : i + n_callers] for i in range(0, len(prompts) - n_callers + 1, n_callers)]
    rates: dict[str, dict[str, list[float]]] = {EDGESPEC: {}, LLAMA: {}}
    answers: dict[str, dict[str, list[Timed]]] = {EDGESPEC: {}, LLAMA: {}}
    with both_started(contest, n_callers) as ports, ThreadPoolExecutor(n_callers) as callers:
        for number in range(repeat):
            for place, group in enumerate(groups):
                for name in turned(list(ports), number + place):
                    asked = [_numbered(prompt, f"{number}-{prompt.id}") for prompt in group]
                    began_s = perf_counter()
                    got = list(callers.map(lambda one, name=name: ask(ports[name], one, max_tokens), asked))
                    taken_s = perf_counter() - began_s
                    rates[name].setdefault(str(place), []).append(sum(one.n_tokens for one in got) / taken_s)
                    for prompt, one in zip(group, got, strict=True):
                        answers[name].setdefault(prompt.id, []).append(one)
                    print(f"{name:<14} {rates[name][str(place)][-1]:7.2f} tok/s in all", flush=True)
    ratios = {
        place: [a / b for a, b in zip(ours, rates[LLAMA][place], strict=True)]
        for place, ours in rates[EDGESPEC].items()
    }
    print(_ratio_line(f"tok/s of {n_callers} callers, {EDGESPEC} over {LLAMA}", ratios))
    for name, by_prompt in answers.items():
        gaps = sorted(gap for group in by_prompt.values() for one in group for gap in one.gaps_s)
        firsts = [one.first_s for group in by_prompt.values() for one in group]
        p95 = gaps[min(len(gaps) - 1, math.ceil(0.95 * len(gaps)) - 1)]
        print(
            f"{name:<14} between tokens: median {1000 * median(gaps):.1f} ms, 95th percentile {1000 * p95:.1f} ms, "
            f"longest {1000 * gaps[-1]:.0f} ms; first token after {1000 * median(firsts):.0f} ms (median)"
        )
    _tell_equal(answers, LLAMA)


def ten_turns(contest: Contest, *, max_tokens: int) -> None:
    """A conversation with both, turn by turn."""
    with both_started(contest, 1) as ports:
        talks = {name: _talk(port, _TURNS, max_tokens) for name, port in ports.items()}
        _tell_turns(talks, [f"turn {number}" for number in range(1, len(_TURNS) + 1)])


def two_conversations(contest: Contest, *, max_tokens: int) -> None:
    """Two conversations that take turns on one slot."""
    with both_started(contest, 1) as ports:
        talks = {name: _alternating(port, max_tokens) for name, port in ports.items()}
        labels = [f"turn {number} of {which}" for number in range(1, len(_TURNS) + 1) for which in "AB"]
        _tell_turns(talks, labels)


def _alternating(port: int, max_tokens: int) -> Iterator[Timed]:
    first, second = _talk(port, _TURNS, max_tokens), _talk(port, _OTHER_TURNS, max_tokens)
    for pair in zip(first, second, strict=True):
        yield from pair


def _talk(port: int, turns: Sequence[str], max_tokens: int) -> Iterator[Timed]:
    messages: list[ChatMessage] = []
    for turn in turns:
        messages.append(ChatMessage("user", turn))
        answer = ask(port, messages, max_tokens)
        messages.append(ChatMessage("assistant", answer.text))
        yield answer


def _tell_turns(talks: Mapping[str, Iterator[Timed]], labels: Sequence[str]) -> None:
    found: dict[str, list[Timed]] = {name: [] for name in talks}
    print(f"{'':<14} " + "".join(f"{name:>34}" for name in talks))
    for place, label in enumerate(labels):
        for name in turned(list(talks), place):
            found[name].append(next(talks[name]))
        columns = (found[name][-1] for name in talks)
        print(
            f"{label:<14} "
            + "".join(
                f"{one.n_read:8d} read, {one.first_s:6.2f} + {one.last_s - one.first_s:6.2f} s"
                for one in columns
            ),
            flush=True,
        )
    figures: dict[str, Callable[[Timed], float]] = {
        "time to the first token": lambda one: one.first_s,
        "time of a turn": lambda one: one.last_s,
    }
    for title, figure in figures.items():
        ratios = [figure(a) / figure(b) for a, b in zip(found[EDGESPEC], found[LLAMA], strict=True)]
        slower = sum(one > 1 for one in ratios)
        print(
            f"{title}: {EDGESPEC} over {LLAMA} {statistics.geometric_mean(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), longer in {slower} of {len(ratios)} turns"
        )
    equal = sum(a.text == b.text for a, b in zip(found[EDGESPEC], found[LLAMA], strict=True))
    print(f"{equal} of {len(labels)} texts equal")


def _numbered(prompt: Prompt, number: str) -> list[ChatMessage]:
    """Unlike all others from the first token on, so that no cache has it."""
    return [ChatMessage("system", f"Request {number}. Answer well."), *prompt.messages]


def _asker(port: int) -> Asker:
    return lambda messages, count: ask(port, messages, count)


def _engine(contest: Contest) -> Generator[Timed, tuple[Sequence[ChatMessage], int], None]:
    """An engine in this process, which is sent questions and yields answers; the first is empty."""
    from edgespec.session import open_pair
    from edgespec.session.settings import EngineSettings

    settings = EngineSettings(n_ctx=contest.n_ctx, n_threads=contest.threads)
    draft = str(contest.draft) if contest.draft else "none"
    with open_pair(str(contest.target), draft, settings=settings, offline=True) as session:
        answer = Timed()
        while True:
            messages, max_tokens = yield answer
            answer, began_s = Timed(), perf_counter()
            for number, token in enumerate(session.stream(messages, max_tokens=max_tokens), 1):
                answer.add(token.thought + token.text, number, perf_counter() - began_s)
            answer.n_read = session.stats.prompt_evaluated_n


def _tell_ratio(
    title: str,
    found: Mapping[str, Mapping[str, Sequence[Timed]]],
    other: str,
    figure: Callable[[Timed], float],
) -> None:
    ratios = {
        prompt: [
            figure(a) / figure(b)
            for a, b in zip(group, found[other][prompt], strict=True)
            if figure(a) > 0 and figure(b) > 0
        ]
        for prompt, group in found[EDGESPEC].items()
    }
    print(_ratio_line(title, ratios))


def _ratio_line(title: str, ratios: Mapping[str, Sequence[float]]) -> str:
    interval = ratio_interval(ratios)
    return f"{title}: {mean_ratio(ratios).value:.3f} ({interval.low:.3f} to {interval.high:.3f}, 95 %)"


def _tell_equal(found: Mapping[str, Mapping[str, Sequence[Timed]]], other: str) -> None:
    pairs = [
        (a.text, b.text)
        for prompt, group in found[EDGESPEC].items()
        for a, b in zip(group, found[other][prompt], strict=True)
    ]
    print(f"  {sum(a == b for a, b in pairs)} of {len(pairs)} texts equal to those of {other}")
