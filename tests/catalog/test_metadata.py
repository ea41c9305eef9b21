"""Reading GGUF headers: what they say, and what is said about files that cannot be read."""

import random
import struct
from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import ModelFileError, ModelMissingError
from tests.catalog.gguf_files import vocabulary, write_gguf
from tests.quant.split import split_in_two


def test_a_header_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    meta = read_metadata(path)
    assert (meta.version, meta.architecture, meta.name) == (3, "llama", "test small")
    assert (meta.block_count, meta.context_length, meta.embedding_length) == (2, 2048, 64)
    assert (meta.head_count, meta.head_count_kv, meta.key_length, meta.value_length) == (2, 1, 32, 32)
    assert (meta.vocab_size, meta.bos_id, meta.eos_id, meta.add_bos, meta.add_eos) == (40, 1, 2, False, False)
    assert meta.tokens == [text.encode() for text in vocabulary(40)]
    assert meta.chat_template == "{{ messages }}"
    assert meta.file_bytes == path.stat().st_size
    assert meta.expert_count == 0


def test_sizes_come_from_the_tensors(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "small.gguf"))
    assert [(t.name, t.shape, t.ggml_type, t.n_bytes) for t in meta.tensors] == [
        ("token_embd.weight", (64, 4), "F32", 1024),
        ("output.weight", (64, 4), "Q8_0", 272),
    ]
    assert meta.parameter_count == 512
    assert meta.weights_bytes == 1296
    assert meta.bpw == pytest.approx(20.25)
    assert meta.quantization == "Q8_0"
    first = meta.tensors[0]
    data = meta.path.read_bytes()[meta.data_offset + first.offset :][: first.n_bytes]
    assert data == bytes(1024)


def test_fields_are_a_mapping_of_scalars_strings_and_lists(tmp_path: Path) -> None:
    fields = read_metadata(write_gguf(tmp_path / "small.gguf", heads_kv=[1, 2])).fields
    assert fields["general.architecture"] == "llama"
    assert fields["tokenizer.ggml.tokens"] == vocabulary(40)
    assert fields["llama.attention.head_count_kv"] == [1, 2]
    assert fields.get("no.such.key") is None
    assert len(fields) == len(list(fields))


def test_a_sentencepiece_file_without_flags_takes_the_defaults_of_llama_cpp(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "spm.gguf", tokenizer="llama", add_bos=None))
    assert (meta.add_bos, meta.add_eos) == (True, False)


def test_a_special_token_outside_the_vocabulary_falls_back_to_the_default(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "odd.gguf", bos=99, eos=3))
    assert (meta.bos_id, meta.eos_id) == (11, 3)


def test_a_file_without_a_vocabulary_says_so(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "bare.gguf", tokens=[]))
    assert (meta.vocab_size, meta.tokens, meta.tokenizer_model) == (0, [], None)


def test_version_2_is_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "old.gguf")
    patch(path, 4, struct.pack("<I", 2))
    assert read_metadata(path).version == 2


def test_the_real_default_model_is_read(smollm2: Path) -> None:
    meta = read_metadata(smollm2)
    assert (meta.architecture, meta.block_count, meta.vocab_size) == ("llama", 30, 49152)
    assert (meta.parameter_count, meta.quantization) == (134515008, "Q4_1")
    assert meta.tokens[1] == b"<|im_start|>"


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"", "it has 0 bytes", "download"),
        (b"GG", "it has 2 bytes", "download"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it starts with b'vers'", "git lfs pull"),
        (b"<!doctype html><html>", "it starts with b'<!do'", "web page"),
        (b"tjgg" + bytes(60), "it starts with b'tjgg'", "before GGUF"),
        (b'\x10\0\0\0\0\0\0\0{"a":', "it starts with b'\\x10\\x00\\x00\\x00'", "safetensors"),
        (b"PK\x03\x04abcd", "it starts with b'PK\\x03\\x04'", ".gguf"),
    ],
)
def test_what_is_not_a_gguf_is_named_by_its_first_bytes(
    tmp_path: Path, content: bytes, said: str, hint: str
) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_metadata(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("version", "said"), [(1, "GGUF version 1"), (99, "GGUF version 99"), (3 << 24, "big-endian")]
)
def test_an_unsupported_version_is_named(tmp_path: Path, version: int, said: str) -> None:
    path = write_gguf(tmp_path / "other.gguf")
    patch(path, 4, struct.pack("<I", version))
    with pytest.raises(ModelFileError, match=said):
        read_metadata(path)


def test_missing_weights_are_counted(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "cut.gguf")
    meta = read_metadata(path)
    end = meta.data_offset + meta.tensors[-1].offset + meta.tensors[-1].n_bytes
    path.write_bytes(path.read_bytes()[: end - 77])
    with pytest.raises(ModelFileError) as caught:
        read_metadata(path)
    assert caught.value.message == (
        f"{path} is truncated: 77 bytes are missing at its end ({end - 77} of {end})"
    )
    assert "models pull" in caught.value.hint


