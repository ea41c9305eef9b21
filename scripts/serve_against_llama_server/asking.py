"""One question to either server, as a reader sees its answer: when what came."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from time import perf_counter
from typing import Any

from edgespec.chat.messages import ChatMessage


@dataclass(slots=True)
class Timed:
    """An answer; times in seconds from the question on."""

    text: str = ""
    first_s: float = 0.0
    last_s: float = 0.0
    first_n: int = 1
    """Tokens that came at first."""
    n_tokens: int = 0
    n_read: int = 0
    """Tokens of the prompt that were evaluated."""
    gaps_s: list[float] = field(default_factory=list)
    """Before each token but the first; those that came together have waited for the first of them."""

    def add(self, text: str, n_tokens: int, now_s: float) -> None:
        """More of it came.

        Args:
            text: What is new.
            n_tokens: All so far.
            now_s: When.
        """
        if not self.n_tokens:
            self.first_s = self.last_s = now_s
            self.first_n = n_tokens
            self.gaps_s += [0.0] * max(0, n_tokens - 1)
        elif n_tokens > self.n_tokens:
            self.gaps_s += [now_s - self.last_s, *[0.0] * (n_tokens - self.n_tokens - 1)]
        self.text += text
        self.last_s, self.n_tokens = now_s, max(self.n_tokens, n_tokens)

    @property
    def tok_per_s(self) -> float:
        """Of those after the first ones, as they arrived."""
        taken_s = self.last_s - self.first_s
        return (self.n_tokens - self.first_n) / taken_s if taken_s > 0 else 0.0


def ask(port: int, messages: Sequence[ChatMessage], max_tokens: int) -> Timed:
    """Asks greedily and reads the stream."""
    body: dict[str, Any] = {
        "messages": [{"role": one.role, "content": one.content} for one in messages],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,
    }
    found = Timed()
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.connect()
        began_s = perf_counter()
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.read()[:500]!r}")
        for line in answer:
            now_s = perf_counter() - began_s
            data = line.removeprefix(b"data: ").strip()
            if line.startswith(b"data: ") and data != b"[DONE]":
                _read(found, json.loads(data), now_s)
    return found


def _read(found: Timed, event: dict[str, Any], now_s: float) -> None:
    if event.get("error"):
        raise RuntimeError(str(event["error"]))
    choices, timings = event.get("choices") or [], event.get("timings") or {}
    delta = choices[0].get("delta", {}) if choices else {}
    text = (delta.get("reasoning_content") or "") + (delta.get("content") or "")
    if text:
        found.add(text, int(timings.get("predicted_n") or found.n_tokens + 1), now_s)
    found.n_read = int(timings.get("prompt_n", found.n_read))
    if usage := event.get("usage"):
        # A token that ends the answer, or has no text of its own, is one, too.
        found.n_tokens = int(usage["completion_tokens"])
