"""`edgespec rpc-serve`: this machine's devices for edgespec, or any llama.cpp, on another one."""

import threading
from typing import Final

import click

from edgespec.llama.rpc import DEFAULT_PORT, LOOPBACK, Endpoint, check_rpc
from edgespec.llama.rpc_server import check_free, offered_devices, serve
from edgespec.text import human_bytes, plain_text

_WAIT_S: Final = 0.5


@click.command("rpc-serve")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Its port."
)
@click.option("-t", "--threads", type=click.IntRange(1), help="Threads [default: the physical cores].")
def command(host: str, port: int, threads: int | None) -> None:
    """Lend this machine's devices to others: `--rpc HOST:PORT` there puts layers of a model here.

    Ctrl-C ends it. RPC has no password and no encryption: listen only where you trust everybody.
    """
    from edgespec.llama.library import default_threads

    endpoint = Endpoint(host, port)
    check_rpc()
    check_free(endpoint)
    devices = offered_devices()
    names = ", ".join(f"{d.name} ({d.description}, {human_bytes(d.memory_free_bytes)} free)" for d in devices)
    click.echo(plain_text(f"edgespec: listening on {endpoint}, offering {names}; Ctrl-C ends it"), err=True)
    if not endpoint.is_loopback:
        click.echo(
            "edgespec: warning: RPC has no password and no encryption; whoever reaches this address can use this"
            " machine, read what passes and end the server",
            err=True,
        )
    # The native call never returns: in a thread of its own it leaves Ctrl-C to this one.
    server = threading.Thread(
        target=serve, args=(endpoint, devices, threads or default_threads()), daemon=True
    )
    server.start()
    while server.is_alive():
        server.join(_WAIT_S)
