"""Contexts for one generator. With several, answers can be under way side by side on models that are loaded once."""

from dataclasses import dataclass, replace

from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.session.fast_draft import shortlist_of
from edgespec.session.loading import Loaded


@dataclass(frozen=True, slots=True)
class ContextPair(Closes):
    """A context of the target and, for a draft model, one of the draft."""

    target: Context
    draft: Context | None

    def close(self) -> None:
        """Frees both."""
        if self.draft:
            self.draft.close()
        self.target.close()


def open_context_pair(target: Loaded, draft: Loaded | None, n_ctx: int) -> ContextPair:
    """Contexts beside those that the models were loaded with.

    Args:
        target: Outlives them.
        draft: Likewise; None for a pair without one.
        n_ctx: Tokens of the target; no more than the context has that it was loaded with.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate a cache.
    """
    own = _open_context(target, n_ctx)
    try:
        # Another tokenizer may need more tokens for the same text.
        return ContextPair(own, _open_context(draft, 2 * n_ctx) if draft else None)
    except BaseException:
        own.close()
        raise


def _open_context(loaded: Loaded, n_ctx: int) -> Context:
    context = loaded.context
    shortlist = shortlist_of(loaded.file.meta) if context.shortlist else None
    settings = replace(context.settings, n_ctx=min(n_ctx, context.n_ctx))
    return Context(loaded.model, settings, shortlist=shortlist)
