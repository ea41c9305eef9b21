"""The command line around the commands: help, flags, errors and exit codes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import edgespec.cli
from edgespec.cli.context import Settings
from edgespec.errors import (
    ContextOverflowError,
    EdgespecError,
    InterruptedRunError,
    ModelMissingError,
    NotEnoughMemoryError,
)

HEAVY = ("llama_cpp", "numpy", "textual", "huggingface_hub", "rich", "matplotlib", "jinja2", "psutil")


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Puts a command called `probe` into the table, whose body is the given function of the settings."""

    def install(body: Callable[..., object]) -> None:
        @click.command()
        @click.option("--count", type=int, default=0)
        @click.pass_obj
        def command(settings: Settings, count: int) -> object:
            return body(settings)

        module = type(sys)("edgespec.cli.probe")
        module.command = command
        monkeypatch.setitem(sys.modules, "edgespec.cli.probe", module)
        monkeypatch.setitem(edgespec.cli.COMMANDS, "probe", "For tests.")

    return install


def raiser(error: BaseException) -> Callable[..., object]:
    def body(_settings: Settings) -> object:
        raise error

    return body


def run_clean(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_imports_no_command_and_nothing_heavy():
    code = (
        "import sys; from edgespec.cli import COMMANDS, main; code = main(['--help']); "
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]; "
        "commands = [name for name in COMMANDS if 'edgespec.cli.' + name in sys.modules]; "
        "print(code, heavy, commands, file=sys.stderr)"
    )
    ran = run_clean(code)
    assert ran.stderr == "0 [] []\n"
    assert ran.stdout.startswith("Usage: edgespec [OPTIONS]")


@pytest.mark.parametrize("name", list(edgespec.cli.COMMANDS))
def test_help_of_a_command_imports_nothing_heavy(name: str):
    code = (
        f"import sys; from edgespec.cli import main; code = main([{name!r}, '-h']); "
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ran = run_clean(code)
    assert ran.stderr == "0 []\n"
    assert ran.stdout.startswith(f"Usage: edgespec {name} ")


def test_help_names_every_command_exit_code_and_variable(run_cli):
    result = run_cli("-h")
    assert (result.code, result.err) == (0, "")
    width = max(len(name) for name in edgespec.cli.COMMANDS)
    for name, text in edgespec.cli.COMMANDS.items():
        assert f"  {name:{width}}  {text}\n" in result.out
    for word in ("130  interrupted", "EDGESPEC_HOME", "EDGESPEC_CONFIG", "EDGESPEC_SOURCE", "HF_HUB_OFFLINE"):
        assert word in result.out


def test_no_arguments_print_the_help_on_stderr_and_fail(run_cli):
    result = run_cli()
    assert (result.code, result.out) == (2, "")
    assert result.err == run_cli("--help").out


def test_version_is_one_line(run_cli):
    result = run_cli("--version")
    assert (result.code, result.out, result.err) == (0, f"edgespec {edgespec.__version__}\n", "")


def test_an_unknown_command_suggests_the_nearest(run_cli):
    result = run_cli("bnech")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "edgespec: there is no command 'bnech'. Did you mean 'bench'? Try 'edgespec --help'\n"
    )


def test_an_unknown_command_unlike_any_other_gets_no_suggestion(run_cli):
    result = run_cli("xyzzy")
    assert result.err == "edgespec: there is no command 'xyzzy'. Try 'edgespec --help'\n"


def test_an_unknown_option_is_one_line_that_names_the_command_to_ask(run_cli, probe):
    probe(lambda settings: None)
    result = run_cli("probe", "--cuont", "3")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("edgespec: No such option '--cuont'")
    assert "--count" in result.err
    assert result.err.endswith("Try 'edgespec probe --help'\n")
    assert result.err.count("\n") == 1


