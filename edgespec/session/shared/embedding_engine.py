"""An embedding model, loaded, with what it takes of the machine."""

from typing import Final

from edgespec.catalog.compatibility import Pooling
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.timed_text import arbitrary_tokens
from edgespec.lifetime import Closes
from edgespec.llama.embedding_context import EmbeddingContext
from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from edgespec.session.memory_needs import draft_context
from edgespec.session.placing import check_contexts, place_file, settle_context
from edgespec.session.settings import EngineSettings

MOST_TEXTS: Final = 32
"""Texts of a batch."""
_LONGEST_TEXT: Final = 2048
"""Tokens, where nobody asks for more: attention over a text that is read at once takes memory by the square of its length."""
_PAIR_TEMPLATE: Final = "tokenizer.chat_template.rerank"
_TRAINED_N_CTX: Final = 512
"""Of a file that does not say, as of BERT."""


class EmbeddingEngine(Closes):
    """Owns a model and its context.

    Args:
        file: The model.
        pooling: How the vectors of tokens become one.
        settings: Placement, threads, and the tokens that a text may have.
        progress: Gets a stage for loading it.

    Raises:
        NotEnoughMemoryError: it does not fit, said before it is loaded.
        ModelFileError: llama.cpp cannot load it.
    """

    def __init__(
        self, file: ModelFile, pooling: Pooling, settings: EngineSettings, progress: Progress = SILENT
    ) -> None:
        self.file, self.pooling = file, pooling
        template = file.meta.fields.get(_PAIR_TEMPLATE)
        self.pair_template = template if isinstance(template, str) else None
        """Of a reranker, for a question and a text; None where tokens stand between them."""
        trained = file.meta.context_length or _TRAINED_N_CTX
        # Behind the end of a table of positions, as BERT's, llama.cpp ends the process.
        self.n_ctx = min(settings.n_ctx or _LONGEST_TEXT, trained)
        settings = settle_context(file, [], settings)
        context = draft_context(settings, self.n_ctx)
        check_contexts([(file, context)], settings)
        progress.stage(f"loading {file.name}", 1)
        placement = place_file(file, settings.placement, context, settings)
        self.model = Model(file.path, placement, progress)
        try:
            self.context = EmbeddingContext(self.model, context, pooling.number, MOST_TEXTS)
            # Touches the weights, so that the first text is not the one that reads them from the disk.
            self.context.embed([arbitrary_tokens(self.model, min(8, self.n_ctx))])
        except BaseException:
            self.model.close()
            raise

    def close(self) -> None:
        """Frees everything. A second call does nothing."""
        self.context.close()
        self.model.close()
