"""llama.cpp's own quantizer, in process."""

import ctypes
import os
from pathlib import Path

from edgespec.errors import EngineError
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import load_library, take_native_errors

FTYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7}
"""`llama_ftype` numbers (llama.h) of the types that a copy may take."""
GGML_TYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 8}
"""`ggml_type` numbers (ggml.h) of the same."""


def requantize_file(source: Path, destination: Path, type_name: str, *, n_threads: int) -> None:
    """Writes `source` with every matrix, embeddings and output too, as `type_name`.

    The file appears under its name only when it is whole.

    Raises:
        EngineError: llama.cpp refused; nothing is left behind.
        KeyboardInterrupt: Ctrl-C, once llama.cpp is done; nothing is left behind.
    """
    lib = load_library()
    params = lib.llama_model_quantize_default_params()
    params.nthread = n_threads
    params.ftype = FTYPES[type_name]
    params.output_tensor_type = GGML_TYPES[type_name]
    params.token_embedding_type = GGML_TYPES[type_name]
    params.allow_requantize = True
    params.pure = True
    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(f"{destination.name}.{os.getpid()}.part")
    take_native_errors()
    try:
        with HeldInterrupts():
            code = lib.llama_model_quantize(
                os.fsencode(source), os.fsencode(unfinished), ctypes.byref(params)
            )
        if code:
            raise EngineError(
                f"llama.cpp could not requantize {source.name} to {type_name}: {take_native_errors() or code}"
            )
        unfinished.replace(destination)
    finally:
        unfinished.unlink(missing_ok=True)
