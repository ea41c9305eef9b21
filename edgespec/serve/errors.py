"""What a request is refused with, in the form that its protocol has for it."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgespec.session.shared.asked import Refused

_NAMED: Final = re.compile(r"`([a-z][\w.]*)`")
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    501: "not_supported_error",
    503: "overloaded_error",
}
"""By status, as both protocols call them; all others are errors of the server."""
_ANTHROPIC: Final = {"server_error": "api_error", "not_supported_error": "invalid_request_error"}
CONTEXT: Final = "context_length_exceeded"


class ApiError(Exception):
    """A request that is not answered, or not to its end.

    Args:
        status: Of HTTP.
        message: One sentence or two.
        param: The field that is wrong.
        code: A word for programs.
        more: Beside what every error has.
        retry_after_s: When it may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        more: Mapping[str, object] = MappingProxyType({}),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.more, self.retry_after_s = more, retry_after_s

    @property
    def type(self) -> str:
        """OpenAI's word for it."""
        return _TYPES.get(self.status, "server_error")


def openai_error(error: ApiError) -> dict[str, object]:
    """The body in OpenAI's form."""
    inside = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return {"error": {**inside, **error.more}}


def response_error(error: ApiError) -> dict[str, object]:
    """The body of OpenAI's responses, which is the event of a stream, too."""
    event = {
        "type": "error",
        "sequence_number": 0,
        "code": error.code,
        "message": error.message,
        "param": error.param,
    }
    return {**event, **openai_error(error)}


def anthropic_error(error: ApiError) -> dict[str, object]:
    """The body in Anthropic's form."""
    kind = _ANTHROPIC.get(error.type, error.type)
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def invalid(param: str, problem: str) -> ApiError:
    """A field with a value that it cannot have.

    Args:
        param: Its name.
        problem: The rest of a sentence that begins with it.
    """
    return ApiError(400, f"`{param}` {problem}", param, "invalid_value")


def sentence_of(message: str, hint: str) -> str:
    """Both as one text."""
    if not hint:
        return message
    return f"{message.rstrip('.')}. {hint[0].upper()}{hint[1:]}"


def error_of(refused: Refused) -> ApiError:
    """What the engine refused, as its caller is told."""
    said = sentence_of(refused.message, refused.hint)
    match refused.kind:
        case "context":
            numbers = {"n_prompt_tokens": refused.prompt_n, "n_ctx": refused.n_ctx}
            return ApiError(400, said, "messages", CONTEXT, numbers)
        case "request":
            named = _NAMED.search(refused.message)
            return ApiError(400, said, named[1] if named else None, "invalid_value")
        case "model":
            return ApiError(400, said, "messages", "chat_template_failed")
        case "memory":
            return ApiError(503, said, None, "out_of_memory", retry_after_s=5)
        case "engine":
            return ApiError(500, said, None, "engine_failed")
        case "silent":
            return ApiError(503, said, None, "engine_silent", retry_after_s=1)