def test_every_truncation_is_an_error_in_words(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    meta = read_metadata(tmp_path / "whole.gguf")
    path = tmp_path / "cut.gguf"
    end = meta.data_offset + meta.tensors[-1].offset + meta.tensors[-1].n_bytes
    for size in [*range(0, meta.data_offset, 7), meta.data_offset, end - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            read_metadata(path)


def test_damaged_bytes_never_cause_anything_but_an_error_in_words(tmp_path: Path) -> None:
    whole = bytearray(write_gguf(tmp_path / "whole.gguf").read_bytes())
    path = tmp_path / "damaged.gguf"
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, 1600)] = chance.choice([0, 1, 8, 9, 0x7F, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            meta = read_metadata(path)
            _ = (meta.vocab_size, meta.quantization, meta.head_count_kv, meta.key_length, dict(meta.fields))
        except ModelFileError:
            refused += 1
    assert refused > 50


def test_absurd_counts_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "absurd.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 1))
    with pytest.raises(ModelFileError, match=r"it claims 1152921504606846976 tensors in 24 bytes"):
        read_metadata(path)


def test_a_removed_tensor_type_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "old.gguf")
    content = path.read_bytes()
    name = b"output.weight"
    at = content.index(name) + len(name) + 4 + 16
    patch(path, at, struct.pack("<I", 31))
    with pytest.raises(ModelFileError, match="Q4_0_4_4") as caught:
        read_metadata(path)
    assert "Q4_0 file" in caught.value.hint


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="there is no file"):
        read_metadata(tmp_path / "none.gguf")
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ModelFileError):
        read_metadata(tmp_path / "folder.gguf")


def test_the_parts_of_a_split_model_are_read_as_one(tmp_path: Path) -> None:
    parts = [
        write_gguf(tmp_path / f"big-0000{n}-of-00002.gguf", tokens=[] if n == 2 else None) for n in (1, 2)
    ]
    meta = read_metadata(parts[1])
    assert meta.path == parts[0]
    assert meta.parts == tuple(parts)
    assert meta.vocab_size == 40
    assert meta.file_bytes == sum(part.stat().st_size for part in parts)
    assert meta.weights_bytes == 2 * 1296
    assert [tensor.part for tensor in meta.tensors] == [0, 0, 1, 1]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "big-00001-of-00003.gguf")
    write_gguf(tmp_path / "big-00003-of-00003.gguf")
    with pytest.raises(
        ModelFileError, match=r"one of 3 parts, and 1 of them are not beside it: big-00002-of-00003"
    ):
        read_metadata(path)


def test_parts_put_one_behind_the_other_are_told_from_a_part_with_another_name(
    tmp_path: Path, tiny_model: Path
) -> None:
    first, second = split_in_two(tiny_model, tmp_path / "parts")
    joined, renamed = tmp_path / "joined.gguf", tmp_path / "renamed.gguf"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    renamed.write_bytes(first.read_bytes())
    with pytest.raises(ModelFileError, match="is made of parts of a split model") as caught:
        read_metadata(joined)
    assert "name the first, NAME-00001-of-00002.gguf" in caught.value.hint
    assert "takes llama-gguf-split" in caught.value.hint
    with pytest.raises(ModelFileError, match="its name does not say which"):
        read_metadata(renamed)
    assert len(read_metadata(first).tensors) == len(read_metadata(tiny_model).tensors)


@pytest.mark.parametrize(
    "names",
    [
        ("big.gguf.part1of2", "big.gguf.part2of2"),
        ("big.gguf-split-a", "big.gguf-split-b"),
        ("big.gguf.001", "big.gguf.002"),
        ("big.GGUF.part0", "big.GGUF.part1"),
        ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf"),
    ],
)
def test_pieces_that_were_cut_by_size_are_to_be_joined(tmp_path: Path, names: tuple[str, str]) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    for name, piece in zip(names, (whole[:-500], whole[-500:]), strict=True):
        (tmp_path / name).write_bytes(piece)
    for name in names:
        with pytest.raises(ModelFileError) as caught:
            read_metadata(tmp_path / name)
        assert "join all pieces in order into one file" in caught.value.hint
    (tmp_path / "joined.gguf").write_bytes(b"".join((tmp_path / name).read_bytes() for name in names))
    assert read_metadata(tmp_path / "joined.gguf").vocab_size == 40


@pytest.mark.parametrize("name", ["cut.gguf", "cut.gguf.incomplete", "cut.gguf.part", "cut.gguf.crdownload"])
def test_a_download_that_broke_off_is_no_piece(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(write_gguf(tmp_path / "whole.gguf").read_bytes()[:-500])
    with pytest.raises(ModelFileError, match="is truncated") as caught:
        read_metadata(path)
    assert caught.value.hint.startswith("download the file again")


def test_a_part_that_is_cut_short_is_to_be_downloaded_again(tmp_path: Path, tiny_model: Path) -> None:
    first, _ = split_in_two(tiny_model, tmp_path / "parts")
    first.write_bytes(first.read_bytes()[:-500])
    with pytest.raises(ModelFileError, match="is truncated") as caught:
        read_metadata(first)
    assert caught.value.hint.startswith("download the file again")


def patch(path: Path, at: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)
