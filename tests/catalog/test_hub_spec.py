"""What people write for a model of the hub."""

from pathlib import Path

import pytest

from edgespec.catalog.hub_spec import HubSpec, parse_hub_spec
from edgespec.errors import ModelMissingError

HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "meant", "name"),
    [
        ("o/r:m.gguf", HubSpec("o/r", file="m.gguf"), "o/r:m.gguf"),
        ("o/r@v1:sub/M.GGUF", HubSpec("o/r", "v1", file="sub/M.GGUF"), "o/r@v1:sub/M.GGUF"),
        ("o/r:q4_k_m", HubSpec("o/r", quant="Q4_K_M"), "o/r:Q4_K_M"),
        ("o/r", HubSpec("o/r"), "o/r"),
        ("o/r:latest", HubSpec("o/r"), "o/r"),
        ("hf.co/o/r:Q8_0", HubSpec("o/r", quant="Q8_0"), "o/r:Q8_0"),
        ("huggingface.co/o/r", HubSpec("o/r"), "o/r"),
        ("hf:o/r:Q8_0", HubSpec("o/r", quant="Q8_0"), "o/r:Q8_0"),
        ("hf://o/r/sub/m.gguf", HubSpec("o/r", file="sub/m.gguf"), "o/r:sub/m.gguf"),
        ("https://hf.co/o/r:Q8_0", HubSpec("o/r", quant="Q8_0"), "o/r:Q8_0"),
        ("https://huggingface.co/o/r/", HubSpec("o/r"), "o/r"),
        ("https://huggingface.co/o/r/blob/main/a%20b.gguf", HubSpec("o/r", file="a b.gguf"), "o/r:a b.gguf"),
        (
            f"https://huggingface.co/o/r/resolve/{HEX}/sub/m.gguf?download=true#x",
            HubSpec("o/r", HEX, file="sub/m.gguf"),
            f"o/r@{HEX}:sub/m.gguf",
        ),
        ("https://huggingface.co/o/r/tree/main", HubSpec("o/r"), "o/r"),
        (
            "https://huggingface.co/o/r/tree/main/UD-Q2_K_XL",
            HubSpec("o/r", quant="UD-Q2_K_XL"),
            "o/r:UD-Q2_K_XL",
        ),
    ],
)
def test_every_form_is_understood_and_its_name_means_the_same(text: str, meant: HubSpec, name: str) -> None:
    assert parse_hub_spec(text) == meant
    assert meant.name == name
    assert parse_hub_spec(name) == meant


@pytest.mark.parametrize(
    "text",
    [
        "smollm2-135m",
        "m.gguf",
        "sub/m.gguf",
        "../up/m.gguf",
        "./o/r",
        "/abs/r",
        "a/b/c",
        "o/..",
        "ollama:o/r:x",
    ],
)
def test_names_and_paths_are_left_alone(text: str) -> None:
    assert parse_hub_spec(text) is None


def test_what_is_there_or_has_its_folder_there_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_hub_spec("models/small") is not None
    (tmp_path / "models").mkdir()
    assert parse_hub_spec("models/small") is None
    assert parse_hub_spec("models/small:Q8_0") == HubSpec("models/small", quant="Q8_0")


def test_a_mirror_is_the_hub_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://hub.example/o/r/blob/main/m.gguf"
    with pytest.raises(ModelMissingError, match="is not an address of the hub"):
        parse_hub_spec(address)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert parse_hub_spec(address) == HubSpec("o/r", file="m.gguf")


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/o/r/blob/main/model.safetensors",
        "https://huggingface.co/datasets/o/r",
        "https://huggingface.co/o",
        "file:///etc/passwd",
        "hf.co/o/r/discussions/7",
    ],
)
def test_another_address_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ModelMissingError) as caught:
        parse_hub_spec(text)
    assert text in caught.value.message
    assert caught.value.hint
