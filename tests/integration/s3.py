"""An S3 server on localhost (moto's), which can kill the client at a stated request."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

BUCKET = "bucket"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Server:
    """A running server.

    Args:
        url: Its endpoint.
        puts: Keys that were written, in order; of a request that was cut off, none.
    """

    url: str
    puts: list[str] = field(default_factory=list)
    _kill: tuple[Callable[[], int], str, int, bool] | None = None

    def kill_at(self, pid: Callable[[], int], part: str, *, number: int = 1, before: bool) -> None:
        """Kill a process at the n-th PUT of a key with a part in its name, before or after the object is there."""
        self._kill = (pid, part, number, before)

    def heard(self, key: str, *, before: bool) -> bool:
        """Kill if it is time to; say whether this request is to be cut off."""
        if self._kill is None or self._kill[1] not in key or self._kill[3] != before:
            return False
        pid, part, number, _ = self._kill
        if number > 1:
            self._kill = (pid, part, number - 1, before)
            return False
        self._kill = None
        os.kill(pid(), signal.SIGKILL)
        return before


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Run a server with an empty bucket while the block runs."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            return

    application = DomainDispatcherApplication(create_backend_app)
    server = Server(url="")

    def watched(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = environ["PATH_INFO"].removeprefix(f"/{BUCKET}/")
        is_put = environ["REQUEST_METHOD"] == "PUT"
        if is_put and server.heard(key, before=True):
            start("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        found: Iterable[bytes] = application(environ, start)
        if is_put:
            server.puts.append(key)
            server.heard(key, before=False)
        return found

    listening = make_server("127.0.0.1", 0, watched, threaded=True, request_handler=Quiet)
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
