"""llama.cpp's own quantizer (`llama_model_quantize` in llama.h), in a process of its own that can be ended at any moment."""

import contextlib
import ctypes
import json
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgespec.bound_process import python_path
from edgespec.errors import EngineError
from edgespec.files import written_whole
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import load_library, native_lines, native_log, take_native_errors
from edgespec.llama.tensor_types import TYPE_NUMBERS
from edgespec.llama.trial import check_survived
from edgespec.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENSOR_LINE: Final = re.compile(r"\[ *(\d+)/ *(\d+)\] +(\S+) ")
"""What llama.cpp says of each tensor."""
_TYPE_AT_END = re.compile(r"MiB \((\w+)\)$")
_FILE_TYPE_PREFIX = "LLAMA_FTYPE_MOSTLY_"

_TRIED_TYPE: Final = "Q4_K_M"
"""A mixture that counts blocks and asks for their places."""
REQUEST_LENGTH: Final = struct.Struct("<Q")
"""Comes before a request to the process."""
_COMMAND: Final = (sys.executable, "-P", "-m", "edgespec.llama.quantizer_process")
_GO_ON: Final = b"."

ALIGNMENT_KEY: Final = "general.alignment"
_ALIGNMENT: Final = 32
"""Bytes. llama.cpp's quantizer lays its file out by GGUF_DEFAULT_ALIGNMENT whatever the key says that it copies from the
source (src/llama-quant.cpp); with another value nobody could read the result."""

_KEPT: Final = ((r"\.ple_(norm_|conv1d)", "F32"),)
"""Weights that a graph multiplies element by element, which ggml does not do with quantized ones, and that the quantizer does not
leave out by itself: norms and convolutions of qwen4exp's phrases (src/models/qwen4exp.cpp)."""


@dataclass(frozen=True, slots=True)
class QuantizeSettings:
    """What `llama_model_quantize` is asked for."""

    file_type: str
    """A mixture such as `Q4_K_M`, one of `file_types()`."""
    output_type: str | None = None
    """Of the output matrix, by its name in `TYPE_NUMBERS`; None for what the mixture gives it."""
    embedding_type: str | None = None
    """Of the embedding table, likewise."""
    tensor_types: tuple[tuple[str, str], ...] = ()
    """Regular expressions for tensor names, and their types."""
    pure: bool = False
    """The same type for every matrix."""
    importance: "Mapping[str, NDArray[np.float32]]" = field(default_factory=dict)
    """How much each column of a weight counts, `[n_columns]` by the weight's name: the mean squares of its inputs
    (llama.cpp's imatrix)."""


@cache
def file_types() -> dict[str, int]:
    """The mixtures that this llama.cpp writes, by the names that people use, with their `llama_ftype` numbers.

    `{"Q4_0": 2, "Q4_K_M": 15, ...}`.

    Raises:
        EngineError: llama.cpp cannot be loaded.
    """
    constants = vars(load_library())
    return {
        name.removeprefix(_FILE_TYPE_PREFIX): number
        for name, number in constants.items()
        if name.startswith(_FILE_TYPE_PREFIX)
    } | {"F32": constants["LLAMA_FTYPE_ALL_F32"]}


def requantize_file(
    source: Path, destination: Path, type_name: str, *, n_threads: int, progress: Progress = SILENT
) -> None:
    """Writes `source` with every matrix, embeddings and output too, as `type_name`, or as F16 where its rows do not fit that.

    Args:
        source: A GGUF in whatever types.
        destination: The new file; it appears only when it is whole.
        type_name: A mixture that has the name of a tensor type, such as `Q4_0`.
        n_threads: For the conversion.
        progress: Advanced once per tensor.

    Raises:
        EngineError: llama.cpp refused, or ended its process; nothing is left behind.
    """
    settings = QuantizeSettings(type_name, pure=True)
    quantize_file(source, destination, settings, n_threads=n_threads, progress=progress)


def quantize_file(
    source: Path,
    destination: Path,
    settings: QuantizeSettings,
    *,
    n_threads: int,
    progress: Progress = SILENT,
) -> None:
    """Writes `source` in other types; its tensors are laid out by 32 bytes, and ALIGNMENT_KEY says so.

    Args:
        source: A GGUF in whatever types.
        destination: The new file; it appears only when it is whole.
        settings: The types.
        n_threads: For the conversion.
        progress: Advanced once per tensor; the work waits while that does.

    Raises:
        EngineError: llama.cpp refused, or ended its process; nothing is left behind.
    """
    with written_whole(destination) as unfinished:
        with _quantizer_process() as process:
            request = pickle.dumps((source, unfinished, settings, n_threads))
            _send(process, REQUEST_LENGTH.pack(len(request)) + request)
            problem = _follow(process, progress)
        if problem is not None:
            words = problem or f"its process ended with code {process.returncode}"
            raise _refusal(source, settings, words)


