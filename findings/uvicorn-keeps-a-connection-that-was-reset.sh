#!/usr/bin/env bash
# uvicorn 0.54.0 (protocols/http/h11_impl.py and httptools_impl.py, connection_lost) with h11 0.16.0; Python >= 3.11.
# Guessed: a connection that is lost is forgotten, however it ended; the keep-alive time is for those that are still there.
# Seen: after an answer the keep-alive timer runs, and only an end without an error stops it. A client that has its answer and goes
# with a reset (as one does that hangs up with something unread) leaves the connection's object, its buffers and up to 64 KiB of a
# body that the application did not read, until that timer is over: with the default nobody notices for 5 s, with 75 s a busy server's
# memory grows for more than a minute and looks like a leak. Stopping `timeout_keep_alive_task` in a subclass's connection_lost helps.
# Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 h11==0.16.0
cd "$work"
"$work/env/bin/python" - <<'PY'
import gc
import socket
import struct
import threading
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

COUNT, BODY = 20, bytes(40_000)
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class Forgetful(H11Protocol):
    def connection_lost(self, exc):
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(address, resets):
    with socket.create_connection(address) as client:
        client.sendall(HEAD + BODY)
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.recv(4096)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def left_behind(protocol, resets, keep_alive_s=30):
    """Connections that are still in memory two seconds after their clients have gone."""
    config = uvicorn.Config(app, port=0, http=protocol, log_level="error", lifespan="off", timeout_keep_alive=keep_alive_s)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    for _ in range(COUNT):
        ask(server.servers[0].sockets[0].getsockname(), resets)
    time.sleep(2)
    gc.collect()
    found = sum(isinstance(one, H11Protocol) for one in gc.get_objects())
    server.should_exit = True
    thread.join()
    gc.collect()
    return found


seen = {
    "closed": left_behind(H11Protocol, resets=False),
    "reset": left_behind(H11Protocol, resets=True),
    "reset, timer stopped by a subclass": left_behind(Forgetful, resets=True),
}
for name, count in seen.items():
    print(f"{name}: {count} of {COUNT} connections in memory after 2 s, with a keep-alive time of 30 s")
assert list(seen.values()) == [0, COUNT, 0], "changed"
PY
