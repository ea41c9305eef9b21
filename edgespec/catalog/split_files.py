"""Models that lie in several files, `NAME-00001-of-00003.gguf` and so on, each with a header of its own."""

from pathlib import Path

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_header import GgufHeader
from edgespec.catalog.gguf_names import part_names
from edgespec.errors import ModelFileError


def split_parts(path: Path) -> list[Path]:
    """All files of the model that `path` belongs to, in order; `[path]` when its name is not that of a part.

    Raises:
        ModelFileError: A part is not there.
    """
    files = [path.with_name(name) for name in part_names(path.name)]
    count = len(files)
    if count < 2:
        return [path]
    missing = [file.name for file in files if not file.is_file()]
    if missing and len(missing) < count:
        raise ModelFileError(
            f"{path} is one of {count} parts, and {len(missing)} of them are not beside it: {', '.join(missing[:3])}"
            + (", ..." if len(missing) > 3 else ""),
            "put all parts into one folder under their own names",
        )
    return files


def check_split(header: GgufHeader, n_files: int) -> None:
    """Refuses a part that is called like a whole model.

    Args:
        header: Of the first file.
        n_files: As many files as there are by its name.

    Raises:
        ModelFileError: it says that there are more parts.
    """
    claimed = header.fields.get("split.count")
    if not isinstance(claimed, int) or claimed < 2 or claimed == n_files:
        return
    if _is_followed_by_another(header):
        raise ModelFileError(
            f"{header.path} is made of parts of a split model, put one behind the other, which no program reads",
            f"put the parts themselves into one folder and name the first, NAME-00001-of-{claimed:05d}.gguf; "
            "to merge them into one file takes llama-gguf-split",
        )
    raise ModelFileError(
        f"{header.path} says that it is one of {claimed} parts, but its name does not say which",
        f"give the parts their own names back: NAME-00001-of-{claimed:05d}.gguf and so on",
    )


def _is_followed_by_another(header: GgufHeader) -> bool:
    """Whether a second GGUF file begins where the weights of the first one end, padded or not."""
    end = header.data_offset + max((t.offset + t.n_bytes for t in header.tensors), default=0)
    with header.path.open("rb") as file:
        file.seek(end)
        return types.MAGIC in file.read(header.alignment + len(types.MAGIC))
