import pytest

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import UsageError
from edgespec.plan.sketch import label_of, sketch_metadata
from edgespec.plan.workload import fast_draft_workload, workload_of


@pytest.mark.parametrize(
    "name", ["llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "tinyllama-1.1b"]
)
def test_a_sketch_has_the_published_size(name):
    entry = load_catalog().models[name]
    sketch = sketch_metadata(entry, [])
    assert sketch.weights_bytes == pytest.approx(entry.size_bytes, rel=0.02)


def test_a_sketch_of_the_default_model_is_its_header(smollm2):
    entry = load_catalog().models["smollm2-135m"]
    sketch, real = sketch_metadata(entry, []), read_metadata(smollm2)
    assert sketch.parameter_count == pytest.approx(real.parameter_count, rel=1e-3)
    assert sketch.vocab_size == real.vocab_size
    ours, theirs = (estimate_memory(meta, n_ctx=4096, n_outputs=1) for meta in (sketch, real))
    assert ours.kv_bytes == theirs.kv_bytes
    assert ours.compute_bytes == theirs.compute_bytes
    assert workload_of(sketch).n_bytes == pytest.approx(workload_of(real).n_bytes, rel=0.06)


def test_of_an_untied_embedding_only_rows_are_read():
    entry = load_catalog().models["llama-3.1-8b"]
    sketch = sketch_metadata(entry, [])
    embedding = next(tensor for tensor in sketch.tensors if tensor.name == "token_embd.weight")
    assert workload_of(sketch).n_bytes == sketch.weights_bytes - embedding.n_bytes
    tied = sketch_metadata(load_catalog().models["llama-3.2-1b"], [])
    assert workload_of(tied).n_bytes == tied.weights_bytes


def test_a_draft_on_the_cpu_reads_a_smaller_copy():
    sketch = sketch_metadata(load_catalog().models["qwen2.5-coder-0.5b"], [])
    copy = fast_draft_workload(sketch)
    assert set(copy.bytes_by_type) == {"Q4_0"}
    assert copy.n_bytes < workload_of(sketch).n_bytes


def test_labels_are_read_from_file_names():
    assert label_of("Meta-Llama-3.1-405B-Instruct-Q4_K_M-00001-of-00006.gguf") == "Q4_K_M"
    assert label_of("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf") == "Q4_K_M"
    assert label_of("model-f16.gguf") == "F16"
    assert label_of("model.gguf") is None


def test_a_model_without_a_shape_names_those_that_have_one():

    with pytest.raises(UsageError, match="no shape") as caught:
        sketch_metadata(
            ModelEntry("llama-3.1-7b", repo="a/b", file="x-Q4_K_M.gguf"), ["llama-3.1-70b", "phi"]
        )
    assert "llama-3.1-70b" in caught.value.hint
