"""What was wished for single tensors, held against what llama.cpp makes of it: a wish without effect is refused.

llama.cpp takes such wishes in silence (`llama_tensor_get_type` in src/llama-quant.cpp): patterns count with quantized
mixtures only, of several that fit the first one does, and a type whose blocks do not divide the rows is replaced.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Final

from edgespec.catalog.gguf_header import TensorInfo
from edgespec.catalog.gguf_types import BLOCKS
from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from edgespec.llama.quantizer import QuantizeSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOATS: Final = frozenset({"F32", "F16", "BF16"})
_EMBEDDINGS: Final = ("token_embd.weight", "per_layer_token_embd.weight")
_OUTPUT: Final = "output.weight"
NEVER_NEED_IMPORTANCE: Final = frozenset({"token_embd.weight", _OUTPUT})
"""By name, whatever their types (`tensor_requires_imatrix` in src/llama-quant.cpp)."""


def check_rows(meta: GgufMetadata, settings: QuantizeSettings) -> None:
    """Refuses a type for the output or the embeddings that cannot store their rows: there llama.cpp replaces nothing.

    Raises:
        UsageError: names the tensor and its rows.
    """
    wished = [(_OUTPUT, settings.output_type), *((name, settings.embedding_type) for name in _EMBEDDINGS)]
    tensors = {tensor.name: tensor for tensor in meta.tensors}
    for name, type_name in wished:
        tensor = tensors.get(name)
        if tensor is not None and type_name is not None and not _fits_rows(tensor, type_name):
            raise UsageError(f"{_rows_of(tensor)}, which {type_name} cannot store", _other_blocks(type_name))


def unmet_wishes(
    meta: GgufMetadata, settings: QuantizeSettings, types: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The patterns that give some of their tensors another type than they say, with these tensors.

    Args:
        meta: Of the source.
        settings: What is wished.
        types: What comes of it, by tensor name.

    Returns:
        `{"attn_v=Q4_K": ("blk.0.attn_v.weight",)}`; what is never quantized, such as a norm, is no reproach to a pattern.

    Raises:
        UsageError: a wish without any effect.
    """
    _check_named(settings, types)
    unmet: dict[str, tuple[str, ...]] = {}
    patterns = [pattern for pattern, _ in settings.tensor_types]
    for place, (pattern, wanted) in enumerate(settings.tensor_types):
        fitting = [tensor for tensor in meta.tensors if re.search(pattern, tensor.name)]
        own = [tensor for tensor in fitting if _first_fit(patterns, tensor.name) == place]
        if not any(types[tensor.name] == wanted for tensor in own):
            raise _without_effect(meta, settings, place, fitting, own)
        others = [tensor.name for tensor in own if types[tensor.name] not in (wanted, tensor.ggml_type)]
        if others:
            unmet[f"{pattern}={wanted}"] = tuple(others)
    return unmet


def describe_unmet(unmet: Mapping[str, Sequence[str]], types: Mapping[str, str]) -> Iterator[str]:
    """A clause for each pattern of `unmet_wishes`."""
    for wish, names in unmet.items():
        found = ", ".join(dict.fromkeys(types[name] for name in names))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"`tensor` {wish} does not fit {names[0]}{more}, which becomes {found}"


