"""A Python index (PEP 503) and an npm registry on this machine, which serve what `make package` built."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.artefacts import Artefacts

PACKAGE = "@flowcraft/realtime"


@contextmanager
def python_index(artefacts: Artefacts, folder: Path) -> Iterator[str]:
    """Serve a folder with one page that lists the wheel; yield the address of the index."""
    files = folder / "simple" / "flowcraft-realtime"
    files.mkdir(parents=True)
    wheel = artefacts.wheel
    (files / wheel.name).symlink_to(wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (files / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    with _serving(partial(_Quiet, directory=str(folder))) as address:
        yield f"{address}/simple/"


@contextmanager
def npm_registry(artefacts: Artefacts, upstream: str) -> Iterator[str]:
    """Serve the client and its metadata, and lead every other request to another registry."""
    tarball = artefacts.tarball.read_bytes()
    with tarfile.open(artefacts.tarball) as archive:
        manifest = archive.extractfile("package/package.json")
        assert manifest is not None
        package: dict[str, Any] = json.load(manifest)

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lower().replace("%2f", "/")
            if path == f"/{PACKAGE}":
                self._answer(json.dumps(self._metadata()).encode(), "application/json")
            elif path == "/realtime.tgz":
                self._answer(tarball, "application/octet-stream")
            else:
                self.send_response(307)
                self.send_header("Location", upstream.rstrip("/") + self.path)
                self.end_headers()

        def _metadata(self) -> dict[str, Any]:
            integrity = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
            dist = {
                "tarball": f"http://{self.headers['Host']}/realtime.tgz",
                "integrity": f"sha512-{integrity}",
            }
            version = package["version"]
            return {
                "name": PACKAGE,
                "dist-tags": {"latest": version},
                "versions": {version: {**package, "dist": dist}},
            }

        def _answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Print nothing."""

    with _serving(Registry) as address:
        yield address


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Print nothing."""


@contextmanager
def _serving(handler: Any) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
