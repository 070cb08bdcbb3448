"""A webhook's other end: real HTTP, and as slow, broken or spiteful as a test wants it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DOCUMENTED = Path(__file__).parents[1] / "docs" / "alerts.md"


@dataclass(frozen=True)
class Request:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Receiver:
    """It answers with `statuses` in turn, and with the last one from then on."""

    url: str
    requests: list[Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=lambda: [200])
    #: It answers only while this is set.
    answers: threading.Event = field(default_factory=threading.Event)
    #: It announces a long answer that never comes.
    endless: bool = False
    #: It sends headers without end, one now and then.
    trickles: bool = False
    #: Called before an answer.
    meanwhile: Callable[[], object] = lambda: None


@contextlib.contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Request(self.path, headers, body))
            made.meanwhile()
            made.answers.wait(30)
            self.send_response(made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0])
            self.send_header("content-length", "1000000" if made.endless else "0")
            self.send_header("location", "/elsewhere")
            with contextlib.suppress(OSError):
                while made.trickles and not over.wait(0.05):
                    self.send_header("x-patience", "1")
                    self.flush_headers()
                self.end_headers()
            if made.endless:
                over.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    made.answers.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        over.set()
        made.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()


def documented_check() -> Callable[[str, dict[str, str], bytes], bool]:
    """How the documentation tells receivers to verify a signature."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTED.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    check: Callable[[str, dict[str, str], bytes], bool] = names["is_genuine"]
    return check
