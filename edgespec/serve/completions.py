"""`/v1/completions`: texts that go on, without a chat template, in OpenAI's form."""

from dataclasses import dataclass, replace

from edgespec.serve.answering import FINGERPRINT, answer, new_id, now_s, with_text_bias
from edgespec.serve.errors import invalid
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.infill import with_suffix
from edgespec.serve.logprobs import text_logprobs
from edgespec.serve.prompts import read_prompts, to_prompt
from edgespec.serve.result import Result, finish_reason
from edgespec.serve.service import Service
from edgespec.serve.wishes import Wishes, read_structure, read_top, read_wishes
from edgespec.session.shared.asked import Ask, Ended, Told, Wrote


async def completions(service: Service, exchange: Exchange) -> None:
    """Goes on from prompts."""
    fields = exchange.fields
    _check_unsupported(fields)
    read, _ = read_prompts(fields)
    prompts = with_suffix(fields, read) or read
    wishes = read_wishes(fields)
    usual = read_text_ask(fields, wishes, _read_logprobs(fields))
    usage = fields.inside("stream_options")
    tells_usage = usage is not None and usage.flag("include_usage")
    streams = fields.flag("stream")
    async with service.engine_for(fields) as (engine, served):
        usual = await with_text_bias(engine, usual, wishes.text_bias)
        asks = [replace(usual, prompt=await to_prompt(engine, prompt)) for prompt in prompts]
        writer = TextWriter(served.id, tells_usage=tells_usage)
        await answer(service, exchange, engine, asks, writer, streams=streams)


def _check_unsupported(fields: Fields) -> None:
    if fields.flag("echo"):
        raise invalid("echo", "is true; the prompt is not told again here")
    best_of = fields.whole("best_of", 1)
    if best_of is not None and best_of > (fields.whole("n", 1) or 1):
        raise invalid("best_of", f"is {best_of}; only the `n` answers that are told are written")


def _read_logprobs(fields: Fields) -> int | None:
    value = fields.values.get("logprobs")
    if isinstance(value, bool):
        return read_top(fields, "top_logprobs") if value else None
    if value is not None:
        return read_top(fields, "logprobs")
    return read_top(fields, "n_probs") or None


def read_text_ask(fields: Fields, wishes: Wishes, logprobs_n: int | None) -> Ask:
    """What a request asks of a prompt that is still to be put in."""
    return Ask(
        id=0,
        prompt="",
        max_tokens=wishes.max_tokens,
        n_choices=wishes.n_choices,
        sampling=wishes.sampling,
        stops=wishes.stops,
        logprobs_n=logprobs_n,
        logit_bias=wishes.logit_bias,
        structure=read_structure(fields),
        ignore_end=wishes.ignore_end,
    )


@dataclass
class TextWriter:
    """The form of OpenAI's older completions."""

    model: str
    tells_usage: bool
    """Of a stream: in a last event without choices."""

    def __post_init__(self) -> None:
        self._id, self._created = new_id("cmpl-"), now_s()

    def _body(self, choices: list[dict[str, object]]) -> dict[str, object]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }

    def whole(self, result: Result) -> dict[str, object]:
        """A completion."""
        choices = [
            _choice(
                place,
                choice.text,
                choice.finish_reason,
                text_logprobs(choice.logprobs, 0) if choice.logprobs else None,
            )
            for place, choice in enumerate(result.choices)
        ]
        return self._body(choices) | {"usage": result.usage(), "timings": result.timings()}

    def begin(self, result: Result) -> list[Event]:
        """Nothing."""
        return []

    def more(self, told: Told, result: Result) -> list[Event]:
        """An event for what was written, and one with the reason for what has ended."""
        if isinstance(told, Ended):
            event = self._body([_choice(result.place_of(told), "", finish_reason(told))])
            if result.is_whole and not self.tells_usage:
                event["timings"] = result.timings()
            return [event]
        if not isinstance(told, Wrote) or not (told.text or told.logprobs):
            return []
        place = result.place_of(told)
        before = len(result.choices[place].text) - len(told.text)
        logprobs = text_logprobs(told.logprobs, before) if told.logprobs else None
        return [self._body([_choice(place, told.text, None, logprobs)])]

    def end(self, result: Result) -> list[Event]:
        """Usage, where it is wanted, and the mark of the end."""
        if not self.tells_usage:
            return ["[DONE]"]
        return [self._body([]) | {"usage": result.usage(), "timings": result.timings()}, "[DONE]"]


def _choice(
    place: int, text: str, reason: str | None, logprobs: dict[str, object] | None = None
) -> dict[str, object]:
    return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason}
