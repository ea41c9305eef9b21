"""Small sound files of every kind that edgespec meets, for the fuzzer to damage."""

import io
import multiprocessing
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .layout import Gguf, decode

_QUANTIZED: Final = ("Q4_0", "Q8_0", "Q4_K_M")


@dataclass(frozen=True, slots=True)
class Seed:
    """A sound model."""

    kind: str
    """What it is, in a word or two."""
    parts: tuple[tuple[str, Gguf], ...]
    """The names and contents of its files, the first part first."""
    is_imatrix: bool = False


def make_seeds(folder: Path) -> list[Seed]:
    """Writes the files into `folder`, in a process of their own, and reads them.

    llama.cpp starts threads when it computes, and a process that has them should not fork.
    """
    process = multiprocessing.get_context("fork").Process(target=_write, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise OSError(f"the sound files could not be made in {folder} (exit code {process.exitcode})")
    return list(_read(folder))


def _read(folder: Path) -> Iterator[Seed]:
    for place in sorted(folder.iterdir()):
        parts = tuple((file.name, decode(file)) for file in sorted(place.glob("*.gguf")))
        yield Seed(place.name, parts, is_imatrix=place.name == "imatrix")


def _write(folder: Path) -> None:
    from tests.catalog.gguf_files import write_gguf
    from tests.quant.split import split_in_two
    from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model
    from tests.tiny_memories import ARCHITECTURES, make_tiny_memory

    llama = make_tiny_model(folder / "llama" / "model.gguf", chat_template=CHAT_TEMPLATE)
    make_tiny_model(folder / "qwen2" / "model.gguf", architecture="qwen2", tokenizer="bpe", seed=5)
    make_tiny_model(folder / "encoder" / "model.gguf", causal=False)
    make_tiny_model(folder / "aligned" / "model.gguf", alignment=64)
    for memory in ARCHITECTURES:
        make_tiny_memory(folder / f"{memory} memory" / "model.gguf", memory, chat_template=CHAT_TEMPLATE)
    for kind, arguments in (
        ("adapter", {"kind": "adapter"}),
        ("mmproj", {"architecture": "clip", "kind": "mmproj"}),
    ):
        (folder / kind).mkdir()
        write_gguf(folder / kind / "model.gguf", **arguments)  # type: ignore[arg-type]
    split_in_two(llama, folder / "split")
    wide = make_tiny_model(
        folder / "wide" / "model.gguf",
        chat_template=CHAT_TEMPLATE,
        shape=TinyShape(embedding=256, feed_forward=256),
    )
    _write_derived(folder, llama, wide)


def _write_derived(folder: Path, llama: Path, wide: Path) -> None:
    """What edgespec itself makes of a model."""
    from edgespec.bench.builtin_text import builtin_text
    from edgespec.cli import main

    text = folder.parent / "calibration.txt"
    text.write_text(builtin_text(), encoding="utf-8")
    for kind in (*_QUANTIZED, "pruned", "imatrix"):
        (folder / kind).mkdir()
    commands: list[list[Path | str]] = [
        ["quantize", wide, "--type", kind, "-o", folder / kind / "model.gguf"] for kind in _QUANTIZED
    ]
    commands.append(["prune", llama, "--remove", "1", "--no-repair", "-o", folder / "pruned" / "model.gguf"])
    importance: list[Path | str] = ["--calibrate", text, "--save-imatrix", folder / "imatrix" / "model.gguf"]
    commands.append(["quantize", llama, "--type", "Q8_0", *importance, "-o", folder.parent / "unused.gguf"])
    for command in commands:
        with redirect_stdout(io.StringIO()):
            code = main([str(word) for word in command])
        if code:
            raise SystemExit(code)
