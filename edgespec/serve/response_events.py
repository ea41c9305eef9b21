"""The events of OpenAI's responses: items that begin, grow and end, all numbered."""

from dataclasses import dataclass, field

from edgespec.serve.answering import new_id
from edgespec.serve.blocks import Block
from edgespec.serve.exchange import Event


@dataclass
class ItemEvents:
    """The items of one response. It knows nothing of who tells them: a circle would keep every request until Python looks for circles."""

    _ids: dict[int, str] = field(default_factory=dict)
    _n_events: int = 0

    def item(self, block: Block, status: str = "completed") -> dict[str, object]:
        """A block as an item of the response."""
        prefix = {"thought": "rs_", "text": "msg_", "call": "fc_"}[block.kind]
        number = self._ids.setdefault(block.place, new_id(prefix))
        match block.kind:
            case "thought":
                content = [{"type": "reasoning_text", "text": block.text}] if block.text else []
                return {
                    "id": number,
                    "type": "reasoning",
                    "summary": [],
                    "content": content,
                    "status": status,
                }
            case "text":
                parts = [_part(block.text)] if status == "completed" else []
                return {
                    "id": number,
                    "type": "message",
                    "role": "assistant",
                    "content": parts,
                    "status": status,
                }
            case "call":
                called = {"call_id": block.id, "name": block.name, "arguments": block.text}
                return {"id": number, "type": "function_call", **called, "status": status}

    def numbered(self, *events: dict[str, object]) -> list[Event]:
        """Events with their places in the stream."""
        numbered: list[Event] = []
        for event in events:
            numbered.append(event | {"sequence_number": self._n_events})
            self._n_events += 1
        return numbered

    def _where(self, block: Block) -> dict[str, object]:
        """Which item an event is about, and which part of it."""
        where: dict[str, object] = {"item_id": self._ids[block.place], "output_index": block.place}
        return where if block.kind == "call" else where | {"content_index": 0}

    def start(self, block: Block) -> list[Event]:
        """An item begins."""
        added: dict[str, object] = {
            "type": "response.output_item.added",
            "output_index": block.place,
            "item": self.item(block, "in_progress"),
        }
        if block.kind != "text":
            return self.numbered(added)
        part = {"type": "response.content_part.added", **self._where(block), "part": _part("")}
        return self.numbered(added, part)

    def grow(self, block: Block, text: str) -> list[Event]:
        """An item has more text."""
        where = self._where(block)
        match block.kind:
            case "thought":
                return self.numbered({"type": "response.reasoning_text.delta", **where, "delta": text})
            case "text":
                delta = {"type": "response.output_text.delta", **where, "delta": text, "logprobs": []}
                return self.numbered(delta)
            case "call":
                kind = "response.function_call_arguments.delta"
                return self.numbered({"type": kind, **where, "delta": text})

    def stop(self, block: Block) -> list[Event]:
        """An item ends."""
        where, text = self._where(block), block.text
        done: list[dict[str, object]] = []
        match block.kind:
            case "thought":
                done = [{"type": "response.reasoning_text.done", **where, "text": text}]
            case "text":
                done = [
                    {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
                    {"type": "response.content_part.done", **where, "part": _part(text)},
                ]
            case "call":
                kind = "response.function_call_arguments.done"
                done = [{"type": kind, **where, "name": block.name, "arguments": text}]
        last = {"type": "response.output_item.done", "output_index": block.place, "item": self.item(block)}
        return self.numbered(*done, last)


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
