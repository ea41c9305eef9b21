"""Before and while a pair is loaded: refusals, the memory, the fast copy of a draft, and what is freed on failure."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import pytest

from edgespec.catalog import memory
from edgespec.catalog.model_file import open_file
from edgespec.decode.measure_costs import BUDGET_S
from edgespec.errors import (
    EngineError,
    IncompatibleDraftError,
    ModelFileError,
    NotEnoughMemoryError,
    UsageError,
)
from edgespec.llama import shortlist as shortlist_module
from edgespec.llama.build import native_kernels
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.devices import Device
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.placement import DEVICE_RESERVE_BYTES, PlacementRequest
from edgespec.paths import derived_models_dir, user_catalog_file
from edgespec.session import DraftType, EngineSettings, loading, memory_needs, open_pair, placing
from edgespec.session import fast_draft as fast_draft_module
from edgespec.session.loading import check_pair, load_target
from edgespec.session.memory_needs import draft_context, estimate_context, measure_target, target_context
from tests.catalog.gguf_files import write_gguf
from tests.recorded_progress import RecordedProgress
from tests.threads import run_together
from tests.tiny import make_tiny_model
from tests.tiny_memories import make_tiny_memory

GIB = 1 << 30


def stages_of(*arguments: Any, **options: Any) -> list[str]:
    """What is said while a pair is opened, which is closed again."""
    progress = RecordedProgress()
    open_pair(*arguments, progress=progress, **options).close()
    return [label for label in progress.labels if not label.startswith(("looking", "measuring"))]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many models and contexts were made and freed."""
    lib = load_library()
    counts: dict[str, int] = {}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            result = function(*arguments)
            counts[name] = counts.get(name, 0) + (name.endswith("free") or bool(result))
            return result

        return count

    for name in ("llama_model_load_from_file", "llama_model_free", "llama_init_from_model", "llama_free"):
        monkeypatch.setattr(lib, name, counting(name, getattr(lib, name)))
    return counts


# Refusals before anything is loaded


def test_too_little_memory_is_said_before_anything_is_loaded(
    tiny_model: Path, tiny_draft: Path, loads: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(NotEnoughMemoryError, match=r"^tiny and tiny-draft would take \d") as caught:
        open_pair(tiny_model, tiny_draft)
    assert "this machine has 0.00 GiB free" in caught.value.message
    assert caught.value.exit_code == 4
    assert loads == {}


def test_a_draft_counts_in_the_memory(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch):
    alone = measure_target(open_file("tiny", tiny_model), EngineSettings()).total_bytes
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: alone)
    stages_of(tiny_model, "none")
    with pytest.raises(NotEnoughMemoryError) as caught:
        open_pair(tiny_model, tiny_draft)
    assert "`draft` none" in caught.value.hint


def test_a_larger_context_counts_in_the_memory(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 15 << 20)
    stages_of(tiny_model, settings=EngineSettings(n_ctx=4096))
    with pytest.raises(NotEnoughMemoryError, match=r"0\.25 GiB KV cache"):
        open_pair(tiny_model, settings=EngineSettings(n_ctx=1 << 20))


def test_a_draft_that_cannot_serve_is_refused_before_anything_is_loaded(
    tiny_model: Path, tmp_path: Path, loads: dict[str, int]
):
    draft = write_gguf(tmp_path / "other.gguf", architecture="bert")
    with pytest.raises(IncompatibleDraftError) as caught:
        open_pair(tiny_model, draft)
    assert caught.value.message == (
        "other cannot draft for tiny: the draft is an encoder ('bert'), which writes no text token by token"
    )
    assert caught.value.hint == f"`edgespec pair {tiny_model}` lists drafts that can"
    assert loads == {}


