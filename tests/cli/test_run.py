"""`edgespec run`: the answer and nothing else on stdout, one line for every error, and Ctrl-C."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgespec import paths
from edgespec.llama import context as context_module
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.session import open_pair
from edgespec.session.session import Prompt
from tests.conftest import RunCli
from tests.session.eager import draft_eagerly
from tests.session.single_thread import one_thread
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

__all__ = ["one_thread"]
JSON_KEYS = [
    "schema",
    "text",
    "thought",
    "prompt_n",
    "predicted_n",
    "thought_n",
    "tok_per_s",
    "estimated_speedup",
    "draft_n",
    "draft_n_accepted",
    "acceptance",
    "mean_accepted_len",
    "ttft_s",
    "prompt_tok_per_s",
    "stopped",
    "speculation",
]


def library_answer(
    path: Path | str, prompt: Prompt, count: int, *, raw: bool = False, **sampling: Any
) -> str:
    """What the Python API says to the same prompt."""
    with open_pair(path, "none") as session:
        stream = session.stream(prompt, max_tokens=count, sampling=SamplingWish(**sampling), raw=raw)
        return "".join(token.text for token in stream)


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of random weights become letters and spaces, so that outputs can be compared as they are."""
    real = Model.token_bytes

    def letters(model: Model, token: int, *, special: bool = False) -> bytes:
        return real(model, token, special=special) if special else b"abcdefgh "[token % 9 :][:1]

    monkeypatch.setattr(Model, "token_bytes", letters)


# The answer


def test_stdout_is_the_answer_and_a_newline(run_cli: RunCli, readable: None, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "40")
    assert (result.code, result.err) == (0, "")
    assert result.out == library_answer(tiny_model, "the cat", 40) + "\n"
    assert len(result.out) == 41


@pytest.mark.parametrize("draft", ["none", "ngram", "tiny-draft"])
def test_the_answer_is_the_same_whatever_drafts(
    run_cli: RunCli,
    readable: None,
    tiny_model: Path,
    tiny_draft: Path,
    draft: str,
    monkeypatch: pytest.MonkeyPatch,
):
    draft_eagerly(monkeypatch)
    named = tiny_draft if draft == "tiny-draft" else draft
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "40", "--draft", named, "--json")
    document = json.loads(result.out)
    assert document["text"] == library_answer(tiny_model, "the cat", 40)
    if draft == "tiny-draft":
        assert document["draft_n"] > 10
        assert document["speculation"].startswith("speculation on: ")


@pytest.mark.model
def test_the_embedded_model_answers_without_being_named(run_cli: RunCli, home_with_smollm2: Path):
    result = run_cli("run", "-p", "Name one colour.", "-n", "24", "--draft", "none")
    assert (result.code, result.err) == (0, "")
    assert result.out == library_answer("smollm2-135m", "Name one colour.", 24) + "\n"
    assert any(character.isalpha() for character in result.out)


def test_what_is_piped_in_comes_before_the_prompt(run_cli: RunCli, readable: None, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "in short", "-n", "9", stdin="\nthe long text\n\n")
    assert result.out == library_answer(tiny_model, "the long text\n\nin short", 9) + "\n"


def test_what_is_piped_in_is_a_prompt_by_itself(run_cli: RunCli, readable: None, tiny_model: Path):
    result = run_cli("run", tiny_model, "-n", "9", stdin="the long text\n")
    assert result.out == library_answer(tiny_model, "the long text", 9) + "\n"


def test_bytes_that_are_not_text_can_be_piped_in(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str] = []
    tokenize = Model.tokenize

    def listen(model: Model, text: str, **options: bool) -> list[int]:
        seen.append(text)
        return tokenize(model, text, **options)

    monkeypatch.setattr(Model, "tokenize", listen)
    # The bytes of a UTF-16 file, as a Windows shell may send them.
    result = run_cli_with_bytes(run_cli, monkeypatch, b"\xff\xfea\x00b\x00", tiny_model)
    assert (result.code, result.err) == (0, "")
    assert any("\ufffd\ufffda\0b" in text for text in seen)


def run_cli_with_bytes(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, data: bytes, model: Path) -> Any:
    import io

    from edgespec.cli import run

    def read() -> str:
        stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stream)
        return real()

    real = run._read_stdin
    monkeypatch.setattr(run, "_read_stdin", read)
    return run_cli("run", model, "-n", "3", stdin="x")


def test_a_system_prompt_is_a_turn_of_its_own(run_cli: RunCli, readable: None, tiny_model: Path):
    from edgespec.chat.messages import ChatMessage

    result = run_cli("run", tiny_model, "--system", "be brief", "-p", "hi", "-n", "9")
    turns = [ChatMessage("system", "be brief"), ChatMessage("user", "hi")]
    assert result.out == library_answer(tiny_model, turns, 9) + "\n"
    assert result.out != library_answer(tiny_model, "hi", 9) + "\n"


