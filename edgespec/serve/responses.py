"""`/v1/responses`: OpenAI's newer form of chats, as far as llama-server has it: nothing is kept between requests."""

from dataclasses import dataclass

from edgespec.chat.structure import Structure
from edgespec.serve.answering import answer, count_prompt, new_id, now_s, with_text_bias
from edgespec.serve.blocks import BlockStream, whole_blocks
from edgespec.serve.conversation import continues, make_thinking, read_thinking
from edgespec.serve.errors import invalid
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.response_events import ItemEvents
from edgespec.serve.response_items import read_items, read_tools
from edgespec.serve.result import Result
from edgespec.serve.service import Service
from edgespec.serve.wishes import read_limit, read_response_format, read_structure, read_wishes
from edgespec.session.shared.asked import Ask, EndReason, Tokenize, Told, Wrote


async def responses(service: Service, exchange: Exchange) -> None:
    """Answers a conversation."""
    fields = exchange.fields
    for key in ("previous_response_id", "conversation"):
        if fields.has(key):
            raise invalid(key, "is given; nothing is kept here: send the whole conversation")
    if isinstance(fields.values.get("prompt"), dict):
        raise invalid(
            "prompt", "names a prompt that is kept; nothing is kept here: send it as `instructions`"
        )
    if fields.flag("background"):
        raise invalid("background", "is true; nothing is kept here: wait for the answer, or have it streamed")
    turns, wishes = read_items(fields), read_wishes(fields)
    thinking, variables = read_thinking(fields)
    effort = reasoning.text("effort") if (reasoning := fields.inside("reasoning")) else None
    if effort == "none":
        thinking = make_thinking("off", thinking.budget)
    elif effort:
        variables["reasoning_effort"] = effort
    ask = Ask(
        id=0,
        prompt=turns,
        max_tokens=read_limit(fields, "max_output_tokens", "max_tokens"),
        sampling=wishes.sampling,
        stops=wishes.stops,
        logit_bias=wishes.logit_bias,
        structure=_read_structure(fields),
        toolbox=read_tools(fields),
        thinking=thinking,
        template_variables=variables,
        continues=continues(fields, turns),
        ignore_end=wishes.ignore_end,
    )
    streams = fields.flag("stream")
    async with service.engine_for(fields) as (engine, served):
        ask = await with_text_bias(engine, ask, wishes.text_bias)
        await answer(service, exchange, engine, [ask], ResponseWriter(served.id, fields), streams=streams)


def _read_structure(fields: Fields) -> Structure | None:
    text = fields.inside("text")
    form = text.inside("format") if text else None
    return read_response_format(form) if form else read_structure(fields)


async def count_tokens(service: Service, exchange: Exchange) -> None:
    """`/v1/responses/input_tokens`: how long a conversation is."""
    fields = exchange.fields
    counted_n = await count_prompt(
        service, fields, Tokenize(0, read_items(fields), toolbox=read_tools(fields))
    )
    await exchange.reply({"object": "response.input_tokens", "input_tokens": counted_n})


@dataclass
class ResponseWriter:
    """The form of OpenAI's responses."""

    model: str
    request: Fields
    """Some of it is told again."""

    def __post_init__(self) -> None:
        self._id, self._created = new_id("resp_"), now_s()
        self._items = items = ItemEvents()
        self._stream = BlockStream(items.start, items.grow, items.stop)

    def _response(self, result: Result, output: list[dict[str, object]]) -> dict[str, object]:
        ended = result.choices[0].ended
        is_cut = ended is not None and ended.reason in (EndReason.LENGTH, EndReason.CONTEXT)
        status = "in_progress" if ended is None else "incomplete" if is_cut else "completed"
        values = self.request.values
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None if ended is None else now_s(),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "instructions": values.get("instructions"),
            "metadata": values.get("metadata") or {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": values.get("parallel_tool_calls", True),
            "temperature": values.get("temperature"),
            "tool_choice": values.get("tool_choice") or "auto",
            "tools": values.get("tools") or [],
            "top_p": values.get("top_p"),
            "max_output_tokens": values.get("max_output_tokens"),
            "usage": _usage(result) if ended is not None else None,
        }

    def whole(self, result: Result) -> dict[str, object]:
        """A response."""
        output = [self._items.item(block) for block in whole_blocks(result.choices[0])]
        return self._response(result, output) | {"timings": result.timings()}

    def begin(self, result: Result) -> list[Event]:
        """A response without output, twice, as the protocol wants it."""
        response = self._response(result, [])
        return self._items.numbered(
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
        )

    def more(self, told: Told, result: Result) -> list[Event]:
        """The events of items that begin, grow and end."""
        return self._stream.add(told) if isinstance(told, Wrote) else []

    def end(self, result: Result) -> list[Event]:
        """The whole response."""
        events = self._stream.close()
        response = self._response(result, [self._items.item(block) for block in self._stream.blocks])
        kind = f"response.{response['status']}"
        return [
            *events,
            *self._items.numbered({"type": kind, "response": response, "timings": result.timings()}),
        ]


def _usage(result: Result) -> dict[str, object]:
    return {
        "input_tokens": result.prompt_n,
        "input_tokens_details": {"cached_tokens": result.cached_n},
        "output_tokens": result.predicted_n,
        "output_tokens_details": {"reasoning_tokens": result.thought_n},
        "total_tokens": result.prompt_n + result.predicted_n,
    }
