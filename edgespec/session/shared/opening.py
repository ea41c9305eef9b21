"""Opens a pair for many callers."""

from pathlib import Path

from edgespec.catalog.compatibility import pooling_of
from edgespec.errors import UsageError
from edgespec.progress import SILENT, Progress
from edgespec.ranges import check_ranges
from edgespec.session.choice import AUTO_DRAFT, NONE, choose_files
from edgespec.session.settings import EngineSettings
from edgespec.session.shared.embedding_engine import EmbeddingEngine
from edgespec.session.shared.embedding_session import EmbeddingSession
from edgespec.session.shared.engine import SharedEngine
from edgespec.session.shared.session import SharedSession


def open_shared(
    target: str | Path | None = None,
    draft: str | Path = AUTO_DRAFT,
    *,
    settings: EngineSettings | None = None,
    n_parallel: int = 4,
    cache_bytes: int | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    progress: Progress = SILENT,
) -> SharedSession | EmbeddingSession:
    """Opens a target with a draft for several answers at a time, or an embedding model.

    Args:
        target: A pair's or model's name, `owner/repo:Q4_K_M`, or a path; None for the default model.
        draft: `auto`, `ngram`, `none`, or a model like `target`.
        settings: Placement, threads, and the context that one conversation may have.
        n_parallel: Answers that are computed at a time; more wait.
        cache_bytes: What copies of conversations may take that have left the KV cache; None for a share of what is free.
        cache_dir: Where conversations are kept between runs; None keeps none.
        offline: Fetch nothing.
        progress: Gets a stage for everything that is fetched, loaded or measured.

    Raises:
        EdgespecError: any of its kinds; see `edgespec.errors`.
    """
    check_ranges(parallel=n_parallel)
    name = str(target) if target is not None else None
    files = choose_files(name, [str(draft)], offline=offline, progress=progress)
    if pooling := pooling_of(files.target.meta):
        if draft not in (AUTO_DRAFT, NONE):
            raise UsageError(
                f"{files.target.name} is {pooling.noun}: nothing can be drafted", "leave `draft` out"
            )
        return EmbeddingSession(
            EmbeddingEngine(files.target, pooling, settings or EngineSettings(), progress)
        )
    engine = SharedEngine(
        files.target,
        files.drafts,
        settings or EngineSettings(),
        n_parallel,
        draft=str(draft),
        cache_bytes=cache_bytes,
        cache_dir=cache_dir,
        acceptance=files.acceptance,
        progress=progress,
    )
    try:
        return SharedSession(engine)
    except BaseException:
        engine.close()
        raise
