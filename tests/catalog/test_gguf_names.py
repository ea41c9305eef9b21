"""What names of GGUF files say."""

import pytest

from edgespec.catalog.gguf_names import choose_model, is_model, part_names, quant_of


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"),
        ("tinyllama-1.1b-chat-v1.0.q5_0.gguf", "Q5_0"),
        ("Q8_0/model-Q4_K_S-00001-of-00003.gguf", "Q4_K_S"),
        ("gemma-4-E2B_q4_0-it.gguf", "Q4_0"),
        ("x-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("x-IQ4_XS.gguf", "IQ4_XS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("x-BF16.gguf", "BF16"),
        ("model.gguf", None),
        ("Qwen3-8B.gguf", None),
    ],
)
def test_the_type_of_the_weights_is_read_off_a_name(name: str, quant: str | None) -> None:
    assert quant_of(name) == quant


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("a-Q4_0.gguf", True),
        ("sub/a-00001-of-00002.gguf", True),
        ("sub/a-00002-of-00002.gguf", False),
        ("mmproj-model-f16.gguf", False),
        ("a.mmproj-Q8_0.gguf", False),
        ("mtp-a-Q4_0.gguf", False),
        ("a-imatrix.gguf", False),
        ("mmproj/a.gguf", True),
        ("a.safetensors", False),
    ],
)
def test_projectors_matrices_heads_and_later_parts_are_no_models(name: str, yes: bool) -> None:
    assert is_model(name) is yes


def test_any_part_tells_the_names_of_all() -> None:
    whole = tuple(f"big-{number:05d}-of-00003.gguf" for number in (1, 2, 3))
    assert part_names("big-00002-of-00003.gguf") == whole
    assert part_names("small.gguf") == ("small.gguf",)
    assert part_names("odd-00001-of-00000.gguf") != ()


REPOSITORY = [
    "README.md",
    "mmproj-m-Q4_K_M.gguf",
    "m-UD-Q4_K_M.gguf",
    "m-Q4_K_M.gguf",
    "m-Q4_K_S.gguf",
    "m-IQ4_NL.gguf",
    "BF16/m-BF16-00002-of-00002.gguf",
    "BF16/m-BF16-00001-of-00002.gguf",
    "UD-Q2_K_XL/m-part.gguf",
]


@pytest.mark.parametrize(
    ("quant", "file"),
    [
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("UD-Q4_K_M", "m-UD-Q4_K_M.gguf"),
        ("bf16", "BF16/m-BF16-00001-of-00002.gguf"),
        ("UD-Q2_K_XL", "UD-Q2_K_XL/m-part.gguf"),
        ("Q4_NL", None),
        ("Q4_K", None),
        ("Q8_0", None),
        (None, "m-Q4_K_M.gguf"),
    ],
)
def test_a_quantization_means_one_file(quant: str | None, file: str | None) -> None:
    assert choose_model(REPOSITORY, quant) == file
    assert choose_model(reversed(REPOSITORY), quant) == file


def test_without_a_quantization_llama_cpps_own_choice_is_taken_else_any_model() -> None:
    assert choose_model(["a-F16.gguf", "a-Q8_0.gguf"], None) == "a-Q8_0.gguf"
    assert choose_model(["mmproj-F16.gguf", "gpt-oss-mxfp4.gguf"], None) == "gpt-oss-mxfp4.gguf"
    assert choose_model(["model.safetensors"], None) is None
