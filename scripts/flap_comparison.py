"""FLAP against what it is compared with: the same widths by weight magnitude, and without its bias. FFN neurons only.

    python scripts/flap_comparison.py MODEL --ratio 0.2 --calibration wiki.txt --text wiki2.txt

MODEL is a name of the catalogue or a GGUF file. Prints perplexity, KL divergence and top-1 agreement of the three,
scored on four chunks of `--text`; half of the calibration is the model's own answers.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.resolve import resolve_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.writer import write_gguf
from quant.measure.evaluate import evaluate
from quant.prune.amount import WidthAmount
from quant.prune.flap import Fluctuation, magnitude_scores
from quant.prune.width import BlockWidth, cut_widths
from quant.prune.width_choice import choose_widths, highest
from quant.text.calibration import calibration_windows, split_calibration
from quant.text.calibration_source import OWN_ANSWERS, CalibrationSource

N_CHUNKS = 4


def make_models(path: Path, ratio: float, calibration: Path, n_tokens: int) -> Iterator[tuple[str, GgufPlan]]:
    """Magnitude, FLAP without its bias and FLAP, each with the widths that FLAP chooses."""
    dense = copy_of(read_metadata(path))
    texts: list[CalibrationSource] = [calibration, OWN_ANSWERS]
    with Model(path, Placement()) as model:
        windows = calibration_windows(model, path, texts, n_tokens)
        found = Fluctuation.measure(model, dense, split_calibration(windows, len(texts)).fit)
    widths = choose_widths(found.shape, found.scores(), WidthAmount(ratio, n_groups=0), "adaptive")
    largest = [
        BlockWidth(block.kv_groups, highest(scores, len(block.neurons)))
        for block, scores in zip(widths, magnitude_scores(dense, found.shape).neurons, strict=True)
    ]
    yield "magnitude, same widths", cut_widths(dense, largest)
    yield "FLAP without its bias", cut_widths(dense, widths)
    yield "FLAP", cut_widths(dense, widths, found.biases(widths))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--ratio", type=float, default=0.2, help="share of the block weights that leaves")
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--calibration-tokens", type=int, default=4096)
    parser.add_argument("--text", type=Path, required=True)
    given = parser.parse_args()
    path = resolve_model(given.model, load_catalog()).path
    text = given.text.read_text(encoding="utf-8").removesuffix("\n")
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder) / "smaller.gguf"
        for name, plan in make_models(path, given.ratio, given.calibration, given.calibration_tokens):
            write_gguf(plan, smaller, force=True)
            found = evaluate(smaller, text, against=path, n_chunks=N_CHUNKS)
            assert found.distance is not None
            print(
                f"{name}: perplexity {found.perplexity:.2f}, KL {found.distance.kl_mean:.3f}, "
                f"top-1 {found.distance.top1_agreement:.1%}",
                flush=True,
            )
