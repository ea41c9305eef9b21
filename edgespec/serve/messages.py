"""`/v1/messages`: Anthropic's form of chats, as far as llama-server has it."""

import json
from dataclasses import dataclass
from typing import Final

from edgespec.chat.structure import Structure
from edgespec.chat.tools import NO_TOOLS, Toolbox
from edgespec.serve.answering import answer, count_prompt, new_id
from edgespec.serve.anthropic_turns import read_turns
from edgespec.serve.blocks import Block, BlockStream, whole_blocks
from edgespec.serve.conversation import continues, make_thinking, read_function, required
from edgespec.serve.errors import invalid
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.result import Result
from edgespec.serve.service import Service
from edgespec.serve.wishes import read_limit, read_response_format, read_sampling, read_stops
from edgespec.session.shared.asked import Ask, Ended, EndReason, Tokenize, Told, Wrote

_MAX_TOKENS: Final = 4096
"""Where a request does not say; llama-server's."""


async def messages(service: Service, exchange: Exchange) -> None:
    """Answers a conversation."""
    fields = exchange.fields
    turns = read_turns(fields)
    thinking, output = fields.inside("thinking"), fields.inside("output_config")
    effort = output.text("effort") if output else None
    ask = Ask(
        id=0,
        prompt=turns,
        max_tokens=read_limit(fields, "max_tokens") or _MAX_TOKENS,
        sampling=read_sampling(fields),
        stops=read_stops(fields, "stop_sequences"),
        structure=_read_structure(fields, output),
        toolbox=_read_toolbox(fields),
        template_variables={"reasoning_effort": effort} if effort else {},
        thinking=make_thinking(*_read_thinking(thinking)),
        continues=continues(fields, turns),
    )
    streams = fields.flag("stream")
    async with service.engine_for(fields) as (engine, served):
        await answer(service, exchange, engine, [ask], MessageWriter(served.id), streams=streams)


async def count_tokens(service: Service, exchange: Exchange) -> None:
    """`/v1/messages/count_tokens`: how long a conversation is."""
    fields = exchange.fields
    counted_n = await count_prompt(
        service, fields, Tokenize(0, read_turns(fields), toolbox=_read_toolbox(fields))
    )
    await exchange.reply({"input_tokens": counted_n})


def _read_structure(fields: Fields, output: Fields | None) -> Structure | None:
    """`output_config.format`, or `output_format` as it was called first."""
    if output is not None and output.has("format"):
        return read_response_format(output.inside("format"))
    return read_response_format(fields.inside("output_format"))


def _read_thinking(thinking: Fields | None) -> tuple[str, int | None]:
    if thinking is None:
        return "auto", None
    match thinking.needed_text("type"):
        case "enabled":
            return "on", thinking.whole("budget_tokens", 0)
        case "adaptive":
            return "auto", None
        case "disabled":
            return "off", None
        case other:
            raise invalid("thinking.type", f"is {other!r:.40}; it can be enabled, adaptive or disabled")


def _read_toolbox(fields: Fields) -> Toolbox:
    # Those of another type are run by Anthropic's own servers.
    own = (one for one in fields.each("tools") if one.text("type") in (None, "custom"))
    tools = tuple(read_function(one, "input_schema") for one in own)
    choice = fields.inside("tool_choice")
    if choice is None:
        return Toolbox(tools) if tools else NO_TOOLS
    parallel = not choice.flag("disable_parallel_tool_use")
    match choice.needed_text("type"):
        case "auto":
            return Toolbox(tools, parallel=parallel) if tools else NO_TOOLS
        case "none":
            return Toolbox(tools, "none", parallel=parallel) if tools else NO_TOOLS
        case "any":
            return required(tools, "", parallel)
        case "tool":
            return required(tools, choice.needed_text("name"), parallel)
        case other:
            raise invalid("tool_choice.type", f"is {other!r:.40}; it can be auto, any, tool or none")


@dataclass
class MessageWriter:
    """The form of Anthropic's messages."""

    model: str

    def __post_init__(self) -> None:
        self._id = new_id("msg_")
        self._stream = BlockStream(_start, _grow, _stop)

    def _message(self, result: Result, content: list[dict[str, object]]) -> dict[str, object]:
        ended = result.choices[0].ended
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": _stop_reason(ended) if ended else None,
            "stop_sequence": (ended.stop or None) if ended else None,
            "usage": _usage(result),
        }

    def whole(self, result: Result) -> dict[str, object]:
        """A message."""
        return self._message(result, [_whole_block(block) for block in whole_blocks(result.choices[0])])

    def begin(self, result: Result) -> list[Event]:
        """A message without content."""
        return [{"type": "message_start", "message": self._message(result, [])}]

    def more(self, told: Told, result: Result) -> list[Event]:
        """The events of blocks that begin, grow and end."""
        return self._stream.add(told) if isinstance(told, Wrote) else []

    def end(self, result: Result) -> list[Event]:
        """Why it ended, and what it cost."""
        events = self._stream.close()
        if not self._stream.blocks:
            nothing = Block(0, "text", 0, "", "")
            events += [*_start(nothing), *_stop(nothing)]
        ended = result.choices[0].ended
        assert ended is not None
        delta = {"stop_reason": _stop_reason(ended), "stop_sequence": ended.stop or None}
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": _usage(result)},
            {"type": "message_stop"},
        ]


def _usage(result: Result) -> dict[str, object]:
    return {
        "input_tokens": result.prompt_n - result.cached_n,
        "cache_read_input_tokens": result.cached_n,
        "cache_creation_input_tokens": 0,
        "output_tokens": result.predicted_n,
    }


def _stop_reason(ended: Ended) -> str:
    if ended.stop:
        return "stop_sequence"
    match ended.reason:
        case EndReason.STOP:
            return "end_turn"
        case EndReason.TOOL_CALLS:
            return "tool_use"
        case EndReason.LENGTH | EndReason.CONTEXT:
            return "max_tokens"


def _whole_block(block: Block) -> dict[str, object]:
    match block.kind:
        case "thought":
            return {"type": "thinking", "thinking": block.text, "signature": ""}
        case "text":
            return {"type": "text", "text": block.text}
        case "call":
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": _input(block.text)}


def _input(arguments: str) -> object:
    """The object of a call's arguments; an answer that was cut off may leave a part of it."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return {"arguments": arguments}


def _start(block: Block) -> list[Event]:
    empty: dict[str, object]
    match block.kind:
        case "thought":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            empty = {"type": "text", "text": ""}
        case "call":
            empty = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
    return [{"type": "content_block_start", "index": block.place, "content_block": empty}]


def _grow(block: Block, text: str) -> list[Event]:
    match block.kind:
        case "thought":
            delta = {"type": "thinking_delta", "thinking": text}
        case "text":
            delta = {"type": "text_delta", "text": text}
        case "call":
            delta = {"type": "input_json_delta", "partial_json": text}
    return [{"type": "content_block_delta", "index": block.place, "delta": delta}]


def _stop(block: Block) -> list[Event]:
    return [{"type": "content_block_stop", "index": block.place}]
