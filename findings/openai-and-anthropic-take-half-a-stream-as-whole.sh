#!/usr/bin/env bash
# openai 3.57.0 and anthropic 2.14.0, against a server on loopback; Python >= 3.11.
# Guessed: an answer that stops before its end (no finish_reason and no [DONE] for openai, no message_stop for anthropic) is an
# error of the client's, however the connection ends.
# Seen: only a connection that breaks is one, and then openai raises its APIConnectionError where anthropic lets httpx2's
# RemoteProtocolError through, which is no anthropic.APIError (its issue 1919). If the HTTP body ends properly, as it does
# behind a proxy or from a server whose engine died, both hand over half an answer as a whole one: get_final_message and
# get_final_completion return, the only trace is that stop_reason and finish_reason are None. A client has to look at them, and
# a server has to say an error in the stream. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 anthropic==2.14.0 httpx2==2.16.2
cd "$work"
"$work/env/bin/python" - <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import httpx2
import openai


def chunk(**delta):
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "m",
    "stop_reason": None,
}
MESSAGE |= {"stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
EVENTS = {
    "/v1/chat/completions": [chunk(role="assistant", content="Half an"), chunk(content=" ans")],
    "/v1/messages": [
        {"type": "message_start", "message": MESSAGE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half an ans"}},
    ],
}


class HalfAnAnswer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in EVENTS[self.path]:
            name = f"event: {event['type']}\n" if "type" in event else ""
            data = f"{name}data: {json.dumps(event)}\n\n"
            self.wfile.write(f"{len(data):x}\r\n{data}\r\n".encode())
        if request["model"] == "ends":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


def asked(stream, final):
    """What the client makes of it: the final answer or the class of the error."""
    try:
        with stream as answer:
            return getattr(answer, final)()
    except (openai.OpenAIError, anthropic.AnthropicError, httpx2.HTTPError) as error:
        return type(error)


server = ThreadingHTTPServer(("127.0.0.1", 0), HalfAnAnswer)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
of_openai, of_anthropic = (
    openai.OpenAI(base_url=f"{address}/v1", api_key="k"),
    anthropic.Anthropic(base_url=address, api_key="k"),
)
said = [{"role": "user", "content": "?"}]
seen = {
    model: (
        asked(of_openai.chat.completions.stream(model=model, messages=said), "get_final_completion"),
        asked(of_anthropic.messages.stream(model=model, messages=said, max_tokens=9), "get_final_message"),
    )
    for model in ("ends", "breaks")
}
server.shutdown()
completion, message = seen["ends"]
print(
    "the body ends, openai:", repr(completion.choices[0].message.content), completion.choices[0].finish_reason
)
print("the body ends, anthropic:", repr(message.content[0].text), message.stop_reason)
print("the connection breaks:", [error.__name__ for error in seen["breaks"]])
assert completion.choices[0].message.content == message.content[0].text == "Half an ans", "changed"
assert completion.choices[0].finish_reason is None and message.stop_reason is None, "changed"
assert seen["breaks"] == (openai.APIConnectionError, httpx2.RemoteProtocolError), "changed"
assert not issubclass(httpx2.RemoteProtocolError, anthropic.APIError), "changed"
PY
