import pytest

from edgespec.catalog.cache_layout import CacheNeeds, cache_layout
from edgespec.catalog.dimensions import Dimensions
from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import UsageError
from edgespec.plan.hardware import find_hardware
from edgespec.plan.sketch import label_of, sketch_metadata
from edgespec.plan.workload import fast_draft_workload, workload_of

CATALOG = load_catalog()
WITHOUT_SHAPE = {"lfm2.5-230m"}
"""Which of its blocks have attention was found nowhere."""
OWN_MIX = {"gemma4-e2b": 0.12, "qwen3.5-0.8b": 0.12, "qwen3.5-2b": 0.12, "qwen3.6-35b-a3b": 0.06}
"""Files whose makers chose types of their own; of the others 2 % is what a mix and its vocabulary differ by."""
VOCABULARY_BYTES = 48
"""Of a token in a header: its text, kind, score and merges."""
GIB = 2**30


def sketch(name: str) -> GgufMetadata:
    return sketch_metadata(CATALOG.models[name], [])


def test_plan_knows_every_model_of_the_catalogue_save_those_named_here() -> None:
    assert {name for name, entry in CATALOG.models.items() if entry.shape is None} == WITHOUT_SHAPE


@pytest.mark.parametrize(
    "name", [name for name, entry in CATALOG.models.items() if entry.shape and entry.size_bytes]
)
def test_a_sketch_has_the_published_size(name: str) -> None:
    entry, found = CATALOG.models[name], sketch(name)
    assert entry.size_bytes is not None
    share = OWN_MIX.get(name, 0.02)
    published = entry.size_bytes - found.vocab_size * VOCABULARY_BYTES / 2
    assert abs(found.weights_bytes - published) <= share * published + found.vocab_size * VOCABULARY_BYTES / 2


@pytest.mark.parametrize(
    ("name", "billions", "active"),
    [
        # As their makers publish them.
        ("qwen3-30b-a3b", 30.5, 3.3),
        ("gpt-oss-20b", 20.9, 3.6),
        ("gpt-oss-120b", 116.8, 5.1),
        ("qwen3.6-35b-a3b", 35, 3),
        ("gemma4-26b-a4b", 25.2, 3.8),
    ],
)
def test_of_a_mixture_the_experts_in_use_decide_the_speed(name: str, billions: float, active: float) -> None:
    found = sketch(name)
    assert found.parameter_count / 1e9 == pytest.approx(billions, rel=0.02)
    assert workload_of(found).n_elements / 1e9 == pytest.approx(active, rel=0.1)


def test_a_pass_of_several_rows_over_a_mixture_is_dearer_than_one_of_one() -> None:
    card = find_hardware("rtx-4090")[0]
    mixture, dense = (card.predict_curve(workload_of(sketch(name))) for name in ("qwen3-30b-a3b", "qwen3-8b"))
    assert dense.cost(8) == dense.cost(1)
    assert mixture.cost(8) > 2 * mixture.cost(1)


@pytest.mark.parametrize(
    ("name", "token_bytes", "state_bytes"),
    [
        # Of 64 blocks 16 have 4 heads of 256; llama.cpp reserves 149.62 MiB for the others.
        ("qwen3.5-27b", 64 * 1024, 156_893_184),
        # Of 16 blocks 6 have 8 heads of 64.
        ("lfm2.5-1.2b", 12_288, 10 * 2 * 2048 * 4),
        # Of 40 blocks 4 have 4 heads of 128.
        ("granite4-h-tiny", 8_192, 36 * (3 * (3072 + 2 * 128) + 128 * 3072) * 4),
        ("qwen3-8b", 36 * 2 * 8 * 128 * 2, 0),
    ],
)
def test_a_hybrid_has_caches_in_some_blocks_and_states_in_the_others(
    name: str, token_bytes: int, state_bytes: int
) -> None:
    layout = cache_layout(sketch(name))
    assert layout.kv_bytes(CacheNeeds(4096)) == 4096 * token_bytes
    assert layout.state_bytes == state_bytes


