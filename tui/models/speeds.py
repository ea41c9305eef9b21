"""Predicted speeds for the list of models: worked out beside the app, once for each model, and never while the engine works."""

from textual.message_pump import MessagePump

from edgespec.text import one_line
from edgespec.worker.jobs.speeds import Speeds, SpeedsJob
from edgespec.worker.protocol import JobFinished, Logged, RequestFailed, WorkerDied
from tui.models.rows import ModelList
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.job_runner import RunningJob
from tui.services.messages import WorkerReported

_IDLE = (EngineState.CLOSED, EngineState.READY, EngineState.DEAD)
_Key = tuple[str, int | None]


class ModelSpeeds:
    """Keeps what was predicted, by spec and size.

    Args:
        services: Whose engine must be idle, and who starts the job.
        owner: Is told what the job says, and gives it to `take`.
    """

    def __init__(self, services: AppServices, owner: MessagePump) -> None:
        self._services, self._owner = services, owner
        self._known: dict[_Key, float] = {}
        self._tried: set[_Key] = set()
        self._asked: dict[str, _Key] = {}
        """What the job under way was asked, by spec."""
        self._job: RunningJob | None = None

    def add_to(self, models: ModelList) -> ModelList:
        """The list with what is known."""
        return models.with_speeds(self._known)

    def predict(self, models: ModelList) -> None:
        """Predicts for those that are new in the list, unless something else wants the machine."""
        engine, jobs = self._services.engine, self._services.jobs
        new = {row.spec: (row.spec, row.size_bytes) for row in models.rows if not row.trouble}
        asked = {spec: key for spec, key in new.items() if key not in self._tried}
        if not asked or jobs.is_busy or engine.state not in _IDLE:
            return
        self._asked = asked
        job = SpeedsJob(tuple(asked), models.settings.n_threads)
        self._job = jobs.start(job, self._owner)

    def make_room(self) -> None:
        """Ends a prediction: the engine is about to need the machine. The next look at the list begins it again."""
        if self._job is not None and self._services.engine.state not in _IDLE:
            self._services.jobs.cancel(self._job)
            self._job = None

    def take(self, message: WorkerReported) -> bool:
        """Whether a message of the job brought speeds."""
        if self._job is None or message.source is not self._job:
            return False
        match message.event:
            case JobFinished(Speeds(tok_per_s)):
                self._job = None
                self._tried.update(self._asked.values())
                self._known |= {self._asked[spec]: speed for spec, speed in tok_per_s.items()}
                return True
            case RequestFailed() | WorkerDied():
                self._job = None
                self._tried.update(self._asked.values())
            case Logged(line):
                self._services.engine.log.append(one_line(line))
            case _:
                pass
        return False
