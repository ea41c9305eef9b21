"""What happened, for whoever wants to know. Workers post these; the handlers own the state."""

from dataclasses import dataclass

from textual.message import Message

from edgespec.worker.protocol import AnyEvent, Progressed


@dataclass
class WorkerReported(Message):
    """A worker process said something."""

    event: AnyEvent
    source: object
    """The engine room or the job that it came through."""

    def can_replace(self, message: Message) -> bool:
        """Of how far a stage of a piece of work is, only the newest counts."""
        return (
            isinstance(message, WorkerReported)
            and isinstance(self.event, Progressed)
            and isinstance(message.event, Progressed)
            and message.event.label == self.event.label
            and message.source is self.source
        )


@dataclass
class ModelsChanged(Message):
    """Files came or went: lists of models are out of date."""


@dataclass
class RunsChanged(Message):
    """Benchmark results came or went."""
