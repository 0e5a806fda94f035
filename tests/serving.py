"""A real HTTP server in a thread, whose files are served well or badly."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class File:
    """What is served at a path, and how.

    Attributes:
        content: of the whole file.
        ranges: whether Range requests are honoured; a status refuses them by an error.
        status: of an error that is all it answers.
        location: redirects there.
        lie: added to the length that is announced; None announces none.
        total: announced as the size of the whole file in answers to Range requests.
        shift: added to the start of the range that is announced.
        cut: bytes after which each connection is closed.
        pace: bytes sent every 20 ms.
        stall: bytes after which nothing follows until the server stops; 0 sends no header.
    """

    content: bytes = b""
    ranges: bool | int = True
    status: int | None = None
    location: str | None = None
    lie: int | None = 0
    total: int | None = None
    shift: int = 0
    cut: int | None = None
    pace: int | None = None
    stall: int | None = None


class Server:
    """Serves ``files`` by name; ``requests`` lists (name, first byte asked for, or None)."""

    def __init__(self):
        self.files: dict[str, File] = {}
        self.requests: list[tuple[str, int | None]] = []
        self.stalled, self.stopping = threading.Event(), threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def add(self, name: str, content: bytes = b"", **how) -> str:
        """Serve a file; return its URL."""
        self.files[name] = File(content, **how)
        return f"http://{self.host}/{name}"

    def asked(self, name: str) -> list[int | None]:
        """The first byte of each request for a file, None for all of it."""
        return [start for path, start in self.requests if path == name]

    def stop(self):
        self.stopping.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path[1:]
                asked = self.headers.get("Range")
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else None
                server.requests.append((name, start))
                try:
                    self.answer(server.files.get(name, File(status=404)), start)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client left

            def answer(self, file: File, start: int | None):
                if file.stall == 0:
                    server.stalled.set()
                    server.stopping.wait(60)
                elif file.location:
                    self.send_response(302)
                    self.send_header("Location", file.location)
                    self.end_headers()
                elif file.status:
                    self.send_error(file.status)
                elif start is not None and file.ranges is not True and file.ranges:
                    self.send_error(file.ranges)
                elif start is not None and file.ranges and start >= len(file.content):
                    self.send_error(416)
                else:
                    self.send_content(file, start if file.ranges else None)

            def send_content(self, file: File, start: int | None):
                size, body = len(file.content), file.content[start or 0 :]
                self.send_response(200 if start is None else 206)
                if start is not None:
                    total = file.total or size
                    range_ = f"bytes {start + file.shift}-{total - 1}/{total}"
                    self.send_header("Content-Range", range_)
                if file.lie is not None:
                    self.send_header("Content-Length", str(len(body) + file.lie))
                self.end_headers()
                body = body[: file.cut]
                step = file.pace or file.stall or max(len(body), 1)
                for i in range(0, len(body), step):
                    self.wfile.write(body[i : i + step])
                    if file.stall:
                        server.stalled.set()
                        return server.stopping.wait(60)
                    if file.pace and server.stopping.wait(0.02):
                        return None
                return None

            def log_message(self, *args):
                pass

        return Handler
