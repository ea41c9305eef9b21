"""What a sweep compares: models that are named, pruned versions of one, and one with drafts, each with its worth."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgespec.cli.context import Settings
from edgespec.cli.progress import shown_progress
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.bench.sweep.variant import Variant
    from edgespec.bench.throughput.result import Curve
    from edgespec.catalog.model_file import ModelFile

_DENSE: Final = "dense"
"""What the first model is called beside versions of it, and its method in every result."""


@dataclass(frozen=True, slots=True)
class WantedVariants:
    """What is to be compared, as it was typed."""

    targets: tuple[str, ...]
    """Where there are none, the default model."""
    methods: tuple[str, ...]
    """Pruned versions of the first target."""
    ratio: float
    """Of the block weights that each version loses."""
    drafts: tuple[str, ...]
    """The first target with each."""


def find_variants(wanted: WantedVariants, settings: Settings) -> list["Variant"]:
    """The curves, the dense model first, each with what it is worth on a text; what is not here yet is made.

    Raises:
        UsageError: pruned versions of several models, two curves of one name, or a draft that batches cannot have.
        EdgespecError: a model cannot be had or made.
    """
    from edgespec.bench.sweep.variant import Variant
    from edgespec.catalog.toml_file import load_catalog
    from edgespec.cli.opening import find_model
    from edgespec.session.choice import NONE

    catalog = load_catalog()
    targets = list(wanted.targets) or [catalog.default]
    if wanted.methods and len(targets) > 1:
        raise UsageError("--prune makes versions of one model", "name one MODEL, or leave --prune out")
    pair = catalog.find_pair(targets[0])
    first = find_model(pair.target if pair else targets[0], settings)
    others = [find_model(name, settings) for name in targets[1:]]
    labelled = [
        (_DENSE if wanted.methods or wanted.drafts else first.name, first),
        *((file.name, file) for file in others),
        *((method, _prune(first, method, wanted.ratio, settings)) for method in wanted.methods),
    ]
    variants = [Variant(_curve(label, file, first, settings), file) for label, file in labelled]
    own_draft = pair.drafts[0] if pair else None
    for draft in (name for name in wanted.drafts if name != NONE):
        variants.append(_with_draft(variants[0], draft, own_draft, settings))
    _check_names([variant.name for variant in variants])
    return variants


def _check_names(names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"two curves are called {name!r}", "rename one of the files")


def _prune(dense: "ModelFile", method: str, ratio: float, settings: Settings) -> "ModelFile":
    from edgespec.catalog.model_file import open_file
    from quant.prune.choices import Method
    from quant.prune.versions import find_or_make_version

    with shown_progress(quiet=settings.quiet) as progress:
        progress.stage(f"pruning by {method}")
        path = find_or_make_version(dense.meta, Method(method), ratio, progress)
    return open_file(method, path)


def _curve(label: str, file: "ModelFile", dense: "ModelFile", settings: Settings) -> "Curve":
    from edgespec.bench.builtin_text import BUILTIN_TEXT, builtin_text
    from edgespec.bench.throughput.result import Curve, Quality
    from quant.gguf.recipe import pruning_method
    from quant.gguf.sizes import block_parameters
    from quant.prune.versions import measure_quality

    is_first = file is dense
    with shown_progress(quiet=settings.quiet) as progress:
        found = measure_quality(
            file.path,
            None if is_first else dense.path,
            builtin_text(),
            label=f"measuring what {label} is worth",
            progress=progress,
        )
    removed = dense.meta.parameter_count - file.meta.parameter_count
    return Curve(
        name=label,
        model=file.name,
        file=file.path.name,
        file_bytes=file.meta.file_bytes,
        parameter_count=file.meta.parameter_count,
        method=_DENSE if is_first else pruning_method(file.meta) or "",
        removed_share=0.0 if is_first else max(removed, 0) / max(1, block_parameters(dense.meta)),
        quality=Quality(
            found.perplexity,
            found.perplexity_se,
            found.distance.kl_mean if found.distance else None,
            found.distance.top1_agreement if found.distance else None,
            BUILTIN_TEXT,
        ),
    )


def _with_draft(dense: "Variant", name: str, own: str | None, settings: Settings) -> "Variant":
    """The dense model with a draft; `auto` is the pair's own.

    Raises:
        UsageError: there is not a pair to take it from, or its vocabulary is another one.
    """
    from edgespec.bench.sweep.variant import Variant
    from edgespec.cli.opening import find_model
    from edgespec.session.choice import AUTO_DRAFT
    from edgespec.session.loading import check_pair

    if name == AUTO_DRAFT and own is None:
        raise UsageError("there is no pair of that name to take the draft from", "name a model with --draft")
    draft = find_model(own if name == AUTO_DRAFT and own else name, settings)
    if check_pair(dense.model, draft).kind != "same-vocabulary":
        raise UsageError(
            f"{draft.name} has another vocabulary than {dense.model.name}, which batches cannot translate",
            f"`edgespec pair {dense.model.name}` lists drafts with the same one",
        )
    curve = replace(dense.curve, name=f"with {draft.name}", method="speculative", draft=draft.name)
    return Variant(curve, dense.model, draft)
