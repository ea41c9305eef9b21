"""From an exception to one line on stderr and an exit code; the only place that maps them."""

import contextlib
import errno
import os
import sys
import traceback

import click

from edgespec.cli.flags import with_flags
from edgespec.errors import EdgespecError, ExitCode, os_error_words
from edgespec.text import one_line

_PROGRAM = "edgespec"
_SEE_WHERE = "run again with --debug to see where it happened"


def report(error: BaseException, *, debug: bool) -> int:
    """Prints what went wrong as one line on stderr and returns the exit code.

    Args:
        error: Whatever ended the command.
        debug: Print the traceback before the line.
    """
    if _is_closed_pipe(error):
        _silence_stdout()
        return ExitCode.FAILED
    if debug and not isinstance(error, click.ClickException | KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
    sentence, code = describe(error)
    _finish_stdout()
    print(f"{_PROGRAM}: {sentence}", file=sys.stderr)
    return code


def end_with_native_code(reason: str, *, hint: str) -> None:
    """The last word before llama.cpp ends the process: what was printed stays, and one line says why no more comes.

    Args:
        reason: llama.cpp's.
        hint: The way out.
    """
    _finish_stdout()
    sentence = _join(f"llama.cpp gave up: {reason}", f"{hint}; what came before is whole")
    print(f"\n{_PROGRAM}: {sentence}", file=sys.stderr, flush=True)
    os._exit(ExitCode.FAILED)


def describe(error: BaseException) -> tuple[str, ExitCode]:
    """The sentence for the user, on one line, and the exit code."""
    match error:
        case EdgespecError():
            return with_flags(_join(error.message, error.hint)), error.exit_code
        case click.UsageError():
            return _join(error.format_message(), _help_hint(error)), ExitCode.USAGE
        case click.ClickException():
            return one_line(error.format_message()), ExitCode.FAILED
        case KeyboardInterrupt() | click.Abort():
            return "interrupted", ExitCode.INTERRUPTED
        case MemoryError():
            hint = "use a smaller model or a shorter context, or close other programs"
            return _join("this machine ran out of memory", hint), ExitCode.MEMORY
        case OSError() if error.strerror:
            return _join(*os_error_words(error, _SEE_WHERE)), ExitCode.FAILED
        case _:
            return _describe_unexpected(error), ExitCode.FAILED


def _describe_unexpected(error: BaseException) -> str:
    said = str(error).strip()
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    hint = "this is a bug in edgespec; run again with --debug for the traceback and report it"
    return _join(f"unexpected {what}", hint)


def _help_hint(error: click.UsageError) -> str:
    return f"try '{error.ctx.command_path} --help'" if error.ctx is not None else ""


def _join(message: str, hint: str) -> str:
    message, hint = one_line(message), one_line(hint)
    if not hint:
        return message
    end = "" if message.endswith((".", "!", "?", ".)", "?)")) else "."
    # A hint that starts with a command to type keeps its case.
    starts_command = hint.startswith(_PROGRAM)
    return f"{message}{end} {hint if starts_command else hint[0].upper() + hint[1:]}"


def _is_closed_pipe(error: BaseException) -> bool:
    if not isinstance(error, OSError):
        return False
    # Windows reports a reader that went away as "invalid argument" without a file name.
    is_windows_pipe = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_windows_pipe


def _finish_stdout() -> None:
    """Puts what was printed before the error ahead of it, even when both streams end in one file."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()


def _silence_stdout() -> None:
    """Points stdout at nothing, so that the interpreter's last flush does not fail as well."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
