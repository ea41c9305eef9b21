"""What callers do to a server: questions whose answers are known, and everything that a server should shrug off."""

import itertools
import json
import random
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final

WAIT_S: Final = 120.0
"""For an answer, however busy the machine is."""
_PATIENCE_S: Final = 0.5
"""For an answer to what is no request; a server may wait for more of it."""
_CHAT: Final = "/v1/chat/completions"
_TEXT: Final = "/v1/completions"
_MESSAGES: Final = "/v1/messages"
_RESPONSES: Final = "/v1/responses"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt in one of the forms of asking, whose answer is always the same."""

    path: str
    prompt: str
    max_tokens: int
    streams: bool
    n: int = 1

    def body(self) -> Json:
        """The request."""
        said = [{"role": "user", "content": self.prompt}]
        fields: Json = {"temperature": 0, "stream": self.streams}
        if self.path == _RESPONSES:
            return fields | {"input": self.prompt, "max_output_tokens": self.max_tokens}
        asked = {"prompt": self.prompt} if self.path == _TEXT else {"messages": said}
        several = {"n": self.n} if self.n > 1 else {}
        return fields | asked | several | {"max_tokens": self.max_tokens}


def prompts(seed: int = 0) -> Iterator[str]:
    """As many as are wanted; some of them begin alike, as the turns of a conversation do."""
    chance = random.Random(seed)
    words = [
        "the",
        "heron",
        "stood",
        "in",
        "the",
        "reeds",
        "and",
        "the",
        "wind",
        "went",
        "over",
        "the",
        "water",
        "until",
        "it",
        "was",
        "evening",
    ]
    begins = [" ".join(chance.choices(words, k=24)) for _ in range(4)]
    for number in itertools.count():
        yield f"{begins[number % len(begins)]} {number} {' '.join(chance.choices(words, k=6))}"


def questions(prompts: Iterable[str], max_tokens: int) -> list[Question]:
    """Every prompt in every form."""
    return [
        Question(path, prompt, max_tokens, streams, n)
        for prompt in prompts
        for path, n in ((_CHAT, 1), (_CHAT, 2), (_TEXT, 1), (_MESSAGES, 1), (_RESPONSES, 1))
        for streams in (False, True)
        if not (streams and n > 1)
    ]


class Caller:
    """One connection to a server, kept from one question to the next, as clients do."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._host, self._port, self._headers = host, port, dict(headers or {})
        self._connection = HTTPConnection(host, port, timeout=WAIT_S)

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def ask(self, question: Question) -> list[str]:
        """The texts of the answer, one for each choice.

        Raises:
            OSError: the connection is lost.
            HTTPException: what comes is no HTTP.
            ValueError: the answer is no such answer; the message has it.
        """
        answer = self._send(question.path, json.dumps(question.body()).encode())
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {answer.read()[:300]!r}")
        if question.streams:
            return ["".join(map(_piece_of, _events(answer)))]
        return _texts_of(json.loads(answer.read()))

    def margin(self, prompt: str, max_tokens: int) -> float:
        """By how many nats the likeliest token leads, where it leads least, in the answers to a chat and to a text.

        Who is asked beside others computes in batches of another size, and rounding decides where nothing else does.
        """
        said = {"messages": [{"role": "user", "content": prompt}], "logprobs": True, "top_logprobs": 2}
        shared = {"max_tokens": max_tokens, "temperature": 0}
        chat = json.loads(self._send(_CHAT, json.dumps(said | shared).encode()).read())
        asked = {"prompt": prompt, "n_probs": 2} | shared
        text = json.loads(self._send("/completion", json.dumps(asked).encode()).read())
        tokens = chat["choices"][0]["logprobs"]["content"] + text["completion_probabilities"]
        pairs = [[one["logprob"] for one in token["top_logprobs"][:2]] for token in tokens]
        return float(min(first - second for first, second in pairs))

    def offend(self, kind: str, chance: random.Random) -> str:
        """Does something that no client should; what is wrong with how the server took it, or nothing."""
        self.close()  # whatever comes of it, the next question has a connection of its own
        return OFFENCES[kind](self, chance)

    def expect(
        self, statuses: Sequence[int], path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> str:
        """What is wrong with a refusal: another status, or no error in OpenAI's form."""
        with suppress(ConnectionError):  # one that will not read on may hang up before it was heard
            answer = self._send(path, body, headers)
            said = answer.read()
            self.close()
            if answer.status not in statuses:
                return f"{answer.status} in place of {' or '.join(map(str, statuses))}: {said[:200]!r}"
            if not isinstance(json.loads(said)["error"]["message"], str):
                return f"an error of another form: {said[:200]!r}"
        return ""

    def hang_up(self, body: Json, n_bytes: int) -> str:
        """Asks, reads so many bytes of the answer, and is gone."""
        with suppress(ConnectionError):
            answer = self._send(_CHAT, json.dumps(body).encode())
            answer.read(n_bytes)
        self.close()
        return ""

    def throw(self, data: bytes, *, reads: bool = False) -> str:
        """Sends bytes that are no request, or half of one."""
        with suppress(OSError), closing(socket.create_connection((self._host, self._port), WAIT_S)) as one:
            one.sendall(data)
            if reads:
                one.settimeout(_PATIENCE_S)
                one.recv(1 << 16)
        return ""

    def _send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> HTTPResponse:
        kind = {"Content-Type": "application/json"}
        self._connection.request("POST", path, body, {**kind, **self._headers, **(headers or {})})
        return self._connection.getresponse()


def _events(answer: HTTPResponse) -> Iterator[Json]:
    has_ended = False
    for line in answer:
        data = line.removeprefix(b"data: ").strip()
        if line.startswith(b"data: ") and data != b"[DONE]":
            event = json.loads(data)
            if event.get("error"):
                raise ValueError(f"in the middle: {data[:300]!r}")
            has_ended = event.get("type") in _LAST
            yield event
        has_ended = has_ended or data == b"[DONE]"
    if not has_ended:  # http.client takes a lost connection for the end of the lines
        raise ValueError("the stream broke off")


def _piece_of(event: Json) -> str:
    """The text in an event of any of the protocols."""
    choices = event.get("choices")
    if choices:
        return choices[0].get("text") or choices[0].get("delta", {}).get("content") or ""
    if event.get("type") == "response.output_text.delta":
        return str(event["delta"])
    if event.get("type") == "content_block_delta":
        return str(event["delta"].get("text", ""))
    return ""


def _texts_of(whole: Json) -> list[str]:
    if "choices" in whole:
        choices = sorted(whole["choices"], key=lambda choice: choice["index"])
        return [one["message"]["content"] if "message" in one else one["text"] for one in choices]
    parts = whole.get("output", [whole])
    return ["".join(piece["text"] for part in parts for piece in part["content"])]


def _chat(**fields: object) -> bytes:
    return json.dumps(
        {"messages": [{"role": "user", "content": "the heron"}], "max_tokens": 8, **fields}
    ).encode()


def _endless(chance: random.Random, *, streams: bool) -> Json:
    said = f"the wind {chance.random()}"
    asked = {"messages": [{"role": "user", "content": said}], "max_tokens": 400, "stream": streams}
    return asked | {"ignore_eos": True}


def _nested(depth: int) -> bytes:
    return b'{"messages": ' + b"[" * depth + b"]" * depth + b"}"


_LAST: Final = ("message_stop", "response.completed", "response.incomplete")
"""Events that end a stream, where no line of `[DONE]` does."""
_WRONG: Final[Sequence[Json]] = (
    {"temperature": "hot"},
    {"n": 0},
    {"stop": 5},
    {"max_tokens": -7},
    {"seed": 0.5},
)
_HEAD: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
OFFENCES: Final[Mapping[str, Callable[[Caller, random.Random], str]]] = {
    "hung up in a stream": lambda it, r: it.hang_up(_endless(r, streams=True), r.randrange(1, 400)),
    "hung up while it waited": lambda it, r: it.throw(
        _HEAD
        + b"Content-Length: %d\r\n\r\n%s" % (len(b := json.dumps(_endless(r, streams=False)).encode()), b)
    ),
    "no JSON": lambda it, _: it.expect([400], _CHAT, b'{"messages": [}'),
    "no text": lambda it, r: it.expect([400], _CHAT, r.randbytes(200)),
    "nested too deeply": lambda it, r: it.expect([400], _CHAT, _nested(r.choice([50, 5_000, 100_000]))),
    "fields of other kinds": lambda it, r: it.expect([400], _CHAT, _chat(**r.choice(_WRONG))),
    "no messages": lambda it, _: it.expect([400], _CHAT, b"{}"),
    "a prompt that does not fit": lambda it, _: it.expect(
        [400], _TEXT, json.dumps({"prompt": "a b " * 20_000}).encode()
    ),
    "an unknown model": lambda it, _: it.expect([404], _CHAT, _chat(model="no-such-model")),
    "an unknown path": lambda it, _: it.expect([404], "/v1/no/such/path", _chat()),
    "another site's page": lambda it, _: it.expect(
        [403], _CHAT, _chat(), {"Origin": "http://elsewhere.example"}
    ),
    "a body that is too large": lambda it, _: it.throw(
        _HEAD + b"Content-Length: 1000000000\r\n\r\n" + b" " * 65536, reads=True
    ),
    "half a head": lambda it, r: it.throw(_HEAD[: r.randrange(1, len(_HEAD))]),
    "half a body": lambda it, _: it.throw(_HEAD + b'Content-Length: 500\r\n\r\n{"messages": ['),
    "noise": lambda it, r: it.throw(r.randbytes(r.randrange(1, 2000)), reads=True),
}
"""What callers do wrong, by its name; what of the server's answer is wrong."""

TROUBLES: Final = (OSError, HTTPException, ValueError, KeyError, TypeError, IndexError)
"""What a caller meets when an answer is not what it should be."""
