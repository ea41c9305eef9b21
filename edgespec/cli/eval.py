"""`edgespec eval MODEL`: perplexity, distance to a dense model, and a sample of what it writes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgespec.bench.builtin_text import BUILTIN_TEXT, builtin_text
from edgespec.cli.context import Settings
from edgespec.cli.output import model_document, print_json, print_lines
from edgespec.errors import UsageError
from edgespec.text import human_bytes, one_line

if TYPE_CHECKING:
    from edgespec.catalog.model_file import ModelFile
    from edgespec.progress import Progress
    from quant.measure.evaluate import Evaluation, WindowSource

_SCHEMA: Final = "edgespec.eval/1"
_OWN_CHUNKS: Final = 8
"""Of own answers, which a model has to write first: 4,096 tokens."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured, on what."""

    file: "ModelFile"
    dense: "ModelFile | None"
    text: str
    """Where the text came from."""
    n_ctx: int
    found: "Evaluation"


@click.command("eval")
@click.argument("model")
@click.option(
    "--against", metavar="DENSE", help="A model to measure the distance from, such as the original."
)
@click.option(
    "--text",
    "source",
    metavar="FILE|self",
    help=f"A text file to measure on, or what DENSE (without it, MODEL) answers to prompts that no calibration reads "
    f"[default: {BUILTIN_TEXT}].",
)
@click.option(
    "--chunks",
    type=click.IntRange(1),
    help=f"At most that many chunks [default: all of the text; {_OWN_CHUNKS} of own answers].",
)
@click.option(
    "-c", "--ctx-size", default=512, show_default=True, type=click.IntRange(8), help="Tokens in a chunk."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    against: str | None,
    source: str | None,
    chunks: int | None,
    ctx_size: int,
    as_json: bool,
) -> None:
    """Measure the perplexity of MODEL, a name or a GGUF file, as llama-perplexity does.

    With --against also the KL divergence from that model, and how often both hold the same token for the most
    likely. Both must have the same vocabulary.
    """
    from quant.text.calibration_source import OWN_ANSWERS

    text = None if source == OWN_ANSWERS else _read_text(source)

    from edgespec.cli.opening import find_model
    from edgespec.cli.progress import shown_progress
    from quant.measure.evaluate import evaluate

    file = find_model(model, settings)
    dense = None if against is None else find_model(against, settings)
    with shown_progress(quiet=settings.quiet) as shown:
        shown.stage("loading")
        found = evaluate(
            file.path,
            _own_answers(chunks or _OWN_CHUNKS, ctx_size, shown) if text is None else text,
            against=dense.path if dense else None,
            n_chunks=chunks,
            n_ctx=ctx_size,
            progress=shown,
        )
    place = f"own answers of {(dense or file).name}" if text is None else source or BUILTIN_TEXT
    measured = _Measured(file, dense, place, ctx_size, found)
    if as_json:
        print_json(_document(measured))
    else:
        print_lines((name, one_line(value)) for name, value in _lines(measured))


def _own_answers(n_chunks: int, n_ctx: int, progress: "Progress") -> "WindowSource":
    """Chunks of what a model answers to the benchmark's prompts; written once and kept."""
    from edgespec.bench.prompts import builtin_prompts
    from quant.text.answers import answered_windows

    questions = [prompt.messages for prompt in builtin_prompts()]
    return lambda model: answered_windows(model, questions, n_chunks, n_ctx=n_ctx, progress=progress)


def _read_text(source: str | None) -> str:
    """The file as llama-perplexity reads it: line ends as they are, one at the very end left out.

    None is the package's own text.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    if source is None:
        return builtin_text()
    path = Path(source)
    hint = "give a UTF-8 text file to --text, or leave it out for the built-in prompts"
    try:
        return path.read_bytes().decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})", hint) from error
    except OSError as error:
        raise UsageError(f"cannot read the text {path}: {error.strerror or error}", hint) from error


def _lines(measured: _Measured) -> list[tuple[str, str]]:
    found, dense = measured.found, measured.dense
    lines = [
        ("model", _describe(measured.file)),
        (
            "text",
            f"{measured.text}: {found.n_chunks} chunks of {measured.n_ctx} tokens, "
            f"{found.n_tokens} of them scored (the second halves)",
        ),
        ("perplexity", f"{found.perplexity:.4f} ± {found.perplexity_se:.4f}"),
    ]
    distance = found.distance
    if dense is not None and distance is not None:
        lines += [
            ("against", f"{_describe(dense)}, perplexity {distance.dense_perplexity:.4f}"),
            (
                "divergence",
                f"{distance.kl_mean:.5f} ± {distance.kl_se:.5f} nats, "
                f"99 % of the tokens below {distance.kl_p99:.5f}",
            ),
            ("agreement", f"{distance.top1_agreement:.2%} of the most likely tokens"),
        ]
    return [*lines, ("sample", found.sample)]


def _describe(file: "ModelFile") -> str:
    meta = file.meta
    return f"{file.name}, {meta.architecture} {meta.quantization}, {human_bytes(meta.file_bytes)}"


def _document(measured: _Measured) -> dict[str, object]:
    """The JSON document: what was measured on what, and the fields of `quant.measure.evaluate.Evaluation`."""
    return {
        "schema": _SCHEMA,
        "model": model_document(measured.file),
        "against": model_document(measured.dense) if measured.dense else None,
        "text": measured.text,
        "n_ctx": measured.n_ctx,
        **asdict(measured.found),
    }