def test_raw_sends_the_text_without_the_template(run_cli: RunCli, readable: None, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "20", "--raw")
    assert result.out == library_answer(tiny_model, "the cat", 20, raw=True) + "\n"
    assert result.out != library_answer(tiny_model, "the cat", 20) + "\n"


def test_sampling_flags_reach_the_sampler(run_cli: RunCli, readable: None, tiny_model: Path):
    flags = ["--temperature", "0.9", "--top-k", "7", "--top-p", "0.8", "--min-p", "0.1", "--seed", "5"]
    flags += ["--repeat-penalty", "1.2", "--presence-penalty", "0.1", "--frequency-penalty", "0.2"]
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "40", *flags)
    expected = library_answer(
        tiny_model,
        "the cat",
        40,
        temperature=0.9,
        top_k=7,
        top_p=0.8,
        min_p=0.1,
        seed=5,
        repeat_penalty=1.2,
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    assert result.out == expected + "\n"
    assert expected != library_answer(tiny_model, "the cat", 40)


@pytest.fixture
def made_contexts(monkeypatch: pytest.MonkeyPatch) -> list[ContextSettings]:
    """The settings of every context that is made."""
    made: list[ContextSettings] = []
    real = context_module.Context.__init__

    def note(self: Any, model: Any, settings: ContextSettings, **options: Any) -> None:
        made.append(settings)
        real(self, model, settings, **options)

    monkeypatch.setattr(context_module.Context, "__init__", note)
    return made


def test_engine_flags_reach_both_contexts(
    run_cli: RunCli, tiny_model: Path, tiny_draft: Path, made_contexts: list[ContextSettings]
):
    flags = ["--kv-type", "F32", "--flash-attn", "off", "-t", "1", "-c", "300", "--draft-type", "as-is"]
    result = run_cli("run", tiny_model, "--draft", tiny_draft, "-p", "x", "-n", "3", *flags)
    assert (result.code, result.err) == (0, "")
    target, draft = made_contexts
    for settings in made_contexts:
        assert settings.type_k == settings.type_v == KvType.F32
        assert (settings.flash_attention, settings.n_threads) == ("off", 1)
    assert target.n_ctx == 300
    assert draft.n_ctx >= 300
    assert (target.n_outputs_max, draft.n_outputs_max) == (16, 1)
    assert not paths.derived_models_dir().exists()


# Figures


def test_stats_are_on_stderr_and_leave_stdout_as_it_is(run_cli: RunCli, readable: None, tiny_model: Path):
    plain = run_cli("run", tiny_model, "-p", "the cat", "-n", "12", "--draft", "none")
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "12", "--draft", "none", "--stats")
    assert result.out == plain.out
    lines = result.err.splitlines()
    assert lines[0].startswith("12 tokens \u00b7 ")
    assert "tok/s \u00b7 TTFT " in lines[0]
    assert "accepted" not in lines[0]
    assert lines[1] == "speculation off: as asked"
    assert lines[2:] == []


def test_stats_of_a_drafted_answer_name_acceptance(
    run_cli: RunCli, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    draft_eagerly(monkeypatch)
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "40", "--draft", tiny_draft, "--stats")
    assert "% accepted (" in result.err
    assert "mean length " in result.err
    assert "speculation on: " in result.err


def test_json_is_one_document_with_the_promised_keys(run_cli: RunCli, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "12", "--draft", "none", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert list(document) == JSON_KEYS
    assert document["schema"] == "edgespec.run/1"
    assert document["text"] == library_answer(tiny_model, "the cat", 12)
    assert (document["predicted_n"], document["draft_n"], document["acceptance"]) == (12, 0, None)
    assert document["tok_per_s"] > 0
    assert document["stopped"] == "length"


# What a model may not do to a terminal


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x1b[31m", "\\x1b[31m"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u009b2J".encode(), "\\x9b2J"),
        ("\u202egpj.exe".encode(), "\\u202egpj.exe"),
        (b"\r\x7f\x08", "\\x0d\\x7f\\x08"),
        (b"\ttwo\nlines", "\ttwo\nlines"),
    ],
)
def test_control_characters_of_a_model_never_reach_stdout(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, shown: str
):
    real = Model.token_bytes
    monkeypatch.setattr(
        Model,
        "token_bytes",
        lambda model, token, *, special=False: real(model, token, special=True) if special else said,
    )
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "3")
    assert result.out == shown * 3 + "\n"
    as_json = run_cli("run", tiny_model, "-p", "the cat", "-n", "3", "--json").out
    assert json.loads(as_json)["text"] == said.decode() * 3
    assert all(character == "\n" or " " <= character <= "~" for character in as_json)


def test_an_escape_sequence_in_single_bytes_is_as_harmless(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    real, said = Model.token_bytes, iter(b"\x1b[2J\xc2\x9b31m\xe2\x80\xae")
    monkeypatch.setattr(
        Model,
        "token_bytes",
        lambda model, token, *, special=False: (
            real(model, token, special=True) if special else bytes([next(said)])
        ),
    )
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "12")
    assert result.out == "\\x1b[2J\\x9b31m\\u202e\n"


