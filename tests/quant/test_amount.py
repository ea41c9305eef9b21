"""How much is removed: as it is said, and what that comes to."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import UsageError
from quant.gguf.sizes import block_parameters, bytes_read_per_token
from quant.prune.amount import Amount, BlockAmount, choose_amount, human_count, read_blocks, read_count
from quant.prune.choices import Protection
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> GgufMetadata:
    return read_metadata(make_tiny_model(tmp_path_factory.mktemp("amount") / "dense.gguf", blocks=10))


@pytest.mark.parametrize(
    ("amount", "ratio", "n_blocks"),
    [(Amount(ratio=0.25), 0.25, 3), (Amount(ratio=0.24), 0.24, 2), (Amount(n_blocks=4), 0.4, 4)],
)
def test_a_share_is_rounded_to_the_nearest_number_of_blocks(
    dense: GgufMetadata, amount: Amount, ratio: float, n_blocks: int
):
    assert amount.ratio_of(dense) == pytest.approx(ratio)
    assert amount.blocks_of(dense) == n_blocks


def test_a_size_is_a_share_of_the_blocks_weights(dense: GgufMetadata):
    wanted = dense.parameter_count - 0.3 * block_parameters(dense)
    assert Amount(n_params=wanted).ratio_of(dense) == pytest.approx(0.3)
    assert Amount(n_params=wanted).blocks_of(dense) == 3


@pytest.mark.parametrize("amount", [Amount(ratio=0.0), Amount(ratio=1.0), Amount(n_params=1e12)])
def test_nothing_and_everything_are_not_amounts(dense: GgufMetadata, amount: Amount):
    with pytest.raises(UsageError, match="of the weights in the blocks"):
        amount.ratio_of(dense)


def test_a_share_too_small_for_a_block_is_refused(dense: GgufMetadata):
    with pytest.raises(UsageError, match=r"a ratio of 0\.04 would remove 0 of 10 blocks"):
        Amount(ratio=0.04).blocks_of(dense)


def test_no_block_is_a_number_of_blocks(dense: GgufMetadata):
    assert Amount(n_blocks=0).blocks_of(dense) == 0


def test_protected_blocks_are_not_among_those_that_may_go():
    assert BlockAmount.under(Protection(2, 1), 8, 5) == BlockAmount(5, range(2, 7))
    with pytest.raises(UsageError, match=r"6 of 8 blocks cannot .* first 2 and the last 1 .* leaves 5"):
        BlockAmount.under(Protection(2, 1), 8, 6)


def test_an_amount_is_said_in_one_way():
    assert choose_amount() == Amount(ratio=0.25)
    assert choose_amount(n_named=3) == Amount(n_blocks=3)
    assert choose_amount(params="4.9B") == Amount(n_params=4.9e9)
    with pytest.raises(UsageError, match="say the same thing"):
        choose_amount(ratio=0.2, n_blocks=1)


@pytest.mark.parametrize(
    ("text", "blocks"), [("12-14", (12, 13, 14)), ("9,4,4", (4, 9)), ("1,3-4", (1, 3, 4))]
)
def test_blocks_are_listed_with_ranges(text: str, blocks: tuple[int, ...]):
    assert read_blocks(text) == blocks


@pytest.mark.parametrize(("text", "count"), [("130M", 1.3e8), ("2k", 2000), ("1500", 1500)])
def test_counts_have_units(text: str, count: float):
    assert read_count(text) == pytest.approx(count)


@pytest.mark.parametrize(("read", "text"), [(read_blocks, "1-x"), (read_blocks, ""), (read_count, "many")])
def test_what_is_neither_list_nor_count_is_refused(read: object, text: str):
    with pytest.raises(UsageError, match="is not a"):
        read(text)  # type: ignore[operator]


def test_counts_are_written_in_millions_and_billions():
    assert (human_count(134_515_008), human_count(4.9e9)) == ("134.5M", "4.90B")


def test_a_token_reads_the_embedding_table_only_where_it_is_the_output_too():
    tied = {"token_embd.weight": 100, "blk.0.ffn_down.weight": 7}
    assert bytes_read_per_token(tied) == 107
    assert bytes_read_per_token({**tied, "output.weight": 50}) == 57


def test_norms_count_as_weights_of_their_blocks(tmp_path: Path):
    one, two = (read_metadata(make_tiny_model(tmp_path / f"{n}.gguf", blocks=n)).tensors for n in (1, 2))
    in_block = sum(tensor.n_elements for tensor in two) - sum(tensor.n_elements for tensor in one)
    assert block_parameters(read_metadata(tmp_path / "1.gguf")) == in_block
