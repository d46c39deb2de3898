"""A TCP proxy that can freeze: connections stay open, and nothing is forwarded."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

BLOCK = 64 * 1024
ACCEPT_SECONDS = 0.2


class FreezingProxy:
    """Forwards connections to `port` on loopback while `thawed` is set; `own_port` is where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(ACCEPT_SECONDS)
        self.own_port: int = self.listener.getsockname()[1]
        self.thawed = Event()
        self.thawed.set()
        self.open: list[socket.socket] = []
        self.is_stopped = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are still accepted meanwhile, by the kernel."""
        self.thawed.clear()
        try:
            yield
        finally:
            self.thawed.set()

    def serve(self) -> None:
        """Accept connections until stop()."""
        while not self.is_stopped:
            self.thawed.wait()
            with suppress(TimeoutError):
                client, _address = self.listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        client.settimeout(None)
        server = socket.create_connection(("127.0.0.1", self.port))
        self.open += [client, server]
        for source, target in ((client, server), (server, client)):
            Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(BLOCK):
                self.thawed.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        self.is_stopped = True
        self.thawed.set()
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def freezing_proxy(port: int) -> Iterator[FreezingProxy]:
    """A proxy in front of a server on loopback."""
    proxy = FreezingProxy(port)
    thread = Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
        proxy.listener.close()
