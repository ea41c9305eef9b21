"""A header that disagrees with the weights below it is refused by whatever reads it, before llama.cpp or we make room for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import ExitCode
from scripts.fuzz.layout import Field, Gguf, decode
from tests.conftest import RunCli
from tests.quant.split import split_in_two
from tests.tiny import make_tiny_model

U32, F32 = 4, 6
BLOCKS = ("block_count", 9, "says that it has 9 blocks, and has weights of 3")
WIDTH = ("embedding_length", 128, "says that it is 128 wide, and its embeddings are 64")
EPSILON = ("attention.layer_norm_rms_epsilon", 2.0, "layer_norm_rms_epsilon is 2, not between 0 and 1")
FEED_FORWARD = ("feed_forward_length", 500, "says that its feed-forward parts are 500 wide, and they are 128")
HEADS = ("attention.head_count_kv", 65, "head_count_kv is 65, and that it is 64 wide")
COMMANDS = [
    *(
        "show {}",
        "models show {}",
        "pair {}",
        "plan {} --hardware h100",
        "plan tiny --draft {} --hardware h100",
    ),
    *(
        "quantize {} --type Q4_0 --dry-run",
        "prune {} --blocks 1 --dry-run",
        "prune {} --method flap --dry-run",
    ),
    *("prune {} --remove 0 --no-repair --dry-run", "eval {}", "run {} -p hello -n 1", "bench {} --limit 1"),
]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "odd.gguf", blocks=3)


def say(path: Path, key: str, value: float) -> None:
    """Has a file say another number under a key of its architecture's."""
    file = decode(path)
    name = file.architecture + b"." + key.encode()
    file.fields = [one for one in file.fields if one.key != name]
    file.fields.append(Field(name, U32 if isinstance(value, int) else F32, value))
    path.write_bytes(file.encode())


def keep_tensors(path: Path, keeps: Callable[[bytes], bool]) -> Gguf:
    file = decode(path)
    file.tensors = [tensor for tensor in file.tensors if keeps(tensor.name)]
    path.write_bytes(file.encode())
    return file


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [BLOCKS, WIDTH, FEED_FORWARD, HEADS, EPSILON],
    ids=["blocks", "width", "feed-forward", "heads", "epsilon"],
)
def test_every_command_refuses_it_in_one_line(
    run_cli: RunCli, sound: Path, tiny_model: Path, line: str, key: str, value: float, said: str
):
    say(sound, key, value)
    result = run_cli(*line.replace("tiny", str(tiny_model)).format(sound).split())
    assert (result.code, result.out, said in result.err) == (ExitCode.MODEL, "", True), result.err
    assert len(result.err.strip().splitlines()) == 1


def test_beside_a_sound_target_it_is_named_and_left_out(run_cli: RunCli, sound: Path, tiny_model: Path):
    target = sound.with_name("target.gguf")
    target.write_bytes(tiny_model.read_bytes())
    say(sound, *BLOCKS[:2])
    result = run_cli("pair", target)
    assert (result.code, BLOCKS[2] in " ".join(result.out.split())) == (0, True)


def test_weights_of_all_parts_of_a_split_model_count(tmp_path: Path, sound: Path):
    first, _ = split_in_two(sound, tmp_path / "parts")
    assert read_metadata(first).block_count == 3


def test_a_file_without_blocks_may_say_that_it_has_some(run_cli: RunCli, sound: Path):
    keep_tensors(sound, lambda name: not name.startswith(b"blk."))
    assert run_cli("show", sound).code == 0


def test_blocks_that_only_predict_further_tokens_may_be_left_out(sound: Path):
    keep_tensors(sound, lambda name: not name.startswith(b"blk.2."))
    say(sound, "nextn_predict_layers", 1)
    assert read_metadata(sound).block_count == 3


def test_a_block_between_others_may_have_no_weights(sound: Path):
    keep_tensors(sound, lambda name: not name.startswith(b"blk.1."))
    assert read_metadata(sound).block_count == 3


def test_what_a_model_of_speech_reads_may_be_of_another_width(sound: Path):
    say(sound, "embedding_length", 128)
    say(sound, "features_length", 64)
    assert read_metadata(sound).embedding_length == 128
