"""Reads the pieces in which a server sends an answer, and the figures beside them, whichever of them it gives."""

import math
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Final

from edgespec.chat.thoughts import Parts, make_reader
from edgespec.decode.token import GenerationStats
from edgespec.worker.remote.connection import DONE
from edgespec.worker.remote.models import count_of
from edgespec.worker.remote.tool_fields import CallPieces

_NO_FIGURES: Final = "speculation unknown: the server gives no figures"
_NO_DRAFTS: Final = "speculation off, as far as the server tells"
_ENDS: Final = {"stop": "eog", "tool_calls": "eog", "length": "length"}


class AnswerReader:
    """One answer of OpenAI's protocol: of chat or of plain completions, streamed or whole.

    A figure that the server does not give stays 0.

    Args:
        max_tokens: The limit that was asked for.
        calls: Takes those of the answer.
    """

    def __init__(self, max_tokens: int, calls: CallPieces | None = None) -> None:
        self.stats = GenerationStats(why=_NO_FIGURES)
        self.notes: list[str] = []
        self.has_timings = False
        self.has_ended = False
        """The server said so."""
        self._max_tokens = max_tokens
        self._began_s = perf_counter()
        self._first_s = self._last_s = 0.0
        self._times_itself = False
        """The server tells how long it took."""
        self._has_field = False
        """Thoughts come in a field of their own; else they may stand between marks in the text."""
        self._tags = make_reader(None, "")
        self.calls = calls or CallPieces()

    def add(self, chunk: object) -> Parts:
        """What became sure with a piece."""
        if not isinstance(chunk, Mapping):
            self.has_ended = self.has_ended or chunk == DONE
            return Parts()
        self._read_figures(chunk)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            return Parts()
        parts = self._read_text(choice)
        self._time_here()
        if reason := choice.get("finish_reason"):
            self._end(str(reason))
        return parts

    @property
    def seen_s(self) -> float:
        """From the first piece to the last, as seen from here."""
        return self._last_s - self._first_s

    def finish(self) -> Parts:
        """It is whole: what was held back. Called once."""
        parts = self._told(self._tags.finish()) + Parts(self.calls.finish())
        self._time_here()
        if not self.stats.stopped:
            self.stats.stopped = "eog"
        # Of llama-server a full context has the same reason as a limit.
        if self.stats.stopped == "length" and 0 < self.stats.predicted_n < self._max_tokens:
            self.stats.stopped = "context"
        return parts

    def _read_text(self, choice: Mapping[str, Any]) -> Parts:
        delta = choice.get("delta") or choice.get("message") or choice
        if not isinstance(delta, Mapping):
            return Parts()
        self.calls.add(delta)
        thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        text = _text(delta.get("content")) or _text(delta.get("text"))
        if thought or text:
            self._note_time(is_thought=bool(thought))
        self._has_field = self._has_field or bool(thought)
        if self._has_field:
            return self._told(Parts(text, thought))
        return self._told(self._tags.add(text)) if text else Parts()

    def _told(self, parts: Parts) -> Parts:
        return replace(parts, answer=self.calls.read_text(parts.answer))

    def _note_time(self, *, is_thought: bool) -> None:
        now_s, stats = perf_counter(), self.stats
        if not self._first_s:
            self._first_s = now_s
            stats.ttft_s = now_s - self._began_s
        self._last_s = now_s
        if is_thought or self._tags.in_thought:
            stats.thought_s = now_s - self._first_s

    def _time_here(self) -> None:
        """Of a server that counts tokens and tells no times, those of this side are the answer's."""
        if self.stats.predicted_n and not self._times_itself:
            self.stats.decode_s = self.seen_s

    def _end(self, reason: str) -> None:
        self.has_ended = True
        self.stats.stopped = _ENDS.get(reason, "eog")
        if reason == "content_filter":
            self.notes.append("the server's own filter ended the answer")

    def _read_figures(self, chunk: Mapping[str, Any]) -> None:
        stats, timings, usage = self.stats, chunk.get("timings"), chunk.get("usage")
        if isinstance(usage, Mapping):
            stats.prompt_n = count_of(usage.get("prompt_tokens"))
            stats.predicted_n = count_of(usage.get("completion_tokens"))
            stats.prompt_evaluated_n = stats.prompt_n - _detail(
                usage, "prompt_tokens_details", "cached_tokens"
            )
            stats.thought_n = _detail(usage, "completion_tokens_details", "reasoning_tokens")
            if stats.why == _NO_FIGURES:
                stats.why = "speculation unknown: the server does not tell"
        if isinstance(timings, Mapping):
            self._read_timings(timings)

    def _read_timings(self, timings: Mapping[str, Any]) -> None:
        """llama.cpp's names, to which edgespec's own server adds some."""
        stats, self.has_timings = self.stats, True
        stats.prompt_evaluated_n = count_of(timings.get("prompt_n"))
        stats.prompt_n = stats.prompt_evaluated_n + count_of(timings.get("cache_n"))
        stats.predicted_n = count_of(timings.get("predicted_n"))
        stats.prefill_s = _seconds(timings.get("prompt_ms"))
        stats.decode_s = _seconds(timings.get("predicted_ms"))
        stats.draft_n = count_of(timings.get("draft_n"))
        stats.draft_n_accepted = min(count_of(timings.get("draft_n_accepted")), stats.draft_n)
        self._times_itself = stats.decode_s > 0
        told = _text(timings.get("speculation"))
        if told or stats.draft_n:
            stats.why = told or f"speculation on: {stats.draft_n_accepted} of {stats.draft_n} tokens accepted"
        else:
            stats.why = _NO_DRAFTS


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    found = usage.get(group)
    return count_of(found.get(name)) if isinstance(found, Mapping) else 0


def _seconds(milliseconds: object) -> float:
    is_time = isinstance(milliseconds, int | float) and math.isfinite(milliseconds) and milliseconds > 0
    return float(milliseconds) / 1000 if is_time and isinstance(milliseconds, int | float) else 0.0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
