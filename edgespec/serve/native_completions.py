"""`/completion` and `/infill`: llama.cpp's own form of completions, as llama-server has it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgespec.chat.infill import Infill
from edgespec.llama.sampler import Sampling
from edgespec.serve.answering import answer, with_text_bias
from edgespec.serve.completions import read_text_ask
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.generation_settings import settings_of
from edgespec.serve.infill import read_infill
from edgespec.serve.logprobs import chat_logprobs
from edgespec.serve.prompts import read_prompts, to_prompt
from edgespec.serve.result import Result, timings_of, timings_so_far
from edgespec.serve.service import Service
from edgespec.serve.wishes import read_top, read_wishes
from edgespec.session.shared.asked import Ask, Ended, EndReason, Told, Wrote

_STOP_TYPES: Final = {EndReason.LENGTH: "limit", EndReason.CONTEXT: "limit"}
_MS: Final = 1000.0


async def native_completions(service: Service, exchange: Exchange) -> None:
    """Goes on from prompts."""
    prompts, is_list = read_prompts(exchange.fields)
    await _complete(service, exchange, prompts, is_list)


async def infill(service: Service, exchange: Exchange) -> None:
    """`/infill`: what is missing between two texts."""
    await _complete(service, exchange, [read_infill(exchange.fields)], False)


async def _complete(
    service: Service,
    exchange: Exchange,
    prompts: "Sequence[list[str | int] | str | Infill]",
    is_list: bool,
) -> None:
    fields = exchange.fields
    warms = fields.values.get("n_predict") == 0
    if warms:
        # The prompt's pass leads to a first token, which costs nothing and is not told.
        fields = Fields({**fields.values, "n_predict": 1})
    wishes = read_wishes(fields)
    most_ms = fields.whole("t_max_predict_ms") or 0
    usual = replace(
        read_text_ask(fields, wishes, read_top(fields, "n_probs") or None),
        most_decode_s=most_ms / _MS if most_ms > 0 else None,
    )
    streams = fields.flag("stream")
    form = NativeForm(
        is_list=is_list or usual.n_choices > 1,
        returns_tokens=fields.flag("return_tokens"),
        only=fields.texts("response_fields"),
        tells_timings=fields.flag("timings_per_token"),
        warms=warms,
    )
    async with service.engine_for(fields) as (engine, served):
        usual = await with_text_bias(engine, usual, wishes.text_bias)
        asks = [replace(usual, prompt=await to_prompt(engine, prompt)) for prompt in prompts]
        own = engine.opened.sampling if engine.opened else Sampling()
        writer = NativeWriter(served.id, asks, form, own)
        await answer(service, exchange, engine, asks, writer, streams=streams)


@dataclass(frozen=True, slots=True)
class NativeForm:
    """What a request says of the form of its answer."""

    is_list: bool
    """Whether it is a list, as where several prompts were given."""
    returns_tokens: bool
    only: tuple[str, ...]
    """The fields that are told, those of inner objects as `timings/prompt_n`; all where it is empty."""
    tells_timings: bool
    """Of a stream: with every event."""
    warms: bool
    """The prompt is only to be held for the next request: nothing is written."""


@dataclass
class NativeWriter:
    """The form of llama.cpp's completions."""

    model: str
    asks: list[Ask]
    form: NativeForm
    own: Sampling
    """How the model's tokens are picked where nobody says."""

    def whole(self, result: Result) -> dict[str, object] | list[dict[str, object]]:
        """A completion for each choice."""
        every = [self._final(place, result) for place in range(len(result.choices))]
        return every if self.form.is_list else every[0]

    def _final(self, place: int, result: Result, *, streams: bool = False) -> dict[str, object]:
        choice, ended = result.choices[place], result.choices[place].ended
        assert ended is not None
        ask, form = self.asks[place // self.asks[0].n_choices], self.form
        stats = ended.stats
        stop_type = "word" if ended.stop else _STOP_TYPES.get(ended.reason, "eos")
        read_n = stats.prompt_n - stats.prompt_evaluated_n
        body: dict[str, object] = {
            "index": place,
            "content": "" if streams or form.warms else choice.text,
            "tokens": choice.tokens if form.returns_tokens and not (streams or form.warms) else [],
            # Places have no numbers here.
            "id_slot": -1,
            "stop": True,
            "model": self.model,
            "tokens_predicted": 0 if form.warms else stats.predicted_n,
            "tokens_evaluated": stats.prompt_n,
            "tokens_cached": read_n,
            "generation_settings": settings_of(self.own, ask, streams=streams),
            "prompt": _shown(ask.prompt),
            "has_new_line": "\n" in choice.text,
            "truncated": ended.reason is EndReason.CONTEXT,
            "stop_type": stop_type,
            "stopping_word": ended.stop,
            "timings": timings_of([stats], stats.prompt_n, read_n),
        }
        if choice.logprobs and not (streams or form.warms):
            body["completion_probabilities"] = chat_logprobs(choice.logprobs)
        return _only(body, form.only) if form.only else body

    def begin(self, result: Result) -> list[Event]:
        """Nothing."""
        return []

    def more(self, told: Told, result: Result) -> list[Event]:
        """An event for what was written, and one with all figures for what has ended."""
        if isinstance(told, Ended):
            return [self._final(result.place_of(told), result, streams=True)]
        if self.form.warms or not isinstance(told, Wrote) or not (told.text or told.tokens):
            return []
        place = result.place_of(told)
        event: dict[str, object] = {
            "index": place,
            "content": told.text,
            "tokens": list(told.tokens),
            "stop": False,
            "id_slot": -1,
            "tokens_predicted": len(result.choices[place].tokens),
            "tokens_evaluated": result.prompt_n,
        }
        if told.logprobs:
            event["completion_probabilities"] = chat_logprobs(told.logprobs)
        if self.form.tells_timings:
            event["timings"] = timings_so_far(result, place)
        return [event]

    def end(self, result: Result) -> list[Event]:
        """Nothing: the figures were the last event."""
        return []


def _shown(prompt: object) -> object:
    match prompt:
        case Infill():
            return prompt.prefix + prompt.begun
        case tuple():
            return list(prompt)
        case _:
            return prompt


def _only(body: dict[str, object], paths: Sequence[str]) -> dict[str, object]:
    """The fields of these paths, under the paths as their names; those that there are not are left out."""
    found: dict[str, object] = {}
    for path in paths:
        value: object = body
        for key in path.split("/"):
            value = value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is not _ABSENT:
            found[path] = value
    return found


_ABSENT: Final = object()
