"""A block taken out in memory gives the logits of the file without it."""

import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from quant.gguf.writer import write_gguf
from quant.measure.ablation import Bypass, ablated, score_blocks
from quant.measure.activations import input_moments, run_windows
from quant.measure.likelihood import nll
from quant.prune.blocks import BlockSpan, remove_blocks, spans_of
from quant.prune.fold import fold, fold_statistics
from quant.prune.shape import read_shape
from quant.prune.width import cut_widths
from quant.prune.width_choice import whole_blocks, without_attention
from tests.quant.running import logits_of, next_token_nll, plan_of, residuals_after
from tests.tiny import make_tiny_model

N_CTX = 48


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def deep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ablation") / f"{request.param}.gguf"
    tokenizer = "spm" if request.param == "llama" else "bpe"
    return make_tiny_model(path, blocks=6, architecture=request.param, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(5, 250, (4, N_CTX)).astype(np.int32)


@pytest.mark.parametrize("removed", [[0], [5], [2, 3], [1, 4], [1, 2, 3, 4]])
def test_ablation_gives_the_logits_of_the_pruned_file(
    deep: Path, windows: NDArray[np.int32], tmp_path: Path, removed: list[int]
):
    write_gguf(remove_blocks(plan_of(deep), removed), tmp_path / "pruned.gguf")
    callback = ablated([Bypass(span.first, span.last) for span in spans_of(removed)])
    expected = logits_of(tmp_path / "pruned.gguf", windows)
    assert np.array_equal(logits_of(deep, windows, callback), expected)
    assert not np.array_equal(logits_of(deep, windows), expected)


@pytest.mark.parametrize("silent", [[1], [5], [2, 3]])
def test_attention_taken_out_in_memory_gives_the_logits_of_the_file_without_it(
    deep: Path, windows: NDArray[np.int32], tmp_path: Path, silent: list[int]
):
    plan = plan_of(deep)
    widths = without_attention(whole_blocks(read_shape(plan)), silent)
    write_gguf(cut_widths(plan, widths), tmp_path / "silent.gguf")
    expected = logits_of(tmp_path / "silent.gguf", windows)
    in_memory = logits_of(
        deep, windows, ablated([Bypass(block, block, part="attention") for block in silent])
    )
    assert np.allclose(in_memory, expected, atol=5e-3)
    assert not np.allclose(logits_of(deep, windows), expected, atol=0.5)


def test_a_fold_in_memory_gives_the_logits_of_the_folded_file(
    deep: Path, windows: NDArray[np.int32], tmp_path: Path
):
    span = BlockSpan(2, 3)
    with Model(deep, Placement()) as model:
        transform = fold_statistics(model, windows, [span])[span].solve(1e-2)
    plan = remove_blocks(fold(plan_of(deep), {1: transform}), span.blocks)
    write_gguf(plan, tmp_path / "folded.gguf")
    in_memory = logits_of(deep, windows, ablated([Bypass(2, 3, transform)]))
    assert np.allclose(in_memory, logits_of(tmp_path / "folded.gguf", windows), atol=1e-2)
    assert not np.allclose(in_memory, logits_of(deep, windows, ablated([Bypass(2, 3)])), atol=1)


def test_a_fold_brings_the_residual_stream_closer_to_the_dense_one(deep: Path, windows: NDArray[np.int32]):
    span = BlockSpan(2, 4)
    with Model(deep, Placement()) as model:
        transform = fold_statistics(model, windows, [span])[span].solve(1e-3)
    residuals: dict[str, list[NDArray[np.float32]]] = {"dense": [], "cut": [], "folded": []}
    runs = {"dense": [], "cut": [Bypass(2, 4)], "folded": [Bypass(2, 4, transform)]}
    for name, bypasses in runs.items():
        callback = ablated(bypasses)
        end = callback._nodes.pop(b"l_out-4", None)  # the handler that overwrites comes first, then the look

        def look(node: Node, name: str = name, end: object = end) -> None:
            if callable(end):
                end(node)
            residuals[name].append(node.output.copy())

        callback._nodes[b"l_out-4"] = look
        logits_of(deep, windows, callback)
    dense, cut, folded = (np.concatenate(residuals[name]) for name in ("dense", "cut", "folded"))
    assert np.square(folded - dense).sum() < 0.7 * np.square(cut - dense).sum()


def test_scores_are_those_of_the_files_without_each_block(
    deep: Path, windows: NDArray[np.int32], tmp_path: Path
):
    with Model(deep, Placement()) as model:
        perplexities = score_blocks(model, windows, measure="ppl")
        divergences = score_blocks(model, windows, measure="kl")
    dense = (
        logits_of(deep, windows)[:, :-1].reshape(-1, logits_of(deep, windows).shape[-1]).astype(np.float64)
    )
    for block in (0, 3):
        path = tmp_path / f"{block}.gguf"
        write_gguf(remove_blocks(plan_of(deep), [block]), path)
        logits = logits_of(path, windows)[:, :-1].reshape(dense.shape)
        expected = np.exp(nll(logits, windows[:, 1:].reshape(-1)).mean())
        assert perplexities[block] == pytest.approx(expected, rel=1e-6)
        log_p, log_q = (
            z - np.log(np.exp(z).sum(axis=1, keepdims=True)) for z in (dense, logits.astype(np.float64))
        )
        assert divergences[block] == pytest.approx(
            (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean(), rel=1e-3
        )


def test_the_numpy_residual_stream_is_llama_cpps(deep: Path, windows: NDArray[np.int32]):
    plan = plan_of(deep)
    logits = logits_of(deep, windows)[:, :-1]
    expected = nll(logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1)).mean()
    assert next_token_nll(plan, residuals_after(plan, windows), windows).mean() == pytest.approx(
        expected, rel=1e-3
    )


def test_moments_are_those_of_the_rows_that_a_weight_is_multiplied_with(
    deep: Path, windows: NDArray[np.int32]
):
    name = "blk.3.ffn_down.weight"
    seen: list[NDArray[np.float32]] = []
    with Model(deep, Placement()) as model:
        moments = input_moments(model, windows, [name])[name]
        take = EvalCallback(weights={name: lambda node: seen.append(node.input.copy())})
        run_windows(model, windows, take)
    rows = np.concatenate(seen).astype(np.float64)
    assert moments.n == len(rows) == windows.size
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(moments.mean_square, np.square(rows).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-4, atol=1e-9)
    assert (moments.variance > 0).any()


def test_an_error_in_a_handler_reaches_the_caller(deep: Path, windows: NDArray[np.int32]):
    def fail(node: Node) -> None:
        raise ZeroDivisionError(node.name)

    with pytest.raises(ZeroDivisionError, match="l_out-2"):
        logits_of(deep, windows, EvalCallback(nodes={"l_out-2": fail}))


def test_ctrl_c_inside_a_handler_ends_the_run(deep: Path, windows: NDArray[np.int32]):
    seen: list[str] = []

    def interrupt(node: Node) -> None:
        seen.append(node.name)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        logits_of(deep, windows, EvalCallback(nodes={"l_out-2": interrupt}))
    assert seen == ["l_out-2"]