@contextmanager
def _quantizer_process() -> Iterator[subprocess.Popen[bytes]]:
    """Runs `quantizer_process` for as long as the block runs; it ends itself where this process is killed."""
    process = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _send(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has ended, and will have said why
        process.stdin.write(data)
        process.stdin.flush()


def _follow(process: subprocess.Popen[bytes], progress: Progress) -> str | None:
    """Hears the process out.

    Returns:
        What went wrong; empty where it ended without a word, None where all went well.
    """
    assert process.stdout is not None
    printed: list[str] = []
    for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            printed.append(line.decode("utf-8", "replace").strip())
            continue
        match said:
            case {"tensor": _}:
                progress.advance()
                _send(process, _GO_ON)
            case {"log": [int(level), str(text)]}:
                native_log.log(level, "%s", text)
            case {"end": problem}:
                return None if problem is None else str(problem)
    return next(filter(None, printed), "")


def planned_types(source: Path, settings: QuantizeSettings) -> dict[str, str]:
    """The types that `quantize_file` would give, by tensor name, as llama.cpp's dry run says them.

    Returns:
        `{"blk.0.ffn_down.weight": "Q6_K", ...}`; a tensor that is not named keeps the type that it has.

    Raises:
        EngineError: llama.cpp refused.
    """
    types: dict[str, str] = {}
    name = ""
    known = {label.lower(): label for label in TYPE_NUMBERS}

    def listen(line: str) -> None:
        nonlocal name
        found = TENSOR_LINE.match(line)
        if found:
            name = found[3]
        changed = _TYPE_AT_END.search(line)
        if changed and name:
            types[name] = known.get(changed[1].lower(), changed[1])

    check_survived(source, "quantize")
    with native_lines(listen):
        problem = run_quantizer(source, source, settings, 1, dry_run=True)
    if problem is not None:
        raise _refusal(source, settings, problem)
    return types


def try_dry_run(source: Path) -> None:
    """Goes through what `planned_types` does with a file that may end the process."""
    run_quantizer(source, source, QuantizeSettings(_TRIED_TYPE), 1, dry_run=True)


def check_header(written: Path) -> str | None:
    """Whether llama.cpp can read what it wrote; what is wrong, None where nothing is."""
    problem = run_quantizer(written, written, QuantizeSettings(_TRIED_TYPE), 1, dry_run=True)
    return None if problem is None else f"the disk did not take all of it ({problem})"


def _refusal(source: Path, settings: QuantizeSettings, words: str) -> EngineError:
    return EngineError(f"llama.cpp could not requantize {source.name} to {settings.file_type}: {words}")


def run_quantizer(
    source: Path, destination: Path, settings: QuantizeSettings, n_threads: int, *, dry_run: bool
) -> str | None:
    """Calls it in this process; Ctrl-C becomes KeyboardInterrupt once it is done.

    Returns:
        What went wrong, in llama.cpp's words; None where nothing did.
    """
    lib = load_library()
    params, keep = _params(lib, settings)
    params.nthread = n_threads
    params.dry_run = dry_run
    take_native_errors()
    with HeldInterrupts():
        code = lib.llama_model_quantize(os.fsencode(source), os.fsencode(destination), ctypes.byref(params))
    del keep
    return (take_native_errors() or str(code)) if code else None


def _params(lib: Any, settings: QuantizeSettings) -> tuple[Any, list[Any]]:
    """The parameter structure, and what must stay alive while it is used."""
    params, keep = lib.llama_model_quantize_default_params(), list[Any]()
    params.ftype = file_types()[settings.file_type]
    params.allow_requantize = True
    params.pure = settings.pure
    alignment = (lib.llama_model_kv_override * 2)()  # the second one, without a key, ends the list
    alignment[0].tag, alignment[0].key = lib.LLAMA_KV_OVERRIDE_TYPE_INT, ALIGNMENT_KEY.encode()
    alignment[0].value.val_i64 = _ALIGNMENT
    params.kv_overrides = alignment
    keep.append(alignment)
    if settings.output_type is not None:
        params.output_tensor_type = TYPE_NUMBERS[settings.output_type]
    if settings.embedding_type is not None:
        params.token_embedding_type = TYPE_NUMBERS[settings.embedding_type]
    patterns = (*_KEPT, *settings.tensor_types)
    overrides = (lib.llama_model_tensor_override * (len(patterns) + 1))()
    for entry, (pattern, type_name) in zip(overrides, patterns, strict=False):
        entry.pattern, entry.type = pattern.encode(), TYPE_NUMBERS[type_name]
    params.tt_overrides = overrides
    keep.append(overrides)
    if settings.importance:
        import numpy as np

        entries = (lib.llama_model_imatrix_data * (len(settings.importance) + 1))()
        for entry, (name, values) in zip(entries, settings.importance.items(), strict=False):
            data = np.ascontiguousarray(values, np.float32)
            entry.name, entry.size = name.encode(), data.size
            entry.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            keep.append(data)
        params.imatrix = entries
        keep.append(entries)
    return params, keep
