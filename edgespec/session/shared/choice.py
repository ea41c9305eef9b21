"""One answer as whoever asked for it sees it: tokens become text, thoughts and log probabilities, and end where they are to."""

from typing import Final

from edgespec.chat.answers import AnswerParts
from edgespec.chat.thinking import TokenReader
from edgespec.decode.shared.answer import Answer
from edgespec.decode.shared.batch import Got
from edgespec.decode.shared.picker import Likelihood
from edgespec.llama.model import Model
from edgespec.session.shared.asked import Ask, EndReason, TokenLogprob, Wrote
from edgespec.session.shared.stops import StopReader

_REASONS: Final = {
    "eog": EndReason.STOP,
    "stop": EndReason.STOP,
    "length": EndReason.LENGTH,
    "context": EndReason.CONTEXT,
}


class Choice:
    """One of the answers to an `Ask`.

    Args:
        ask: What was asked.
        number: Of the choice, from 0.
        answer: Its tokens.
        reader: Of its thoughts.
        model: The target.
    """

    def __init__(self, ask: Ask, number: int, answer: Answer, reader: TokenReader, model: Model) -> None:
        self.ask, self.number, self.answer = ask, number, answer
        self._reader, self._model = reader, model
        self._stops = StopReader(ask.stops)
        self._has_line = False

    @property
    def is_whole(self) -> bool:
        """Whether it has ended."""
        return bool(self.answer.stats.stopped)

    @property
    def reason(self) -> EndReason:
        """Why it ended."""
        if self._reader.call_n and self.answer.stats.stopped == "eog":
            return EndReason.TOOL_CALLS
        return _REASONS[self.answer.stats.stopped]

    @property
    def stop(self) -> str:
        """The stop text that ended it, if one did."""
        return self._stops.found

    def read(self, got: Got, round_s: float) -> Wrote:
        """What a round brought, told; tokens behind its end are left out.

        Args:
            got: What the round brought.
            round_s: Seconds since the round before.
        """
        answer, stats = self.answer, self.answer.stats
        parts, tokens = AnswerParts(), list[int]()
        for token in got.tokens:
            tokens.append(token)
            text = answer.take(token)
            read = self._reader.read(token, text, stats, round_s / len(got.tokens))
            ending = self._reader.end_thought(stats)
            if ending:
                read += ending.parts
            parts += AnswerParts(self._stops.add(read.text), read.thought, read.calls)
            if self._stops.found:
                stats.stopped = "stop"
            elif self._is_late(text) and not stats.stopped:
                stats.stopped = "length"
            if stats.stopped:
                parts += AnswerParts(self._stops.finish())
                break
            if ending:
                answer.insert(ending.tokens)
                break
        logprobs = self._logprobs(len(tokens))
        return Wrote(
            self.ask.id,
            self.number,
            text=parts.text,
            thought=parts.thought,
            calls=parts.calls,
            tokens=tuple(tokens),
            logprobs=logprobs,
        )

    def _is_late(self, text: str) -> bool:
        """Whether its time is over; the first line is written to its end whatever time it takes."""
        self._has_line = self._has_line or "\n" in text
        most_s = self.ask.most_decode_s
        return most_s is not None and self._has_line and self.answer.stats.decode_s >= most_s

    def _logprobs(self, count: int) -> tuple[TokenLogprob, ...]:
        picker = self.answer.picker
        if picker is None or self.ask.logprobs_n is None:
            return ()
        likelihoods = picker.likelihoods[:count]
        picker.likelihoods.clear()
        return tuple(self._told(one) for one in likelihoods)

    def _told(self, one: Likelihood) -> TokenLogprob:
        top = tuple(self._token(token, logprob) for token, logprob in one.top)
        return self._token(one.token, one.logprob, top)

    def _token(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        data = self._model.token_bytes(token, special=True)
        return TokenLogprob(token, data.decode("utf-8", "replace"), data, logprob, top)
