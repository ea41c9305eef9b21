#!/usr/bin/env bash
# starlette 1.10.0 (StreamingResponse, concurrency.iterate_in_threadpool) on uvicorn 0.54.0 with h11 0.16.0; Python >= 3.11.
# Guessed: when a client leaves in the middle of a stream, the generator that makes it is closed: its `finally` gives back what
# it holds, whether the generator is async or not.
# Seen: an async generator's runs at once. A plain generator, which Starlette runs in threads, is left where it stands and never
# closed: the lock that it holds stays taken until Python's collector of cycles happens to come by, which in an idle server may
# be never. Wrapped in an async generator that closes it in a `finally` of its own, it is closed at once. Fails when this
# changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check starlette==1.10.0 uvicorn==0.54.0 h11==0.16.0
cd "$work"
"$work/env/bin/python" - <<'PY'
import gc
import socket
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.routing import Route

locks = {name: threading.Lock() for name in ("asynchronous", "plain", "wrapped")}


async def asynchronous():
    with locks["asynchronous"]:
        async for piece in iterate_in_threadpool(iter(slowly())):
            yield piece


def plain(lock=locks["plain"]):
    with lock:
        yield from slowly()


async def wrapped():
    pieces = plain(locks["wrapped"])
    try:
        async for piece in iterate_in_threadpool(pieces):
            yield piece
    finally:
        pieces.close()


def slowly():
    for _ in range(40):
        yield b"piece\n"
        time.sleep(0.05)


def is_free_in_time(name, seconds):
    return locks[name].acquire(timeout=seconds)


def leave_early(name):
    with socket.create_connection(server.servers[0].sockets[0].getsockname()) as client:
        client.sendall(f"GET /{name} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        while b"piece" not in client.recv(4096):
            pass
        assert locks[name].locked()


makers = {"asynchronous": asynchronous, "plain": plain, "wrapped": wrapped}
routes = [Route(f"/{name}", lambda _, make=make: StreamingResponse(make())) for name, make in makers.items()]
server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, http="h11", log_level="error"))
thread = threading.Thread(target=server.run, daemon=True)
thread.start()
while not server.started:
    time.sleep(0.05)
gc.disable()
freed = {}
for name in makers:
    leave_early(name)
    freed[name] = is_free_in_time(name, 10 if name != "plain" else 3)
    print(f"{name} generator: free after the client left: {freed[name]}")
gc.collect()
freed["collected"] = is_free_in_time("plain", 10)
print("plain generator: free after a collection of cycles:", freed["collected"])
server.should_exit = True
thread.join()
assert freed == {"asynchronous": True, "plain": False, "wrapped": True, "collected": True}, "changed"
PY