def importance_warnings(
    meta: GgufMetadata, importance: Mapping[str, "NDArray[np.float32]"], changed: Mapping[str, str]
) -> list[str]:
    """What an importance matrix says too much or too little for a model.

    Args:
        meta: Of the model.
        importance: By the weight's name; empty where there is none.
        changed: The types that tensors get, by name, where they are new.

    Raises:
        UsageError: none of its entries fits a weight, or one fits by its name and not by its width: it is of another model.
    """
    if not importance:
        return []
    wanted = {tensor.name: _row_length(tensor) * prod(tensor.shape[2:]) for tensor in meta.tensors}
    unknown = [name for name in importance if name not in wanted]
    wrong = [name for name in importance if name in wanted and importance[name].size != wanted[name]]
    wrong = [name for name in wrong if name not in NEVER_NEED_IMPORTANCE]
    if wrong or len(unknown) == len(importance):
        why = f"{len(unknown)} of its {len(importance)} entries name weights that {meta.path.name} lacks"
        if wrong:
            why = (
                f"{len(wrong)} of its {len(importance)} entries have another width, such as {wrong[0]} with "
                f"{importance[wrong[0]].size} columns in place of {wanted[wrong[0]]}"
            )
        raise UsageError(
            f"the importance matrix is of another model: {why}", "give the `imatrix` of this model"
        )
    quantized = [
        name for name, kind in changed.items() if kind not in FLOATS and name not in NEVER_NEED_IMPORTANCE
    ]
    missing = [name for name in quantized if name not in importance]
    said = []
    if unknown:
        said.append(
            f"{len(unknown)} of the {len(importance)} entries of the importance matrix name weights that the model lacks, "
            f"such as {unknown[0]}: it may be of another model"
        )
    if missing:
        said.append(
            f"the importance matrix says nothing of {len(missing)} of the {len(quantized)} weights that are quantized, "
            f"such as {missing[0]}"
        )
    return said


def _first_fit(patterns: Sequence[str], name: str) -> int:
    return next(place for place, pattern in enumerate(patterns) if re.search(pattern, name))


def _check_named(settings: QuantizeSettings, types: Mapping[str, str]) -> None:
    if settings.output_type is not None and _OUTPUT not in types:
        raise UsageError(
            f"`output_type` {settings.output_type} has no effect: the model's embedding table is its output matrix, too",
            "give the table a type with `embedding_type`",
        )
    if settings.embedding_type is not None and not any(name in types for name in _EMBEDDINGS):
        raise UsageError(
            f"`embedding_type` {settings.embedding_type} has no effect: the file has no embedding table",
            "leave it out",
        )


def _without_effect(
    meta: GgufMetadata,
    settings: QuantizeSettings,
    place: int,
    fitting: Sequence[TensorInfo],
    own: Sequence[TensorInfo],
) -> UsageError:
    pattern, wanted = settings.tensor_types[place]
    said = f"`tensor` {pattern}={wanted} has no effect"
    if not fitting:
        return UsageError(
            f"{said}: none of the {len(meta.tensors)} tensors has such a name",
            "names are such as blk.0.ffn_down.weight",
        )
    if not own:
        other, other_type = next(
            wish for wish in settings.tensor_types if re.search(wish[0], fitting[0].name)
        )
        return UsageError(
            f"{said}: {other}={other_type} stands before it and fits the same tensors",
            "put the narrower pattern first",
        )
    if settings.file_type in FLOATS:
        return UsageError(
            f"{said}: llama.cpp heeds patterns with a quantized `type` only, and not with {settings.file_type}",
            f"name a quantized `type`, and give {settings.file_type} to the other tensors by a pattern after this one",
        )
    narrow = [tensor for tensor in own if len(tensor.shape) > 1 and not _fits_rows(tensor, wanted)]
    if narrow:
        return UsageError(
            f"{said}: {_rows_of(narrow[0])}, which {wanted} cannot store", _other_blocks(wanted)
        )
    return UsageError(
        f"{said}: {own[0].name} is not quantized by llama.cpp, or has a type by `output_type` or `embedding_type`",
        "leave it out",
    )


def _fits_rows(tensor: TensorInfo, type_name: str) -> bool:
    return _row_length(tensor) % BLOCKS[type_name][0] == 0


def _row_length(tensor: TensorInfo) -> int:
    return prod(tensor.shape[:1])


def _rows_of(tensor: TensorInfo) -> str:
    return f"{tensor.name} has rows of {_row_length(tensor)} weights"


def _other_blocks(type_name: str) -> str:
    return f"its blocks hold {BLOCKS[type_name][0]}; Q8_0's hold {BLOCKS['Q8_0'][0]}, and F16 has none"
