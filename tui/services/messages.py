"""What happened, for whoever wants to know. The services post these to those who asked for them."""

from dataclasses import dataclass

from textual.message import Message

from edgespec.worker.protocol import AnyEvent, Progressed


@dataclass
class WorkerReported(Message, bubble=False):
    """A worker process said something."""

    event: AnyEvent
    source: object
    """The engine client or the job that it came through."""

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
class EngineChanged(Message, bubble=False):
    """Another pair is loaded, or is being loaded, or none is any more."""


@dataclass
class ModelsChanged(Message, bubble=False):
    """Files came or went: lists of models are out of date."""


@dataclass
class RunsChanged(Message, bubble=False):
    """Benchmark results came or went."""
