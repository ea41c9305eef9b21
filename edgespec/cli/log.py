"""Where log records go: to stderr, as harmless lines with the flags of the settings they name, as many as -v and -q ask for."""

import logging
import sys

from edgespec.cli.context import Settings
from edgespec.cli.flags import with_flags
from edgespec.text import one_line

_HANDLER_NAME = "edgespec-stderr"
_PACKAGES = ("edgespec", "quant")
_NATIVE = "edgespec.llama.native"


class _StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is now: a progress bar replaces it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


class _HarmlessFormatter(logging.Formatter):
    """One harmless line a record: llama.cpp's log quotes the metadata of models, which may hold anything."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(f"edgespec: {record.levelname.lower()}: {with_flags(super().format(record))}")


def _make_handler() -> _StderrHandler:
    handler = _StderrHandler()
    handler.name = _HANDLER_NAME
    handler.setFormatter(_HarmlessFormatter())
    return handler


def configure_logging(settings: Settings) -> None:
    """Sets the levels of edgespec's loggers; calling it again replaces what was set."""
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        for handler in list(logger.handlers):
            if handler.name == _HANDLER_NAME:
                logger.removeHandler(handler)
        logger.addHandler(_make_handler())
        logger.setLevel(_level(settings))
    logging.getLogger(_NATIVE).setLevel(_native_level(settings))
    _keep_warnings_for_developers(settings)


def _keep_warnings_for_developers(settings: Settings) -> None:
    """What Python and numpy warn of, as numbers that are none, takes several lines and names places in the code."""
    logging.captureWarnings(True)
    logger = logging.getLogger("py.warnings")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    if settings.verbosity > 1 and not any(handler.name == _HANDLER_NAME for handler in logger.handlers):
        logger.addHandler(_make_handler())


def _level(settings: Settings) -> int:
    if settings.quiet:
        return logging.ERROR
    return {0: logging.WARNING, 1: logging.INFO}.get(settings.verbosity, logging.DEBUG)


def _native_level(settings: Settings) -> int:
    # llama.cpp's errors come back as exceptions with a hint; repeating them raw would only add noise.
    if settings.verbosity == 0:
        return logging.CRITICAL
    return _level(settings)
