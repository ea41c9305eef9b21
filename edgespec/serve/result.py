"""What has come of a request so far, gathered from what the engine tells; its figures under llama.cpp's names."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgespec.chat.tools import ToolCall
from edgespec.decode.token import GenerationStats
from edgespec.serve.answers import Answers
from edgespec.session.shared.asked import Began, Ended, EndReason, TokenLogprob, Told, Wrote

_MS: Final = 1000.0


@dataclass(slots=True)
class Choice:
    """One of the answers."""

    text: str = ""
    thought: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    ended: Ended | None = None

    def add(self, wrote: Wrote) -> None:
        """More of it."""
        self.text += wrote.text
        self.thought += wrote.thought
        self.tokens += wrote.tokens
        self.logprobs += wrote.logprobs
        for delta in wrote.calls:
            while delta.index >= len(self.calls):
                self.calls.append(ToolCall(delta.id, delta.name, ""))
            call = self.calls[delta.index]
            self.calls[delta.index] = replace(call, arguments=call.arguments + delta.arguments)

    @property
    def finish_reason(self) -> str | None:
        """In OpenAI's words."""
        if self.ended is None:
            return None
        return finish_reason(self.ended)


def finish_reason(ended: Ended) -> str:
    """Why an answer ended, in OpenAI's words."""
    match ended.reason:
        case EndReason.STOP:
            return "stop"
        case EndReason.TOOL_CALLS:
            return "tool_calls"
        case EndReason.LENGTH | EndReason.CONTEXT:
            return "length"


class Result:
    """All choices of a request.

    Args:
        answers: Tell it.
    """

    def __init__(self, answers: Answers) -> None:
        self._offsets = answers.offsets
        self.choices = [Choice() for _ in range(answers.n_choices)]
        self._n_left = answers.n_choices
        self.prompt_n = self.cached_n = 0

    def add(self, told: Told) -> None:
        """Takes what was told."""
        match told:
            case Began():
                self.prompt_n += told.prompt_n
                self.cached_n += told.cached_n
            case Wrote():
                self.choices[self.place_of(told)].add(told)
            case Ended():
                self.choices[self.place_of(told)].ended = told
                self._n_left -= 1

    def place_of(self, told: Wrote | Ended) -> int:
        """Which choice of the request it is about, from 0."""
        return self._offsets[told.id] + told.choice

    @property
    def is_whole(self) -> bool:
        """Whether all choices have ended."""
        return not self._n_left

    @property
    def stats(self) -> list[GenerationStats]:
        """Of the choices that have ended."""
        return [choice.ended.stats for choice in self.choices if choice.ended is not None]

    @property
    def predicted_n(self) -> int:
        """Tokens of all answers."""
        return sum(stats.predicted_n for stats in self.stats)

    @property
    def thought_n(self) -> int:
        """Of these, the ones of thoughts."""
        return sum(stats.thought_n for stats in self.stats)

    def usage(self) -> dict[str, object]:
        """In OpenAI's form."""
        return {
            "prompt_tokens": self.prompt_n,
            "completion_tokens": self.predicted_n,
            "total_tokens": self.prompt_n + self.predicted_n,
            "prompt_tokens_details": {"cached_tokens": self.cached_n},
            "completion_tokens_details": {"reasoning_tokens": self.thought_n},
        }

    def timings(self) -> dict[str, object]:
        """In llama.cpp's form."""
        return timings_of(self.stats, self.prompt_n, self.cached_n)


def timings_of(stats: Sequence[GenerationStats], prompt_n: int, cached_n: int) -> dict[str, object]:
    """Figures of answers under llama.cpp's names, and whether speculation was on, and why.

    Args:
        stats: Of each answer.
        prompt_n: Tokens of the prompts.
        cached_n: Of these, the ones that were held already.
    """
    if not stats:
        return {}
    read_n = prompt_n - cached_n
    read_ms = max(one.prefill_s for one in stats) * _MS
    predicted_n = sum(one.predicted_n for one in stats)
    predicted_ms = max(one.decode_s for one in stats) * _MS
    # The first token of each answer belongs to the prompt's pass.
    decoded_n = max(0, predicted_n - len(stats))
    return {
        "cache_n": cached_n,
        "prompt_n": read_n,
        "prompt_ms": round(read_ms, 3),
        "prompt_per_token_ms": _ratio(read_ms, read_n),
        "prompt_per_second": _ratio(read_n * _MS, read_ms),
        "predicted_n": predicted_n,
        "predicted_ms": round(predicted_ms, 3),
        "predicted_per_token_ms": _ratio(predicted_ms, decoded_n),
        "predicted_per_second": _ratio(decoded_n * _MS, predicted_ms),
        "draft_n": sum(one.draft_n for one in stats),
        "draft_n_accepted": sum(one.draft_n_accepted for one in stats),
        "speculation": stats[0].why,
    }


def timings_so_far(result: Result, place: int) -> dict[str, object]:
    """What is known of an answer while it is written."""
    return {
        "cache_n": result.cached_n,
        "prompt_n": result.prompt_n - result.cached_n,
        "predicted_n": len(result.choices[place].tokens),
    }


def _ratio(above: float, below: float) -> float:
    return round(above / below, 3) if below else 0.0
