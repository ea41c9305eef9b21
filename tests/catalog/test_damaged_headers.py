"""Headers with anything in them through edgespec's own reader: what the file says, or a refusal, and never a bug.

llama.cpp sees none of these files. `make fuzz` runs whole commands on such files, in processes that may end.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.compatibility import check_draft
from edgespec.catalog.entries import Catalog
from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.model_file import UNREADABLE, ModelFile, why_unreadable
from edgespec.errors import EdgespecError, ModelFileError
from quant.gguf.describe import describe_file, description_lines
from quant.gguf.plan import copy_of
from scripts.fuzz.damage import damaged
from scripts.fuzz.layout import decode
from tests.catalog.gguf_files import write_gguf
from tests.tiny import make_tiny_model
from tests.tiny_memories import make_tiny_memory

KINDS = ("plain", "hybrid", "window", "list")
PROPERTIES = [name for name, value in vars(GgufMetadata).items() if isinstance(value, property)]
FAST = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    return {
        "plain": make_tiny_model(folder / "plain.gguf"),
        "hybrid": make_tiny_memory(folder / "hybrid.gguf", "snapshots"),
        "window": make_tiny_memory(folder / "window.gguf", "window"),
        "list": write_gguf(folder / "list.gguf", heads_kv=[1, 2]),
    }


def read_all(path: Path, target: GgufMetadata) -> None:
    """What commands do with a header before llama.cpp is asked."""
    meta = read_metadata(path)
    for name in PROPERTIES:
        getattr(meta, name)
    for key in meta.fields:
        assert meta.fields[key] is not None
    estimate = estimate_memory(meta, n_ctx=4096, n_outputs=16, n_snapshots=7)
    assert estimate.total_bytes >= 0
    assert check_draft(target, meta).reason
    assert check_draft(meta, target).reason
    assert description_lines(describe_file(ModelFile("odd", path, meta)))
    assert len(copy_of(meta).tensors) == len(meta.tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_header_is_read_or_refused(kind: str, sound: dict[str, Path], tmp_path: Path) -> None:
    structure, target, path = decode(sound[kind]), read_metadata(sound["plain"]), tmp_path / "odd.gguf"

    @FAST
    @given(damaged(structure))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read_all(path, target)
        except ModelFileError as error:
            assert str(path) in error.message

    check()


def test_a_damaged_neighbour_is_named_and_the_others_are_judged(
    sound: dict[str, Path], tmp_path: Path
) -> None:
    structure, odd = decode(sound["plain"]), tmp_path / "odd.gguf"
    target, neighbour = tmp_path / "target.gguf", tmp_path / "neighbour.gguf"
    for copy in (target, neighbour):
        copy.write_bytes(sound["plain"].read_bytes())
    catalog = Catalog({}, {}, "")

    @settings(FAST, max_examples=150)
    @given(damaged(structure))
    def check(data: bytes) -> None:
        odd.write_bytes(data)
        rows = {
            row.name: row
            for row in find_candidates(PairTarget.of(str(target), catalog), catalog, 4096, 2**40)
        }
        assert rows["neighbour.gguf"].verdict == "ok"
        assert rows["odd.gguf"].reason

    check()


@given(st.binary(max_size=200))
@settings(FAST, max_examples=200)
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + data)
    try:
        read_metadata(path)
    except EdgespecError as error:
        assert str(path) in error.message


@pytest.mark.parametrize("error", [OverflowError("too large"), KeyError("x"), TypeError("no number")])
def test_an_error_that_nobody_thought_of_is_said_of_its_file(error: Exception) -> None:
    assert isinstance(error, UNREADABLE)
    assert why_unreadable(error).startswith(f"its header cannot be understood ({type(error).__name__}")
