"""`/v1/chat/completions`: OpenAI's chats, with llama-server's fields beside them."""

from dataclasses import dataclass

from edgespec.chat.tools import CallDelta
from edgespec.serve.answering import FINGERPRINT, answer, count_prompt, new_id, now_s, with_text_bias
from edgespec.serve.conversation import continues, read_messages, read_thinking, read_toolbox
from edgespec.serve.errors import invalid
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.logprobs import chat_logprobs
from edgespec.serve.result import Choice, Result, finish_reason, timings_so_far
from edgespec.serve.service import Service
from edgespec.serve.wishes import read_structure, read_top, read_wishes
from edgespec.session.shared.asked import Ask, Ended, Tokenize, Told, Wrote


async def chat_completions(service: Service, exchange: Exchange) -> None:
    """Answers a conversation."""
    fields = exchange.fields
    ask, wishes = read_chat(fields), read_wishes(fields)
    streams = fields.flag("stream")
    usage = fields.inside("stream_options")
    tells_usage = usage is not None and usage.flag("include_usage")
    every = fields.flag("timings_per_token")
    async with service.engine_for(fields) as (engine, served):
        ask = await with_text_bias(engine, ask, wishes.text_bias)
        writer = ChatWriter(served.id, tells_usage=tells_usage, tells_timings=every)
        await answer(service, exchange, engine, [ask], writer, streams=streams)


async def count_tokens(service: Service, exchange: Exchange) -> None:
    """`/v1/chat/completions/input_tokens`: how long a conversation is."""
    fields = exchange.fields
    counted_n = await count_prompt(service, fields, read_conversation(fields))
    await exchange.reply({"object": "response.input_tokens", "input_tokens": counted_n})


def read_conversation(fields: Fields) -> Tokenize:
    """A conversation as the model would read it to answer.

    Raises:
        ApiError: names the field.
    """
    messages = read_messages(fields)
    thinking, variables = read_thinking(fields)
    return Tokenize(
        0,
        messages,
        toolbox=read_toolbox(fields),
        thinking=thinking,
        template_variables=variables,
        continues=continues(fields, messages),
    )


def read_chat(fields: Fields) -> Ask:
    """What a request for a chat asks.

    Raises:
        ApiError: names the field.
    """
    messages = read_messages(fields)
    wishes, toolbox, structure = read_wishes(fields), read_toolbox(fields), read_structure(fields)
    if structure is not None and toolbox.tools and toolbox.choice != "none" and fields.has("grammar"):
        raise invalid("grammar", "cannot go with `tools`")
    thinking, variables = read_thinking(fields)
    return Ask(
        id=0,
        prompt=messages,
        max_tokens=wishes.max_tokens,
        n_choices=wishes.n_choices,
        sampling=wishes.sampling,
        stops=wishes.stops,
        logprobs_n=_read_logprobs(fields),
        logit_bias=wishes.logit_bias,
        structure=structure,
        toolbox=toolbox,
        thinking=thinking,
        template_variables=variables,
        continues=continues(fields, messages),
        ignore_end=wishes.ignore_end,
    )


def _read_logprobs(fields: Fields) -> int | None:
    if fields.flag("logprobs"):
        return read_top(fields, "top_logprobs")
    if fields.has("top_logprobs") and read_top(fields, "top_logprobs"):
        raise invalid("top_logprobs", "needs `logprobs` to be true")
    return read_top(fields, "n_probs") or None


@dataclass
class ChatWriter:
    """The form of OpenAI's chats."""

    model: str
    tells_usage: bool
    """Of a stream: in a last event without choices."""
    tells_timings: bool
    """Of a stream: with every event."""

    def __post_init__(self) -> None:
        self._id, self._created = new_id("chatcmpl-"), now_s()

    def _chunk(self, choices: list[dict[str, object]]) -> dict[str, object]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }

    def whole(self, result: Result) -> dict[str, object]:
        """A completion."""
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [_whole_choice(place, choice) for place, choice in enumerate(result.choices)],
            "usage": result.usage(),
            "timings": result.timings(),
        }

    def begin(self, result: Result) -> list[Event]:
        """A role for every choice."""
        first: dict[str, object] = {"role": "assistant", "content": None}
        return [self._chunk([_delta(place, first)]) for place in range(len(result.choices))]

    def more(self, told: Told, result: Result) -> list[Event]:
        """A chunk for what was written, and one with the reason for what has ended."""
        if isinstance(told, Ended):
            chunk = self._chunk([_delta(result.place_of(told), {}, finish_reason(told))])
            if result.is_whole and not self.tells_usage:
                chunk["timings"] = result.timings()
            return [chunk]
        if not isinstance(told, Wrote):
            return []
        delta = _written(told)
        if not (delta or told.logprobs):
            return []
        choice = _delta(result.place_of(told), delta)
        if told.logprobs:
            choice["logprobs"] = {"content": chat_logprobs(told.logprobs), "refusal": None}
        chunk = self._chunk([choice])
        if self.tells_timings:
            chunk["timings"] = timings_so_far(result, result.place_of(told))
        return [chunk]

    def end(self, result: Result) -> list[Event]:
        """Usage, where it is wanted, and the mark of the end."""
        if not self.tells_usage:
            return ["[DONE]"]
        return [self._chunk([]) | {"usage": result.usage(), "timings": result.timings()}, "[DONE]"]


def _delta(place: int, delta: dict[str, object], reason: str | None = None) -> dict[str, object]:
    return {"index": place, "delta": delta, "finish_reason": reason}


def _written(wrote: Wrote) -> dict[str, object]:
    delta: dict[str, object] = {}
    if wrote.thought:
        delta["reasoning_content"] = wrote.thought
    if wrote.text:
        delta["content"] = wrote.text
    if wrote.calls:
        delta["tool_calls"] = [_call_delta(call) for call in wrote.calls]
    return delta


def _call_delta(call: CallDelta) -> dict[str, object]:
    if not call.name:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}


def _whole_choice(place: int, choice: Choice) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": choice.text}
    if choice.thought:
        message["reasoning_content"] = choice.thought
    if choice.calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.calls
        ]
    logprobs = {"content": chat_logprobs(choice.logprobs), "refusal": None} if choice.logprobs else None
    return {"index": place, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}
