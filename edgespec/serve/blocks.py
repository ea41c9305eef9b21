"""An answer as a row of blocks, thoughts, texts and calls, one open at a time: how Anthropic's and OpenAI's newer streams have it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from edgespec.serve.exchange import Event
from edgespec.serve.result import Choice
from edgespec.session.shared.asked import Wrote

Kind = Literal["thought", "text", "call"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one block."""

    kind: Kind
    text: str
    """Of the thought, the answer, or the call's arguments."""
    call: int = 0
    """Its number in the answer."""
    id: str = ""
    name: str = ""


@dataclass(slots=True)
class Block:
    """A block, as far as it has come."""

    place: int
    """In the answer, from 0."""
    kind: Kind
    call: int
    id: str
    """Of a call, as the model or its parser gave it."""
    name: str
    text: str = ""


def pieces_of(wrote: Wrote) -> Iterator[Piece]:
    """What was written, in its order."""
    if wrote.thought:
        yield Piece("thought", wrote.thought)
    if wrote.text:
        yield Piece("text", wrote.text)
    for delta in wrote.calls:
        yield Piece("call", delta.arguments, delta.index, delta.id, delta.name)


def whole_blocks(choice: Choice) -> list[Block]:
    """An answer that has ended; one without anything has an empty text."""
    found: list[Block] = []
    if choice.thought:
        found.append(Block(len(found), "thought", 0, "", "", choice.thought))
    if choice.text or not (choice.thought or choice.calls):
        found.append(Block(len(found), "text", 0, "", "", choice.text))
    for number, call in enumerate(choice.calls):
        found.append(Block(len(found), "call", number, call.id, call.name, call.arguments))
    return found


class BlockStream:
    """Cuts what is written into blocks.

    Args:
        starts: The events that a block begins with.
        grows: Those of more text in it.
        stops: Those that it ends with.
    """

    def __init__(
        self,
        starts: Callable[[Block], list[Event]],
        grows: Callable[[Block, str], list[Event]],
        stops: Callable[[Block], list[Event]],
    ) -> None:
        self._starts, self._grows, self._stops = starts, grows, stops
        self.blocks: list[Block] = []
        self._open: Block | None = None

    def add(self, wrote: Wrote) -> list[Event]:
        """The events of what was written."""
        events: list[Event] = []
        for piece in pieces_of(wrote):
            block = self._open
            if block is None or (block.kind, block.call) != (piece.kind, piece.call):
                events += self.close()
                block = self._open = Block(len(self.blocks), piece.kind, piece.call, piece.id, piece.name)
                self.blocks.append(block)
                events += self._starts(block)
            if piece.text:
                block.text += piece.text
                events += self._grows(block, piece.text)
        return events

    def close(self) -> list[Event]:
        """The events of the end of the block that is open."""
        block, self._open = self._open, None
        return self._stops(block) if block else []