@pytest.mark.parametrize("name", ["tiny", "my-model"])
def test_the_hint_names_what_the_pair_command_finds(
    tiny_model: Path, tmp_path: Path, run_cli: Callable[..., Any], name: str
):
    home_file = user_catalog_file()
    home_file.parent.mkdir(parents=True)
    home_file.write_text(f"[models.my-model]\npath = {json.dumps(str(tiny_model))}\n", encoding="utf-8")
    draft = open_file("other", write_gguf(tmp_path / "other.gguf", architecture="bert"))
    with pytest.raises(IncompatibleDraftError) as caught:
        check_pair(open_file(name, tiny_model), draft)
    typed = caught.value.hint.removeprefix("`edgespec pair ").removesuffix("` lists drafts that can")
    assert run_cli("pair", typed).code == 0


def test_a_target_that_is_not_a_model_is_refused(tmp_path: Path, loads: dict[str, int]):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GIF89a")
    with pytest.raises(ModelFileError, match="broken"):
        open_pair(path)
    assert loads == {}


# Failures half-way


def test_a_draft_that_does_not_load_frees_the_target(
    tiny_model: Path, tmp_path: Path, loads: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    """Its header and vocabulary are in order, but it has no weights."""
    tokens, types = tokens_and_types(tiny_model)
    draft = write_gguf(tmp_path / "hollow.gguf", tokens=tokens, token_types=types, tokenizer="llama")
    with pytest.raises(ModelFileError, match=r"llama\.cpp cannot load hollow\.gguf"):
        open_pair(tiny_model, draft, settings=EngineSettings(draft_type=DraftType.AS_IS))
    assert loads["llama_model_load_from_file"] == loads["llama_model_free"] == 1
    assert loads["llama_init_from_model"] == loads["llama_free"] == 1


def tokens_and_types(path: Path) -> tuple[list[str], list[int]]:
    fields = gguf.GGUFReader(path).fields
    return fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()


@pytest.mark.parametrize("fails", ["warm_up", "_translator"])
def test_a_failure_after_loading_frees_model_and_context(
    tiny_model: Path, loads: dict[str, int], monkeypatch: pytest.MonkeyPatch, fails: str
):
    def fail(*_: Any) -> None:
        raise EngineError("no more")

    monkeypatch.setattr(loading, fails, fail)
    with pytest.raises(EngineError, match="no more"):
        open_pair(tiny_model)
    assert loads["llama_model_load_from_file"] == loads["llama_model_free"] == 1
    assert loads["llama_init_from_model"] == loads["llama_free"] == 1


def test_ctrl_c_while_measuring_frees_everything(tiny_model: Path, tiny_draft: Path, loads: dict[str, int]):
    def interrupt(label: str) -> None:
        if label.startswith("measuring"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_pair(tiny_model, tiny_draft, progress=RecordedProgress(entered=interrupt))
    assert loads["llama_model_free"] == loads["llama_model_load_from_file"] == 2
    assert loads["llama_free"] == loads["llama_init_from_model"]


def test_memory_is_reckoned_with_the_rows_that_a_target_is_opened_with():
    assert memory.TARGET_OUTPUTS == memory_needs.TARGET_ROWS


def test_loading_is_counted_and_measuring_in_seconds(tiny_model: Path):
    progress = RecordedProgress()
    open_pair(tiny_model, "none", progress=progress).close()
    assert (1, 1, "loading tiny") in progress.steps
    assert progress.stages[-1].unit == "seconds"
    measured = [(done, total) for done, total, label in progress.steps if label == "measuring tiny"]
    assert measured[0] == (0, BUDGET_S)
    assert measured[-1][0] > 0


# The fast copy of a draft


def copies() -> list[Path]:
    return sorted(derived_models_dir().iterdir()) if derived_models_dir().is_dir() else []


def test_a_fast_copy_is_made_once_and_used_again(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    first = ["loading tiny", "preparing tiny-draft", "loading tiny-draft (Q4_0 copy)"]
    assert stages_of(tiny_model, tiny_draft) == first
    (copy,) = copies()
    assert copy.stat().st_size < tiny_draft.stat().st_size / 4
    monkeypatch.setattr(fast_draft_module, "requantize_file", fail_to_requantize)
    with open_pair(tiny_model, tiny_draft) as session:
        assert session.engine.drafts["tiny-draft"].file.path == copy
    assert copies() == [copy]


@pytest.mark.skipif(
    not native_kernels().isa, reason="the shortlist needs edgespec's kernels, which are for x86"
)
def test_a_fast_copy_has_a_shortlist_and_the_published_file_and_the_target_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shortlist_module, "FREQUENT_TOKENS", 64)
    target = make_tiny_model(tmp_path / "target.gguf", vocab_size=512)
    draft = make_tiny_model(tmp_path / "draft.gguf", noise=0.08, vocab_size=512)
    with open_pair(target, draft) as session:
        assert session.engine.drafts["draft"].context.shortlist is not None
        assert session.engine.target.context.shortlist is None
    with open_pair(target, draft, settings=EngineSettings(draft_type=DraftType.AS_IS)) as session:
        assert session.engine.drafts["draft"].context.shortlist is None


def fail_to_requantize(*_: Any, **__: Any) -> None:
    raise EngineError("llama.cpp could not requantize it")


@pytest.mark.parametrize("size", [0, 20, 3000, -64])
def test_a_broken_copy_is_made_again(tiny_model: Path, tiny_draft: Path, size: int):
    stages_of(tiny_model, tiny_draft)
    (copy,) = copies()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:size])
    stages_of(tiny_model, tiny_draft)
    assert copies() == [copy]
    assert copy.read_bytes() == whole


