"""A server's model, asked: the conversation goes out, and the answer comes in pieces."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thoughts import Parts
from edgespec.chat.tools import CallDelta
from edgespec.errors import ContextOverflowError, ServerError, UsageError
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import settle_sampling
from edgespec.session.shorten import drop_oldest_turns
from edgespec.worker.protocol import Answer
from edgespec.worker.remote.address import ServerAddress
from edgespec.worker.remote.connection import ServerConnection
from edgespec.worker.remote.models import RemoteModel, find_remote_model
from edgespec.worker.remote.reader import AnswerReader
from edgespec.worker.remote.tool_fields import CallPieces, call_fields, toolbox_fields


def _say_nothing(_text: str) -> None:
    pass


class RemoteServer:
    """One model of one server. Used in one event loop.

    Args:
        address: Of the server.
        tell: Hears why something takes longer.
    """

    def __init__(self, address: ServerAddress, tell: Callable[[str], None] = _say_nothing) -> None:
        self.address = address
        self._connection = ServerConnection(address, tell)
        self._model: RemoteModel | None = None

    async def open(self, target: str | None) -> RemoteModel:
        """Takes the model that answers from now on.

        Raises:
            EdgespecError: any error of `find_remote_model`.
        """
        self._model = await find_remote_model(self._connection, target)
        return self._model

    async def aclose(self) -> None:
        """Ends the connections."""
        await self._connection.close()

    def ask(
        self, request: Answer, *, raw: bool = False, structure: Structure | None = None
    ) -> "RemoteAnswer":
        """An answer that is asked for when its pieces are.

        Args:
            request: What is asked.
            raw: Send the text without the model's chat template.
            structure: What the answer must look like.

        Raises:
            UsageError: no model has been opened, or the server takes no such structure.
        """
        if self._model is None:
            raise UsageError("no model is loaded", "open one first")
        form = _structure_fields(structure, knows_llama=self._model.takes_llama_settings)
        calls = CallPieces(request.toolbox.offered, unmarked=structure is None)
        return RemoteAnswer(self._connection, self._model, request, form, calls, raw=raw)


class RemoteAnswer:
    """An answer on its way, with its figures so far."""

    def __init__(
        self,
        connection: ServerConnection,
        model: RemoteModel,
        request: Answer,
        form: Mapping[str, object],
        calls: CallPieces,
        *,
        raw: bool,
    ) -> None:
        self._connection, self._model, self._request, self._raw = connection, model, request, raw
        self._form = form
        self._reader = AnswerReader(request.max_tokens, calls)
        self.stats = self._reader.stats
        self._notes: list[str] = []

    @property
    def address(self) -> ServerAddress:
        """Of the server."""
        return self._connection.address

    @property
    def decode_s(self) -> float:
        """From the first piece to the last: as the server tells it, or else as seen from here."""
        return self.stats.decode_s or self._reader.seen_s

    @property
    def tells_timings(self) -> bool:
        """Whether the server gave figures under llama.cpp's names."""
        return self._reader.has_timings

    @property
    def notes(self) -> tuple[str, ...]:
        """What the server could not do as it was asked, and why it ended, where that is unusual."""
        return (*self._notes, *self._reader.notes)

    def take_calls(self) -> tuple[CallDelta, ...]:
        """What has come of calls since the last time."""
        return self._reader.calls.take()

    async def pieces(self) -> AsyncGenerator[Parts, None]:
        """Asks, and yields what comes; closing the iterator ends the work on the server.

        Raises:
            ServerError: the server cannot be reached, refuses, fails or breaks off.
            ContextOverflowError: the conversation does not fit its context, and no turn may be left out.
        """
        messages: Sequence[ChatMessage] = self._request.messages
        while True:
            try:
                async with aclosing(self._stream(messages)) as parts:
                    async for one in parts:
                        yield one
                return
            except ContextOverflowError:
                shorter = drop_oldest_turns(messages, len, len(messages) - 1)
                if not self._request.drop_oldest or len(shorter) == len(messages):
                    raise
                self.stats.dropped_n += len(messages) - len(shorter)
                messages = shorter

    async def _stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Parts, None]:
        path, reader = "/v1/completions" if self._raw else "/v1/chat/completions", self._reader
        async with self._connection.post(path, self._body(messages)) as response:
            try:
                async with aclosing(self._connection.read_events(response)) as events:
                    async for chunk in events:
                        if isinstance(chunk, dict) and chunk.get("error"):
                            raise self._connection.failed(chunk)
                        yield reader.add(chunk)
            except ServerError:
                # What is lost after the last word are figures at most.
                if not reader.has_ended:
                    raise
        if not reader.has_ended:
            raise self._connection.broke_off("the answer has no end")
        yield reader.finish()

    def _body(self, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        request, knows_llama = self._request, self._model.takes_llama_settings
        if request.continues and not knows_llama:  # llama-server goes on with every answer that stands last
            raise UsageError("the server cannot go on with an answer", "have it answered again")
        body: dict[str, Any] = {
            **self._form,
            "model": self._model.name,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": request.max_tokens,
            **_sampling_fields(settle_sampling(request.sampling, Sampling()), knows_llama=knows_llama),
            **toolbox_fields(request.toolbox),
        }
        if knows_llama:
            body["timings_per_token"] = True
        if self._raw:
            return body | {"prompt": "\n\n".join(message.content for message in messages)}
        thinking = request.thinking
        if thinking.think != "auto":
            body["chat_template_kwargs"] = {"enable_thinking": thinking.think == "on"}
        if thinking.budget is not None and knows_llama:
            body["reasoning_budget_tokens"] = thinking.budget
        elif thinking.budget is not None:
            self._notes = [f"`think_budget` {thinking.budget} has no effect: the server knows none"]
        return body | {"messages": [_message_fields(one, with_thought=knows_llama) for one in messages]}


def _sampling_fields(sampling: Sampling, *, knows_llama: bool) -> dict[str, Any]:
    """How tokens are picked. What OpenAI's protocol lacks is sent where the server knows it, or where it was asked for."""
    usual = Sampling()
    fields: dict[str, Any] = {"temperature": sampling.temperature}
    if sampling.temperature > 0:
        fields |= {"top_p": sampling.top_p, "seed": sampling.seed}
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(sampling, name):
            fields[name] = getattr(sampling, name)
    for name in ("top_k", "min_p", "repeat_penalty", "repeat_last_n"):
        value = getattr(sampling, name)
        if knows_llama or value != getattr(usual, name):
            fields[name] = value
    return fields


def _structure_fields(structure: Structure | None, *, knows_llama: bool) -> dict[str, object]:
    """What the answer must look like, in OpenAI's form; grammars are llama.cpp's own.

    Raises:
        UsageError: a grammar, for a server of another kind.
    """
    if structure is None:
        return {}
    match structure.kind:
        case StructureKind.GBNF if knows_llama:
            return {"grammar": structure.text}
        case StructureKind.GBNF:
            raise UsageError("the server knows no grammars", "give a JSON schema instead")
        case StructureKind.SCHEMA:
            schema = {"name": "answer", "strict": True, "schema": json.loads(structure.text)}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case StructureKind.JSON:
            return {"response_format": {"type": "json_object"}}


def _message_fields(message: ChatMessage, *, with_thought: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "role": message.role,
        "content": message.content,
        **call_fields(message),
    }
    if with_thought and message.thought:
        fields["reasoning_content"] = message.thought
    return fields
