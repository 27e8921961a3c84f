"""An HTTP server on loopback that answers as a function says."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]]
"""Status, body and more headers; status 0 closes the connection without a word."""


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], Reply], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that answers each request by a function of it, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet: no delayed acknowledgement between them

        def do_GET(self) -> None:
            code, body, *more = answer(self)
            if code == 0:
                self.close_connection = True
                return
            with contextlib.suppress(OSError):  # the client has given up
                self.send_response_only(code)
                for name, value in [*(more[0] if more else {}).items(), ("Content-Length", str(len(body)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names that the server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'' if tls is None else 's'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