def test_a_changed_draft_gets_a_copy_of_its_own(tiny_model: Path, tmp_path: Path):
    draft = make_tiny_model(tmp_path / "draft.gguf", noise=0.08)
    stages_of(tiny_model, draft)
    make_tiny_model(draft, noise=0.2)
    stages_of(tiny_model, draft)
    assert len(copies()) == 2


def test_as_is_takes_the_file_itself(tiny_model: Path, tiny_draft: Path):
    settings = EngineSettings(draft_type=DraftType.AS_IS)
    assert stages_of(tiny_model, tiny_draft, settings=settings) == ["loading tiny", "loading tiny-draft"]
    assert copies() == []


def test_a_draft_that_is_small_already_is_not_copied(tiny_model: Path, tiny_draft: Path):
    stages_of(tiny_model, tiny_draft)
    (copy,) = copies()
    assert stages_of(tiny_model, copy) == ["loading tiny", f"loading {copy.stem}"]
    assert copies() == [copy]


def test_the_target_is_never_copied(tiny_model: Path):
    with open_pair(tiny_model) as session:
        assert session.engine.target.file.path == tiny_model
    assert copies() == []


def test_a_draft_that_cannot_be_copied_is_used_as_it_is(
    tiny_model: Path,
    tiny_draft: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(fast_draft_module, "requantize_file", fail_to_requantize)
    with caplog.at_level(logging.WARNING, "edgespec"):
        stages = stages_of(tiny_model, tiny_draft)
    assert stages == ["loading tiny", "preparing tiny-draft", "loading tiny-draft"]
    assert [record.getMessage() for record in caplog.records] == [
        "no Q4_0 copy of tiny-draft.gguf: llama.cpp could not requantize it; drafting with the file itself"
    ]


def test_two_that_want_the_same_copy_at_once_make_it_once(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Path] = []
    real = fast_draft_module.requantize_file

    def counted(source: Path, *arguments: Any, **options: Any) -> None:
        asked.append(source)
        real(source, *arguments, **options)

    monkeypatch.setattr(fast_draft_module, "requantize_file", counted)
    copy = partial(fast_draft_module.find_or_make_fast_copy, tiny_draft, n_threads=1)
    assert run_together([copy] * 3) == [copies()[0]] * 3
    assert asked == [tiny_draft]


def test_a_folder_without_room_for_copies_is_not_an_obstacle(tiny_model: Path, tiny_draft: Path):
    derived_models_dir().parent.mkdir(parents=True)
    derived_models_dir().write_text("a file where the folder should be", encoding="utf-8")
    assert stages_of(tiny_model, tiny_draft)[-1] == "loading tiny-draft"


def test_a_draft_on_a_gpu_is_not_copied(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch):
    card = Device("GPU0", "A card", "gpu", 8 * GIB, 8 * GIB)
    monkeypatch.setattr(placing, "list_devices", lambda: (card,))
    with open_pair(tiny_model, tiny_draft) as session:
        placement = session.engine.drafts["tiny-draft"].model.placement
    assert (placement.gpu_layers, placement.reason) == (3, "3 of 3 layers fit on GPU0")
    assert copies() == []


def test_a_target_on_a_gpu_leaves_room_for_the_snapshots_of_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = open_file("m", make_tiny_memory(tmp_path / "m.gguf", "snapshots", context=4096))
    settings = EngineSettings(n_ctx=256, n_threads=1)
    n_layers = (file.meta.block_count or 0) + 1
    needed = estimate_context(file.meta, draft_context(settings, 256))
    free = file.meta.weights_bytes + needed.kv_bytes + needed.state_bytes + n_layers
    card = Device("GPU0", "A card", "gpu", free + DEVICE_RESERVE_BYTES, 8 * GIB)
    monkeypatch.setattr(placing, "list_devices", lambda: (card,))
    with load_target(file, settings).model as model:
        assert 0 < model.placement.gpu_layers < n_layers
        states = estimate_context(file.meta, target_context(settings, 256)).state_bytes
        each = (file.meta.weights_bytes + needed.kv_bytes + states) // n_layers
        assert model.placement.gpu_layers == free // each


def test_a_device_that_is_not_there_is_refused_for_a_draft_that_is_not_there_yet(tiny_model: Path):
    wanted = PlacementRequest(devices=("nope",))
    with pytest.raises(UsageError, match="there is no device 'nope'") as caught:
        open_pair(tiny_model, "none", settings=EngineSettings(n_threads=1, draft_placement=wanted))
    assert "CPU" in caught.value.hint


def test_target_and_draft_get_the_same_context_and_cache(tiny_model: Path, tiny_draft: Path):
    settings = EngineSettings(n_ctx=1024, n_threads=1, flash_attention="on")
    with open_pair(tiny_model, tiny_draft, settings=settings) as session:
        target, draft = session.engine.target.context, session.engine.drafts["tiny-draft"].context
        assert (target.n_ctx, draft.n_ctx) == (1024, 1024)
        assert target.settings.n_outputs_max == 16
        assert draft.settings.n_outputs_max == 1
        for made in (target.settings, draft.settings):
            assert (made.n_threads, made.flash_attention) == (1, "on")


@pytest.mark.parametrize(("experts", "used", "rows"), [(0, 0, 1), (8, 2, 20), (64, 4, 80), (1024, 10, 256)])
def test_as_many_tokens_are_read_as_wake_the_experts_of_a_mixture(
    tiny_model: Path, experts: int, used: int, rows: int
):
    meta = open_file("tiny", tiny_model).meta
    fields = {**meta.fields, "llama.expert_count": experts, "llama.expert_used_count": used}
    read: list[int] = []
    with Model(tiny_model) as model, ReadingContext(model, ContextSettings(256, 1)) as context:
        context.read = read
        loading.warm_up(context, replace(meta, fields=fields))
        assert context.tokens == []
    assert len(read) == len(set(read)) == rows


class ReadingContext(Context):
    """Keeps what it reads."""

    read: list[int]

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> None:
        super().decode(tokens, outputs=outputs, pad_to=pad_to)
        self.read += tokens
