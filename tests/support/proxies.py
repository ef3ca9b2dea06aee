"""nginx, HAProxy and Caddy as child processes on loopback, with configurations from the guide."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.hosts import free_port

GUIDE = Path(__file__).parents[2] / "docs/guides/proxies.md"
TITLES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}
NAME = "localhost"


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and whose certificates to trust."""

    plain: str
    secure: str
    trusted: ssl.SSLContext
    certificate: Path


def configuration(program: str) -> str:
    """The guide's own block for a program."""
    found = re.search(
        rf'```text title="{re.escape(TITLES[program])}"\n(.*?)```', GUIDE.read_text(), re.DOTALL
    )
    assert found is not None, program
    return found[1]


def certify(folder: Path) -> tuple[Path, Path]:
    """Files with a certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "app.pem", folder / "app.key"
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "both.pem").write_bytes(pem.read_bytes() + secret.read_bytes())
    return pem, secret


@asynccontextmanager
async def proxied(
    program: str, server: str, folder: Path, changes: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server `host:port`; `changes` replace parts of the guide's configuration."""
    text = configuration(program)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    pem, _ = certify(folder)
    plain, secure = free_port(), free_port()
    text = text.replace("127.0.0.1:8400", server).replace("/etc/ssl", str(folder))
    command = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}[program](text, plain, secure, folder)
    executable = shutil.which(command[0], path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert executable is not None
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            executable,
            *command[1:],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={"HOME": str(folder), "PATH": "/usr/bin"},
        )
    try:
        for port in (plain, secure):
            await _until_open(port, process, folder / "log")
        context = ssl.create_default_context(cafile=str(pem))
        yield Proxy(f"{NAME}:{plain}", f"{NAME}:{secure}", context, pem)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def _nginx(text: str, plain: int, secure: int, folder: Path) -> list[str]:
    text = text.replace("listen 80;", f"listen 127.0.0.1:{plain};").replace(
        "listen 443", f"listen 127.0.0.1:{secure}"
    )
    text = text.replace("app.example.com", NAME)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = (
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\n{places}{text}\n}}\n"
    )
    (folder / "nginx.conf").write_text(whole)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _haproxy(text: str, plain: int, secure: int, folder: Path) -> list[str]:
    text = text.replace("bind :80", f"bind 127.0.0.1:{plain}").replace(
        "bind :443", f"bind 127.0.0.1:{secure}"
    )
    text = text.replace("/etc/haproxy/app.pem", str(folder / "both.pem"))
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def _caddy(text: str, plain: int, secure: int, folder: Path) -> list[str]:
    text = text.replace("http://app.example.com", f"http://{NAME}:{plain}")
    text = text.replace("https://app.example.com", f"https://{NAME}:{secure}")
    (folder / "Caddyfile").write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


async def _until_open(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, log.read_text()  # noqa: ASYNC240
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def missing(program: str) -> bool:
    """Whether a program is not installed, and cannot be."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin")
    return found is None


def install(programs: Sequence[str]) -> None:
    """Install Debian's packages; the run is root. A package's service is not started."""
    environment = {
        "DEBIAN_FRONTEND": "noninteractive",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "RUNLEVEL": "1",
    }
    subprocess.run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *programs],
        check=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=240,
    )  # fmt: skip
