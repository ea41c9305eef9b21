"""Loading and freeing models, what llama.cpp is told, and text to tokens and back."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import psutil
import pytest

import edgespec.llama.model
from edgespec.errors import EngineError, ModelFileError, NotEnoughMemoryError
from edgespec.llama.context import Context
from edgespec.llama.library import load_library, native_log
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.plan.zero_model import ZeroModel
from tests.llama.engines import settings
from tests.recorded_progress import RecordedProgress
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

MIB = 1 << 20


def test_a_model_tells_what_its_file_says(model: Model, tiny_model: Path):
    assert (model.n_embd, model.n_layer, model.n_ctx_train) == (64, 2, 512)
    assert model.n_vocab == len(gguf.GGUFReader(tiny_model).fields["tokenizer.ggml.tokens"].data)
    assert model.description == "llama ?B all F32"
    assert model.chat_template == CHAT_TEMPLATE
    assert (model.bos_text, model.eos_text) == ("<s>", "</s>")
    assert 0 < model.size_bytes < tiny_model.stat().st_size
    assert model.size_bytes == 4 * model.n_params


def test_a_model_without_a_chat_template_has_none(tiny_draft: Path):
    with Model(tiny_draft) as model:
        assert model.chat_template is None


def test_closing_twice_frees_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    lib, freed = load_library(), []
    free = lib.llama_model_free
    monkeypatch.setattr(lib, "llama_model_free", lambda handle: (freed.append(handle), free(handle)))
    model = Model(tiny_model)
    model.close()
    model.close()
    assert len(freed) == 1
    assert model.handle is None


def test_a_closed_model_is_an_error_and_not_a_crash(tiny_model: Path):
    model = Model(tiny_model)
    model.close()
    for work in (
        lambda: model.tokenize("the cat"),
        lambda: model.token_bytes(5),
        lambda: model.is_end(5),
        lambda: model.chat_template,
        lambda: model.bos_text,
        lambda: model.description,
    ):
        with pytest.raises(EngineError, match=r"tiny\.gguf is closed"):
            work()


def test_fifty_models_and_contexts_leave_no_memory_behind(tiny_folder: Path):
    path = make_tiny_model(tiny_folder / "wide.gguf", embedding=256)

    def open_and_close(times: int) -> int:
        for _ in range(times):
            with Model(path) as model, Context(model, settings(n_ctx=2048)) as context:
                context.decode([5, 6, 7])
        gc.collect()
        return psutil.Process().memory_info().rss

    before = open_and_close(5)
    # Fifty contexts that were never freed would be 190 MiB, fifty models 145 MiB.
    assert open_and_close(50) - before < 40 * MIB


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "gguf"), (b"GIF89a" + bytes(64), "gguf"), (b"GGUF\x03\0\0\0", "gguf")],
    ids=["empty", "another format", "cut in the header"],
)
def test_a_file_that_is_not_a_model_is_refused_with_its_name(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"llama\.cpp cannot load broken\.gguf: .*") as caught:
        Model(path)
    assert said in caught.value.message


def test_a_file_cut_in_its_weights_is_refused(tmp_path: Path, tiny_model: Path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_model.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match="not within the file bounds") as caught:
        Model(path)
    assert caught.value.hint == "check the file with `edgespec models show`"


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ModelFileError, match=r"cannot load nothing\.gguf"):
        Model(tmp_path / "nothing.gguf")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_model_is_loaded_from_a_file_name_that_is_not_utf8(tmp_path: Path, tiny_model: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.gguf"))
    path.write_bytes(tiny_model.read_bytes())
    with Model(path) as model:
        assert model.n_layer == 2


def test_progress_rises_to_one(tiny_model: Path):
    progress = RecordedProgress()
    progress.stage("loading", 1)
    Model(tiny_model, progress=progress).close()
    shares = [done for done, _, _ in progress.steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_ctrl_c_while_loading_ends_it_without_a_word(tiny_model: Path, capfd: pytest.CaptureFixture[str]):
    def interrupt(done: float, _label: str) -> None:
        if done > 0:
            signal.raise_signal(signal.SIGINT)

    progress = RecordedProgress(watch=interrupt)
    progress.stage("loading", 1)
    with pytest.raises(KeyboardInterrupt):
        Model(tiny_model, progress=progress)
    assert 0.0 < progress.done < 1.0
    assert capfd.readouterr() == ("", "")
    with Model(tiny_model) as model:
        assert model.n_layer == 2


def test_ctrl_c_inside_a_log_line_is_not_lost(
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """Python runs the handler inside the callback that receives llama.cpp's log."""
    sent: list[str] = []

    def interrupt_once(level: int, line: str) -> None:
        if not sent:
            sent.append(line)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(native_log, "log", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        Model(tiny_model)
    assert len(sent) == 1
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What llama.cpp was told by the last load, which then fails."""
    lib, seen = load_library(), {}

    def refuse(path: bytes, params: Any) -> None:
        seen["path"] = path
        seen["gpu_layers"] = params.n_gpu_layers
        devices = ctypes.cast(params.devices, ctypes.POINTER(ctypes.c_void_p))
        seen["devices"] = devices and _until_null(devices)
        split = params.tensor_split
        seen["tensor_split"] = split and [split[place] for place in range(3)]

    monkeypatch.setattr(lib, "llama_model_load_from_file", refuse)
    return seen


def _until_null(pointers: Any) -> list[int]:
    found = []
    while pointers[len(found)]:
        found.append(pointers[len(found)])
    return found


def test_without_a_placement_llama_cpp_is_told_to_use_the_cpu(told: dict[str, Any], tiny_model: Path):
    with pytest.raises(ModelFileError, match="no reason given"):
        Model(tiny_model)
    assert told["path"] == os.fsencode(tiny_model)
    assert told["gpu_layers"] == 0
    assert not told["devices"]
    assert not told["tensor_split"]


def test_layers_devices_and_shares_are_passed_down(
    told: dict[str, Any], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    handles = {"GPU0": 0x1000, "GPU1": 0x2000}
    monkeypatch.setattr(edgespec.llama.model, "device_handle", handles.__getitem__)
    with pytest.raises(ModelFileError):
        Model(tiny_model, Placement(7, ("GPU1", "GPU0"), (3.0, 1.0)))
    assert told["gpu_layers"] == 7
    assert told["devices"] == [0x2000, 0x1000]
    assert told["tensor_split"] == [3.0, 1.0, 0.0]


def test_a_real_device_can_be_named(tiny_model: Path):
    with Model(tiny_model, Placement(0, ("cpu",))) as model, Context(model, settings()) as context:
        context.decode([5])
        assert context.logits(1).shape == (1, model.n_vocab)


def test_no_room_for_the_weights_is_an_error_of_memory(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(load_library(), "llama_model_load_from_file", lambda _path, _params: None)
    said = ["", "error loading model: unable to allocate CUDA0 buffer"]
    monkeypatch.setattr(edgespec.llama.model, "take_native_errors", lambda: said.pop(0))
    with pytest.raises(NotEnoughMemoryError) as caught:
        Model(tiny_model)
    assert caught.value.message == (
        "there is no room for tiny.gguf: error loading model: unable to allocate CUDA0 buffer"
    )


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_bpe"])
@pytest.mark.parametrize("text", ["the cat", "a\0b", "\u65e5\u672c \U0001f600", "  two  spaces\n\n\ttab", ""])
def test_text_comes_back_from_its_tokens(fixture: str, text: str, request: pytest.FixtureRequest):
    with Model(request.getfixturevalue(fixture)) as model:
        tokens = model.tokenize(text, add_special=False, parse_special=False)
        assert b"".join(model.token_bytes(token) for token in tokens) == text.encode()


def test_a_long_text_of_single_bytes_fits_the_buffer(model: Model):
    text = "\x01" * 5000
    assert len(model.tokenize(text)) == 5001


def test_the_begin_token_is_added_where_it_is_wanted(model: Model):
    bos = model.tokenize("", add_special=True)
    assert len(bos) == 1
    assert model.token_bytes(bos[0], special=True) == b"<s>"
    assert model.tokenize("the", add_special=True) == bos + model.tokenize("the", add_special=False)


def test_control_tokens_are_read_only_where_they_are_asked_for(model: Model):
    assert len(model.tokenize("</s>", add_special=False, parse_special=True)) == 1
    assert len(model.tokenize("</s>", add_special=False, parse_special=False)) == 4


def test_the_end_token_ends_and_shows_nothing(model: Model):
    (end,) = model.tokenize("</s>", add_special=False)
    assert model.is_end(end)
    assert model.token_bytes(end) == b""
    assert model.token_bytes(end, special=True) == b"</s>"
    assert model.token_bytes(end) == b""
    assert not model.is_end(model.tokenize("t", add_special=False)[0])


def test_bytes_of_a_command_line_that_are_not_text_become_question_marks(model: Model):
    broken = os.fsdecode(b"a\xffb") if sys.platform != "win32" else "a\udcffb"
    tokens = model.tokenize(broken, add_special=False)
    assert b"".join(map(model.token_bytes, tokens)) == b"a?b"


def test_a_model_without_a_vocabulary_is_refused_a_text(tmp_path: Path):
    path = tmp_path / "zero.gguf"
    ZeroModel("F16", blocks=1, width=256, hidden=256).write(path)
    with Model(path) as model:
        assert not model.has_vocabulary
        with pytest.raises(ModelFileError, match=r"zero\.gguf carries no vocabulary"):
            model.tokenize("abc")


def test_a_text_that_cannot_be_tokenized_is_an_error(model: Model, monkeypatch: pytest.MonkeyPatch):
    refuse: Callable[..., int] = lambda *_: -40  # noqa: E731
    monkeypatch.setattr(load_library(), "llama_tokenize", refuse)
    with pytest.raises(EngineError, match=r"tiny\.gguf cannot tokenize a text of 3 bytes"):
        model.tokenize("abc")


def test_the_token_that_ends_answers_is_the_one_that_the_template_writes(tiny_bpe: Path, tmp_path: Path):
    with Model(tiny_bpe) as model:
        assert model.turn_end is not None
        assert model.is_end(model.turn_end)
        assert model.end_texts == ("<|endoftext|>",)
    path = make_tiny_model(tmp_path / "m.gguf", chat_template="{{ messages }}</s>")
    with Model(path) as model:
        assert model.control_text(model.turn_end or 0) == "</s>"


def test_the_texts_of_all_tokens_are_those_of_each(tiny_model: Path):
    with Model(tiny_model) as model, Model(tiny_model) as other:
        assert other.all_token_bytes() == [model.token_bytes(token) for token in range(model.n_vocab)]
