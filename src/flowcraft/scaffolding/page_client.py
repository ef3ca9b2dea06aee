"""Page client: the client of a React application, at the address and with the token of its other requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from flowcraft.scaffolding.edits import text_of
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.template_files import template

_ENDINGS = (".ts", ".tsx", ".js", ".jsx", ".mjs")
_TESTS = re.compile(r"\.(?:test|spec|d)\.\w+$")
_ADDRESS = re.compile(
    r"""import\.meta\.env\.(?P<name>VITE_(?:\w+_)?(?:API|BACKEND|SERVER)(?:_\w+)?)\b"""
    r"""(?:\s*(?P<otherwise>\?\?|\|\|)\s*(?P<fallback>"[^"\n]*"|'[^'\n]*'))?"""
)
_STORED = re.compile(
    r"""(?P<store>localStorage|sessionStorage)\s*\.\s*(?:getItem|setItem)\(\s*["'](?P<key>[^"'\n]+)["']"""
)
_TOKEN = re.compile(r"token|jwt", re.IGNORECASE)
_NOT_THE_TOKEN = re.compile(r"refresh|csrf|xsrf|reset|device|push", re.IGNORECASE)
_COMMENT = """\
  // With an authorizer in the service, the token that your login issued:
  // token: () => localStorage.getItem("access_token"),
"""
_COOKIE = """\
  // No token: the browser sends the cookie of your session by itself.
"""

_WIDTH = 80


@dataclass(frozen=True, slots=True)
class PageClient:
    """The address of the service and the token, as the code of a page has them."""

    address: str | None = None
    """The expression with the address of the service; None if it is the page's own."""
    token: str | None = None
    """The expression with the token; None if none is clear."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether the service has an address of its own, also while the page is developed."""
        return self.address is not None and "//" in self.address

    def text(self, *, cookies: bool = False) -> str:
        """Return the module that creates the client; with `cookies`, a login gives a session's cookie."""
        service = url = token = ""
        if self.address is not None:
            service = _service(self.address)
            url = '  url: new URL("/realtime", service),\n'
        if self.token is not None:
            token = (
                "  // What your login stored; with an authorizer in the service, it is checked there.\n"
                f"  token: () => {self.token},\n"
            )
        return template(
            "added/realtime-client.ts",
            service=service,
            url=url,
            token=token or (_COOKIE if cookies else _COMMENT),
        )


def page_client(source: Path) -> PageClient:
    """Return what the code of a page has: its only address of a service, its only stored token."""
    addresses: dict[str, str] = {}
    tokens: set[str] = set()
    for path in _sources(source):
        text = text_of(path) or ""
        for found in _ADDRESS.finditer(text):
            name = f"import.meta.env.{found['name']}"
            if name not in addresses or found["fallback"]:
                addresses[name] = f"{name} {found['otherwise'] or '??'} {_quoted(found['fallback'])}"
        tokens |= {
            f'{found["store"]}.getItem("{found["key"]}")'
            for found in _STORED.finditer(text)
            if _TOKEN.search(found["key"]) and not _NOT_THE_TOKEN.search(found["key"])
        }
    return PageClient(
        next(iter(addresses.values())) if len(addresses) == 1 else None,
        tokens.pop() if len(tokens) == 1 else None,
    )


def _sources(source: Path) -> list[Path]:
    found = [path for ending in _ENDINGS for path in files_below(source, ending)]
    return [path for path in found if not _TESTS.search(path.name)]


def _service(address: str) -> str:
    line = f"const service = new URL({address}, location.href);"
    if len(line) > _WIDTH:
        line = f"const service = new URL(\n  {address},\n  location.href,\n);"
    return f"/** The address of the other requests, or else that of the page. */\n{line}\n\n"


def _quoted(literal: str | None) -> str:
    return '""' if literal is None else f'"{literal[1:-1]}"'
