"""What the names of GGUF files say: parts of a split model, the type of the weights, and files that are no models.

The rules are those of llama.cpp's `-hf` (`gguf_filename_is_model` and `find_best_model`, common/download.cpp).
"""

import re
from collections.abc import Iterable
from typing import Final

_PART: Final = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_HELPERS: Final = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""Projectors, importance matrices and heads, which lie beside a model and cannot run alone."""
_QUANT: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:I?Q\d_[A-Z0-9]+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4|NVFP4|BF16|FP?16|FP?32))(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
_DEFAULT_QUANTS: Final = ("Q4_K_M", "Q8_0")
"""What llama.cpp looks for where none is named."""


def part_names(name: str) -> tuple[str, ...]:
    """The names of all parts of the split model that `name` is a part of, in order; itself where it is none."""
    match = _PART.match(name)
    if match is None:
        return (name,)
    count = max(1, int(match["count"]))
    return tuple(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))


def is_later_part(name: str) -> bool:
    """Whether it is the second or a later part of a split model."""
    match = _PART.match(name)
    return match is not None and int(match["number"]) != 1


def is_model(name: str) -> bool:
    """Whether a file of that name, which may have folders before it, is a model or the first part of one."""
    base = name.rpartition("/")[2].lower()
    return base.endswith(".gguf") and not is_later_part(base) and not any(part in base for part in _HELPERS)


def quant_of(name: str) -> str | None:
    """The type of the weights that a name tells, in upper case: `Q4_K_M`, `UD-Q4_K_XL`, `MXFP4`."""
    found = _QUANT.findall(name.rpartition("/")[2])
    return str(found[-1]).upper() if found else None


def choose_model(names: Iterable[str], quant: str | None) -> str | None:
    """The file of a repository that a quantization means.

    Args:
        names: Paths inside the repository.
        quant: Such as `Q4_K_M`, in any case; None for what llama.cpp takes: Q4_K_M, else Q8_0, else whatever there is.

    Returns:
        The first part where the model is split. A name that tells just this type comes before one that has more
        (`UD-Q4_K_M`), then the one in fewer folders, then the shorter. None where nothing fits.
    """
    models = [name for name in names if is_model(name)]
    for wanted in (quant,) if quant else _DEFAULT_QUANTS:
        pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(wanted)}(?![A-Za-z0-9_])", re.IGNORECASE)
        fitting = [name for name in models if pattern.search(name)]
        if fitting:
            return min(fitting, key=lambda name: (quant_of(name) != wanted.upper(), *_order(name)))
    return min(models, key=_order) if models and not quant else None


def _order(name: str) -> tuple[int, int, str]:
    return name.count("/"), len(name), name