def test_random_bytes_of_a_model_are_all_made_visible(run_cli: RunCli, tiny_model: Path):
    flags = ["--temperature", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "400", *flags)
    assert "\\x1b" in result.out
    controls = {character for character in result.out if ord(character) < 32 or 127 <= ord(character) < 160}
    assert controls <= {"\n", "\t"}


def test_layers_that_were_offloaded_are_named_in_the_stats(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    from edgespec.llama.devices import Device
    from edgespec.session import placing

    card = Device("GPU0", "A card", "gpu", 8 << 30, 8 << 30)
    monkeypatch.setattr(placing, "list_devices", lambda: (card,))
    result = run_cli("run", tiny_model, "-p", "x", "-n", "3", "--stats", "--gpu-layers", "2")
    assert result.err.splitlines()[-1] == "tiny: 2 of 3 layers offloaded, as asked"


def test_layers_that_cannot_be_offloaded_are_a_warning(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    from edgespec.session import placing

    monkeypatch.setattr(placing, "list_devices", lambda: ())
    result = run_cli("run", tiny_model, "-p", "x", "-n", "3", "--gpu-layers", "2")
    assert result.code == 0
    assert result.err == (
        "edgespec: warning: tiny: no GPU in this build of llama.cpp: all layers on the CPU\n"
    )
    assert run_cli("run", tiny_model, "-p", "x", "-n", "3").err == ""


def test_a_full_context_is_said_in_one_line(run_cli: RunCli, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "4000", "-c", "256", "--json")
    assert json.loads(result.out)["stopped"] == "context"
    assert result.err == (
        "edgespec: warning: the context of 256 tokens is full, and the answer cut short; use a larger --ctx-size\n"
    )
    assert run_cli("run", tiny_model, "-p", "the cat", "-n", "4000", "-c", "256", "-q").err == ""
    assert run_cli("run", tiny_model, "-p", "the cat", "-n", "20").err == ""


def test_a_context_beyond_the_training_is_a_warning_with_the_flag(run_cli: RunCli, tiny_model: Path):
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "3", "-c", "1024")
    assert result.code == 0
    assert result.err == (
        "edgespec: warning: tiny was trained with 512 tokens: in the 1024 of --ctx-size its text may fall apart\n"
    )


def test_keys_and_values_can_have_types_of_their_own(
    run_cli: RunCli, tiny_model: Path, made_contexts: list[ContextSettings]
):
    for flags in (["--kv-type-v", "bf16"], ["--kv-type", "bf16", "--kv-type-k", "f32"]):
        assert run_cli("run", tiny_model, "-p", "x", "-n", "3", *flags).code == 0
    assert [(one.type_k.name, one.type_v.name) for one in made_contexts] == [("F16", "BF16"), ("F32", "BF16")]


def test_what_was_said_before_an_error_stays_on_stdout(
    run_cli: RunCli, readable: None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    lib = load_library()
    decode, answer = lib.llama_decode, library_answer(tiny_model, "the cat", 40)
    run_cli("run", tiny_model, "-p", "the cat", "-n", "1")  # measures the costs
    calls: list[int] = []

    def fail_late(*arguments: Any) -> int:
        calls.append(1)
        return -3 if len(calls) == 12 else int(decode(*arguments))

    monkeypatch.setattr(lib, "llama_decode", fail_late)
    result = run_cli("run", tiny_model, "-p", "the cat", "-n", "40", "--draft", "none")
    assert result.code == 1
    assert result.err == "edgespec: llama_decode failed with code -3 on 1 rows: no reason given\n"
    assert result.out.endswith("\n")
    assert len(result.out) > 5
    assert answer.startswith(result.out.rstrip("\n"))


@pytest.mark.parametrize("typed", [(), ("--temperature", "0"), ("--seed", "7", "--top-k", "5")])
def test_the_models_own_sampling_holds_where_nothing_is_typed(
    run_cli: RunCli, readable: None, tmp_path: Path, typed: tuple[str, ...]
):
    path = make_tiny_model(
        tmp_path / "own.gguf", chat_template=CHAT_TEMPLATE, sampling={"temp": 1.5, "top_k": 30}
    )
    result = run_cli("run", path, "-p", "the cat", "-n", "40", *typed)
    wanted = {
        (): Sampling(temperature=1.5, top_k=30),
        ("--temperature", "0"): Sampling(top_k=30),
    }.get(typed, Sampling(temperature=1.5, top_k=5, seed=7))
    assert result.out == library_answer(path, "the cat", 40, **asdict(wanted)) + "\n"
    greedy = library_answer(path, "the cat", 40, temperature=0.0)
    assert (result.out == greedy + "\n") == ("--temperature" in typed)