def test_a_value_of_the_wrong_kind_is_a_usage_error(run_cli, probe):
    probe(lambda settings: None)
    result = run_cli("probe", "--count", "many")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "edgespec: Invalid value for '--count': 'many' is not a valid integer. Try 'edgespec probe --help'\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (EdgespecError("the work failed", "try again"), 1, "the work failed. Try again"),
        (EdgespecError("it ended."), 1, "it ended."),
        (
            ContextOverflowError("9 tokens do not fit 8.", "raise it"),
            2,
            "9 tokens do not fit 8. Raise it",
        ),
        (
            ModelMissingError("no model 'x'", "edgespec models list shows them"),
            3,
            "no model 'x'. edgespec models list shows them",
        ),
        (NotEnoughMemoryError("needs 3 GiB"), 4, "needs 3 GiB"),
        (InterruptedRunError("stopped; 2 arms kept"), 130, "stopped; 2 arms kept"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            MemoryError(),
            4,
            "this machine ran out of memory. Use a smaller model or a shorter context, or close other programs",
        ),
        (
            PermissionError(13, "Permission denied", "out.png"),
            1,
            "cannot use 'out.png': permission denied. Check its permissions or choose another place",
        ),
        (
            ZeroDivisionError("division by zero"),
            1,
            "unexpected ZeroDivisionError: division by zero. This is a bug in edgespec; "
            "run again with --debug for the traceback and report it",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_an_exit_code(run_cli, probe, error, code, line):
    probe(raiser(error))
    result = run_cli("probe")
    assert (result.code, result.out, result.err) == (code, "", f"edgespec: {line}\n")


def test_an_error_that_quotes_control_sequences_and_newlines_stays_one_harmless_line(run_cli, probe):
    probe(raiser(ModelMissingError("no model '\x1b[2Jevil\nname'")))
    assert run_cli("probe").err == "edgespec: no model '\\x1b[2Jevil name'\n"


@pytest.mark.parametrize("arguments", [("--debug", "probe"), ("probe", "--debug")])
def test_debug_shows_the_traceback_before_the_line(run_cli, probe, arguments):
    probe(raiser(ModelMissingError("no model 'x'")))
    result = run_cli(*arguments)
    assert result.code == 3
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.endswith("\nedgespec: no model 'x'\n")


def test_edgespec_debug_in_the_environment_shows_the_traceback(run_cli, probe, monkeypatch):
    probe(raiser(ModelMissingError("no model 'x'")))
    monkeypatch.setenv("EDGESPEC_DEBUG", "1")
    assert "Traceback" in run_cli("probe").err
    monkeypatch.setenv("EDGESPEC_DEBUG", "0")
    assert "Traceback" not in run_cli("probe").err


def test_a_command_may_return_its_exit_code(run_cli, probe):
    probe(lambda settings: 3)
    assert run_cli("probe").code == 3


def test_global_flags_work_before_and_after_the_command(run_cli, probe):
    seen: list[Settings] = []
    probe(seen.append)
    assert run_cli("-v", "--offline", "probe", "-v", "-q").code == 0
    assert run_cli("probe").code == 0
    assert seen == [Settings(verbosity=2, quiet=True, debug=False, offline=True), Settings()]


def test_every_package_of_the_core_is_heard(run_cli, probe):
    import logging

    probe(lambda _settings: logging.getLogger("quant.text").warning("short"))
    assert run_cli("probe").err == "edgespec: warning: short\n"
    assert run_cli("-q", "probe").err == ""


def test_hf_hub_offline_is_the_same_as_the_flag(run_cli, probe, monkeypatch):
    seen: list[Settings] = []
    probe(seen.append)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run_cli("probe")
    assert seen == [Settings(offline=True)]


def test_log_records_reach_stderr_as_asked_for(run_cli, probe):
    import logging

    def body(_settings: Settings) -> None:
        logging.getLogger("edgespec.catalog").warning("careful\x1b[31m")
        logging.getLogger("edgespec.catalog").info("reading")
        logging.getLogger("edgespec.llama.native").error("native error")
        logging.getLogger("edgespec.llama.native").debug("native detail")

    probe(body)
    assert run_cli("-q", "probe").err == ""
    assert run_cli("probe").err == "edgespec: warning: careful\\x1b[31m\n"
    assert run_cli("probe", "-v").err == (
        "edgespec: warning: careful\\x1b[31m\nedgespec: info: reading\nedgespec: error: native error\n"
    )
    assert run_cli("probe", "-vv").err.endswith("edgespec: debug: native detail\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes end in another way there")
def test_a_reader_that_goes_away_ends_the_program_quietly():
    code = "import sys; from edgespec.cli import main; sys.stdin.read(); sys.exit(main(['--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def killing_itself(name: str) -> str:
    """A program whose command gets this signal while it works."""
    return (
        "import os, signal, sys, types, click, edgespec.cli as cli\n"
        "@click.command()\n"
        f"def command(): os.kill(os.getpid(), signal.{name}); import time; time.sleep(30)\n"
        "module = types.ModuleType('edgespec.cli.probe'); module.command = command\n"
        "sys.modules['edgespec.cli.probe'] = module; cli.COMMANDS['probe'] = ''\n"
        "sys.argv[1:] = ['probe']\n"
        "sys.exit(cli.main())"
    )


@pytest.mark.skipif(os.name == "nt", reason="a console is needed to send Ctrl-C there")
def test_ctrl_c_ends_with_one_line_and_130():
    ran = run_clean(killing_itself("SIGINT"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "edgespec: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="no process is asked to end there, it is ended")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_kill_and_a_closed_terminal_end_the_work_as_ctrl_c_does(name: str):
    ran = run_clean(killing_itself(name))
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "edgespec: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="no process is asked to end there, it is ended")
def test_kill_ends_a_background_job_that_ignores_ctrl_c():
    ran = run_clean(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + killing_itself("SIGTERM")
    )
    assert (ran.returncode, ran.stderr) == (-signal.SIGTERM, "")


def test_output_that_the_terminal_cannot_encode_is_replaced_not_fatal():
    code = (
        "import sys, types, click, edgespec.cli as cli\n"
        "module = types.ModuleType('edgespec.cli.probe')\n"
        "module.command = click.Command('probe', callback=lambda: print('1.42\\u00d7 \\u2588'))\n"
        "sys.modules['edgespec.cli.probe'] = module; cli.COMMANDS['probe'] = ''\n"
        "sys.exit(cli.main(['probe']))"
    )
    ran = run_clean(code, PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1.42? ?\n", "")


def test_the_module_can_be_run():
    ran = subprocess.run(
        [sys.executable, "-m", "edgespec", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"edgespec {edgespec.__version__}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes streams")
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("<&- >&- 2>&-", 0, ""),
        (">&-", 0, ""),
        ("2>&- | cat", 0, "edgespec {version}\n"),
        pytest.param(
            ">/dev/full",
            1,
            "edgespec: cannot use a file or the output: no space left on device. Free some space or choose another folder\n",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full there"),
        ),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_bug(redirection: str, code: int, said: str):
    ran = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "edgespec", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    version = edgespec.__version__
    assert (ran.returncode, ran.stdout + ran.stderr) == (code, said.format(version=version))


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes streams")
def test_no_file_takes_the_number_of_a_closed_stream():
    code = (
        "import os, sys, types, click, edgespec.cli as cli\n"
        "module = types.ModuleType('edgespec.cli.probe')\n"
        "module.command = click.Command('probe', callback=lambda: int(open(os.devnull).fileno() < 3))\n"
        "sys.modules['edgespec.cli.probe'] = module; cli.COMMANDS['probe'] = ''\n"
        "sys.argv = ['edgespec', 'probe']; sys.exit(cli.main())"
    )
    shell = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(shell, timeout=60, check=False).returncode == 0


def test_the_file_of_a_command_exists_for_every_name_in_the_table():
    folder = Path(edgespec.cli.__file__).parent
    assert [
        name for name in edgespec.cli.COMMANDS if not (folder / f"{name.replace('-', '_')}.py").is_file()
    ] == []
