"""`/completion` and `/completions`: llama.cpp's own form of completions, as llama-server has it."""

from dataclasses import asdict, dataclass, replace
from typing import Final

from edgespec.serve.answering import answer, with_text_bias
from edgespec.serve.completions import read_text_ask
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.logprobs import chat_logprobs
from edgespec.serve.prompts import read_prompts, to_prompt
from edgespec.serve.result import Result, timings_of
from edgespec.serve.service import Service
from edgespec.serve.wishes import read_top, read_wishes
from edgespec.session.shared.asked import Ask, Ended, EndReason, Told, Wrote

_STOP_TYPES: Final = {EndReason.LENGTH: "limit", EndReason.CONTEXT: "limit"}


async def native_completions(service: Service, exchange: Exchange) -> None:
    """Goes on from prompts."""
    fields = exchange.fields
    prompts, is_list = read_prompts(fields)
    wishes = read_wishes(fields)
    usual = read_text_ask(fields, wishes, read_top(fields, "n_probs") or None)
    streams, returns_tokens = fields.flag("stream"), fields.flag("return_tokens")
    async with service.engine_for(fields) as (engine, served):
        usual = await with_text_bias(engine, usual, wishes.text_bias)
        asks = [replace(usual, prompt=await to_prompt(engine, prompt)) for prompt in prompts]
        writer = NativeWriter(served.id, asks, is_list or usual.n_choices > 1, returns_tokens)
        await answer(service, exchange, engine, asks, writer, streams=streams)


@dataclass
class NativeWriter:
    """The form of llama.cpp's completions."""

    model: str
    asks: list[Ask]
    is_list: bool
    """Whether the answer is a list, as where several prompts were given."""
    returns_tokens: bool

    def whole(self, result: Result) -> dict[str, object] | list[dict[str, object]]:
        """A completion for each choice."""
        every = [self._final(place, result) for place in range(len(result.choices))]
        return every if self.is_list else every[0]

    def _final(self, place: int, result: Result, *, streams: bool = False) -> dict[str, object]:
        choice, ended = result.choices[place], result.choices[place].ended
        assert ended is not None
        ask = self.asks[place // self.asks[0].n_choices]
        stats = ended.stats
        stop_type = "word" if ended.stop else _STOP_TYPES.get(ended.reason, "eos")
        read_n = stats.prompt_n - stats.prompt_evaluated_n
        body: dict[str, object] = {
            "index": place,
            "content": "" if streams else choice.text,
            "tokens": choice.tokens if self.returns_tokens and not streams else [],
            "stop": True,
            "model": self.model,
            "tokens_predicted": stats.predicted_n,
            "tokens_evaluated": stats.prompt_n,
            "tokens_cached": read_n,
            "generation_settings": _settings(ask),
            "prompt": ask.prompt if isinstance(ask.prompt, str) else list(ask.prompt),
            "has_new_line": "\n" in choice.text,
            "truncated": ended.reason is EndReason.CONTEXT,
            "stop_type": stop_type,
            "stopping_word": ended.stop,
            "timings": timings_of([stats], stats.prompt_n, read_n),
        }
        if choice.logprobs and not streams:
            body["completion_probabilities"] = chat_logprobs(choice.logprobs)
        return body

    def begin(self, result: Result) -> list[Event]:
        """Nothing."""
        return []

    def more(self, told: Told, result: Result) -> list[Event]:
        """An event for what was written, and one with all figures for what has ended."""
        if isinstance(told, Ended):
            return [self._final(result.place_of(told), result, streams=True)]
        if not isinstance(told, Wrote) or not (told.text or told.tokens):
            return []
        event: dict[str, object] = {
            "index": result.place_of(told),
            "content": told.text,
            "tokens": list(told.tokens),
            "stop": False,
        }
        if told.logprobs:
            event["completion_probabilities"] = chat_logprobs(told.logprobs)
        return [event]

    def end(self, result: Result) -> list[Event]:
        """Nothing: the figures were the last event."""
        return []


def _settings(ask: Ask) -> dict[str, object]:
    limit = -1 if ask.max_tokens is None else ask.max_tokens
    return {
        **asdict(ask.sampling),
        "n_predict": limit,
        "max_tokens": limit,
        "stop": list(ask.stops),
        "n_probs": ask.logprobs_n or 0,
        "ignore_eos": ask.ignore_end,
    }
