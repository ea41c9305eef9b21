"""What `edgespec run` refuses: one line with the way out, and an exit code for each kind."""

from pathlib import Path
from typing import Any

import pytest

from tests.catalog.gguf_files import write_gguf
from tests.conftest import RunCli


@pytest.fixture
def files(tiny_model: Path, tmp_path: Path) -> dict[str, Path]:
    """Files with something wrong, by name."""
    made = {name: tmp_path / f"{name}.gguf" for name in ("picture", "empty", "cut")}
    made["picture"].write_bytes(b"GIF89a" * 10)
    made["empty"].write_bytes(b"")
    made["cut"].write_bytes(tiny_model.read_bytes()[:-1000])
    made["bert"] = write_gguf(tmp_path / "bert.gguf", architecture="bert")
    made["zebra"] = write_gguf(tmp_path / "zebra.gguf", architecture="zebra")
    return made


AGAIN = "Download the file again; `edgespec models pull NAME` checks size and hash"


@pytest.mark.parametrize(
    ("target", "arguments", "code", "line"),
    [
        ("tiny", [], 2, "there is no prompt. Give one with -p, or pipe one in"),
        (
            "smolm2-135m",
            ["-p", "x"],
            3,
            "there is no model 'smolm2-135m' in the catalogue and no file of that name. Did you mean "
            "smollm2-135m or smollm3-3b? `edgespec models` lists all names; a path or owner/repo:Q4_K_M works too",
        ),
        (
            "picture",
            ["-p", "x"],
            3,
            "{picture} is not a GGUF file: it starts with b'GIF8' instead of b'GGUF'. Name a .gguf file",
        ),
        ("empty", ["-p", "x"], 3, "{empty} is not a GGUF file: it has 0 bytes. " + AGAIN),
        (
            "cut",
            ["-p", "x"],
            3,
            "{cut} is truncated: 1000 bytes are missing at its end ({cut_size} of {size}). " + AGAIN,
        ),
        (
            "zebra",
            ["-p", "x"],
            3,
            "llama.cpp cannot load zebra.gguf: llama_model_load: error loading model: unknown model "
            "architecture: 'zebra'; llama_model_load_from_file_impl: failed to load model. Check the file "
            "with `edgespec models show`",
        ),
        (
            "tiny",
            ["-p", "x", "--draft", "{bert}"],
            3,
            "bert cannot draft for tiny: the draft is an encoder ('bert'), which writes no text token by token. "
            "`edgespec pair {tiny}` lists drafts that can",
        ),
        (
            "tiny",
            ["-p", "x", "--temperature", "-1"],
            2,
            "--temperature -1.0 is out of range. Use 0 (greedy) to 10",
        ),
        (
            "tiny",
            ["-p", "x", "--temperature", "hot"],
            2,
            "Invalid value for '--temperature': 'hot' is not a valid float. Try 'edgespec run --help'",
        ),
        ("tiny", ["-p", "x", "--top-p", "0"], 2, "--top-p 0.0 is out of range. Use above 0, at most 1"),
        (
            "tiny",
            ["-p", "x", "--gpu-layers", "some"],
            2,
            "--gpu-layers 'some' is not a number of layers. Use auto, all, 0 or a whole number",
        ),
        (
            "tiny",
            ["-p", "x", "--tensor-split", "3,nan"],
            2,
            "--tensor-split nan is out of range. Use shares such as 3,1",
        ),
        (
            "tiny",
            ["-p", "x", "--kv-type", "q3_k"],
            2,
            "'q3_k' is not a KV cache type. Choose one of f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, bf16",
        ),
        (
            "tiny",
            ["-p", "x", "--kv-type", "q8_0"],
            2,
            "tiny.gguf cannot run with --kv-type q8_0 --flash-attn auto: llama_init_from_model: K cache type "
            "q8_0 with block size 32 does not divide n_embd_head_k=16. Use --kv-type f16",
        ),
        (
            "tiny",
            ["-p", "x", "--kv-type-k", "q8_0"],
            2,
            "tiny.gguf cannot run with --kv-type-k q8_0 --kv-type-v f16 --flash-attn auto: llama_init_from_model: "
            "K cache type q8_0 with block size 32 does not divide n_embd_head_k=16. Use f16 for --kv-type-k and --kv-type-v",
        ),
        (
            "tiny",
            ["-p", "x" * 600, "--raw"],
            2,
            "the prompt has 601 tokens and the context 512. Use a larger --ctx-size or a shorter prompt",
        ),
        (
            "tiny",
            ["-p", "x", "-c", "10"],
            2,
            "Invalid value for '-c' / '--ctx-size': 10 is not in the range x>=64. Try 'edgespec run --help'",
        ),
    ],
)
def test_an_error_is_one_line_with_the_way_out(
    run_cli: RunCli,
    files: dict[str, Path],
    tiny_model: Path,
    target: str,
    arguments: list[str],
    code: int,
    line: str,
):
    named: dict[str, Any] = {**files, "tiny": tiny_model}
    sizes = {"size": tiny_model.stat().st_size, "cut_size": tiny_model.stat().st_size - 1000}
    result = run_cli("run", named.get(target, target), *[text.format(**named) for text in arguments])
    assert (result.code, result.out) == (code, "")
    assert result.err == "edgespec: " + line.format(**named, **sizes) + "\n"


def test_an_unknown_device_names_the_known_ones(run_cli: RunCli, tiny_model: Path, tiny_draft: Path):
    from edgespec.llama.devices import list_devices

    known = ", ".join(device.name for device in list_devices())
    line = f"edgespec: there is no device 'CUDA9'. This build of llama.cpp has: {known}\n"
    assert run_cli("run", tiny_model, "-p", "x", "--device", "CUDA9").err == line
    result = run_cli("run", tiny_model, "-p", "x", "--draft", tiny_draft, "--draft-device", "CUDA9")
    assert (result.code, result.out, result.err) == (2, "", line)


def test_too_little_memory_has_its_own_exit_code(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    from edgespec.catalog import memory

    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1 << 20)
    result = run_cli("run", tiny_model, "-p", "x")
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("edgespec: tiny would take 0.00 GiB and this machine has 0.00 GiB free")
    assert result.err.count("\n") == 1
