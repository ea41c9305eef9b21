"""A benchmark of `edgespec bench` as a job: figures after every prompt, and what was finished when it is stopped."""

from dataclasses import dataclass
from pathlib import Path

from edgespec.bench.document import Result
from edgespec.bench.prompts import Prompt
from edgespec.bench.result import BenchResult
from edgespec.bench.speculative import BenchSettings, SpeculativeBench
from edgespec.bench.store import ResultStore
from edgespec.paths import results_dir
from edgespec.session.choice import choose_files
from edgespec.session.engine import Engine
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import JobReported, Link


class _TellingStore(ResultStore):
    """Tells of every result that it saves."""

    def __init__(self, folder: Path, link: Link) -> None:
        super().__init__(folder)
        self._link = link

    def save(self, result: Result) -> Path:
        """Saves, then tells."""
        path = super().save(result)
        self._link.send(JobReported(result))
        return path


@dataclass(frozen=True, slots=True)
class BenchJob:
    """What is measured; the fields are the options of the command. `BenchResult` is told after each prompt."""

    target: str | None
    drafts: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    settings: BenchSettings
    engine: EngineSettings
    offline: bool = False

    def run(self, link: Link) -> BenchResult:
        """Measures; a stop ends it early, and the result says so.

        Raises:
            EdgespecError: any of its kinds.
        """
        progress = link.progress
        files = choose_files(self.target, self.drafts, offline=self.offline, progress=progress)
        store = _TellingStore(results_dir(), link)
        with Engine(files.target, files.drafts, self.engine, progress, files.acceptance) as engine:
            return SpeculativeBench(engine, self.prompts, self.settings, store, progress).run()