@pytest.mark.parametrize(
    ("name", "full", "windowed", "window"),
    [
        ("gemma3-27b", 10, 52, 1024),
        ("gemma4-e2b", 3, 12, 512),
        ("gemma4-12b", 8, 40, 1024),
        ("gpt-oss-20b", 12, 12, 128),
    ],
)
def test_windows_are_where_the_model_has_them(name: str, full: int, windowed: int, window: int) -> None:
    caches = cache_layout(sketch(name)).caches
    assert [cache.window for cache in caches].count(0) == full
    assert [cache.window for cache in caches].count(window) == windowed


def test_a_cache_of_gemma_4_is_as_wide_as_its_blocks_heads() -> None:
    caches = cache_layout(sketch("gemma4-31b")).caches
    assert {(cache.window, cache.key_width) for cache in caches} == {(0, 4 * 512), (1024, 16 * 256)}


def test_a_long_context_of_a_model_with_windows_takes_far_less_than_one_without() -> None:
    windowed, plain = (
        estimate_memory(sketch(name), n_ctx=32_768, n_outputs=16).kv_bytes
        for name in ("gemma3-27b", "qwen3-32b")
    )
    assert windowed < 4 * GIB < 8 * GIB <= plain


def test_embeddings_that_are_looked_up_cost_no_time() -> None:
    found = sketch("gemma4-e2b")
    looked_up = next(one for one in found.tensors if one.name == "per_layer_token_embd.weight")
    assert looked_up.n_elements == 35 * 256 * 262_144
    assert workload_of(found).n_elements == found.parameter_count - looked_up.n_elements


def test_a_sketch_of_the_default_model_is_its_header(smollm2):
    found, real = sketch("smollm2-135m"), read_metadata(smollm2)
    assert found.parameter_count == pytest.approx(real.parameter_count, rel=1e-3)
    assert found.vocab_size == real.vocab_size
    ours, theirs = (estimate_memory(meta, n_ctx=4096, n_outputs=1) for meta in (found, real))
    assert ours.kv_bytes == theirs.kv_bytes
    assert ours.compute_bytes == theirs.compute_bytes
    assert workload_of(found).n_bytes == pytest.approx(workload_of(real).n_bytes, rel=0.06)


def test_of_an_untied_embedding_only_rows_are_read():
    found = sketch("llama-3.1-8b")
    embedding = next(tensor for tensor in found.tensors if tensor.name == "token_embd.weight")
    assert workload_of(found).n_bytes == found.weights_bytes - embedding.n_bytes
    tied = sketch("llama-3.2-1b")
    assert workload_of(tied).n_bytes == tied.weights_bytes


def test_a_draft_on_the_cpu_reads_a_smaller_copy():
    found = sketch("qwen2.5-coder-0.5b")
    copy = fast_draft_workload(found)
    assert set(copy.bytes_by_type) == {"Q4_0"}
    assert copy.n_bytes < workload_of(found).n_bytes


def test_labels_are_read_from_file_names():
    assert label_of("Meta-Llama-3.1-405B-Instruct-Q4_K_M-00001-of-00006.gguf") == "Q4_K_M"
    assert label_of("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf") == "Q4_K_M"
    assert label_of("model-f16.gguf") == "F16"
    assert label_of("gpt-oss-120b-mxfp4-00001-of-00003.gguf") == "MXFP4"
    assert label_of("model.gguf") is None


def test_experts_in_a_type_of_their_own_leave_the_rest_in_eight_bits():
    kinds = {one.ggml_type for one in sketch("gpt-oss-20b").tensors if one.name.endswith("_exps.weight")}
    assert kinds == {"MXFP4"}
    rest = {
        one.ggml_type for one in sketch("gpt-oss-20b").tensors if "attn_" in one.name or "embd" in one.name
    }
    assert rest == {"Q8_0"}


def test_a_plain_shape_is_a_llama() -> None:
    shape = Dimensions(blocks=2, embedding=256, feed_forward=512, heads=4, kv_heads=2, vocab=1000)
    found = sketch_metadata(ModelEntry("own", repo="a/b", file="own-F16.gguf", shape=shape), [])
    assert (found.architecture, found.key_length, found.head_count_kv) == ("llama", 64, 2)


def test_a_model_without_a_shape_names_those_that_have_one():
    with pytest.raises(UsageError, match="no shape") as caught:
        sketch_metadata(
            ModelEntry("llama-3.1-7b", repo="a/b", file="x-Q4_K_M.gguf"), ["llama-3.1-70b", "phi"]
        )
    assert "llama-3.1-70b" in caught.value.hint
