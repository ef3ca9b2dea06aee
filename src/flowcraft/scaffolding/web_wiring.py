"""Web wiring: the provider around a React application, and the proxy of its development server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from flowcraft.scaffolding.edits import Edit, shown, text_of
from flowcraft.scaffolding.page_client import PageClient
from flowcraft.scaffolding.project_files import files_below

STEP = "3 client"
SERVICE = "http://localhost:8000"
_ROOT = re.compile(r"^([ \t]*)(<(?:App|RouterProvider)\b[^<>]*/>)(,?)[ \t]*$", re.MULTILINE)
_INLINE = re.compile(r"(<(?:App|RouterProvider)\b[^<>]*/>)")
_IMPORT = re.compile(r"^import\b.*?(?:;|['\"])[ \t]*$", re.MULTILINE | re.DOTALL)
_PROXY = re.compile(r"^([ \t]*)proxy:\s*\{", re.MULTILINE)
_SERVER = re.compile(r"^([ \t]*)server:\s*\{", re.MULTILINE)
_CONFIG = re.compile(r"(defineConfig\(\s*\{|defineConfig\(\s*\([^)]*\)\s*=>\s*\(\{|export default \{)(\n?)")
_CONFIGS = ("vite.config.ts", "vite.config.js", "vite.config.mts", "vite.config.mjs")


def plan_wiring(
    web: Path, source: Path, client: PageClient, *, cookies: bool = False
) -> tuple[list[Edit], list[str]]:
    """Plan the client, the provider and the proxy; also return what is left to do by hand.

    `cookies` is whether the application knows its users by a session's cookie.
    """
    path = source / "realtime-client.ts"
    edits = [Edit(STEP, path, text_of(path), text_of(path) or client.text(cookies=cookies))]
    by_hand: list[str] = []
    for planned in (_provider(web, source), None if client.is_elsewhere else _proxy(web)):
        if isinstance(planned, Edit):
            edits.append(planned)
        elif planned is not None:
            by_hand.append(planned)
    return edits, by_hand


def _provider(web: Path, source: Path) -> Edit | str | None:
    """Plan the provider around the root component; or return the line for what it is wrapped in."""
    files = [path for ending in (".tsx", ".jsx") for path in files_below(source, ending)]
    texts = {path: text_of(path) or "" for path in files}
    if any("<RealtimeProvider" in text for text in texts.values()):
        return None
    client = shown(source / "realtime-client", web)
    line = f"wrap the application in <RealtimeProvider client={{realtimeClient}}>, the client of {client}"
    roots = [path for path, text in texts.items() if "createRoot(" in text]
    if len(roots) != 1 or len(_INLINE.findall(texts[roots[0]])) != 1:
        return line
    (path,) = roots
    before = texts[path]
    quote = "'" if before.count("'") > before.count('"') else '"'
    semicolon = ";" if re.search(r"^import .*;[ \t]*$", before, re.MULTILINE) else ""
    after = _ROOT.sub(_wrapped, before) if _ROOT.search(before) else _INLINE.sub(_wrapped_inline, before)
    # As the file's own imports are: "./app" in this folder, "@/…" nowhere, since an alias may not exist.
    module = shown(source / "realtime-client", path.parent)
    module = module if module.startswith(".") else f"./{module}"
    for name, source_of in (("RealtimeProvider", "@flowcraft/realtime/react"), ("realtimeClient", module)):
        after = _with_import(
            after, source_of, f"import {{ {name} }} from {quote}{source_of}{quote}{semicolon}"
        )
    return Edit(STEP, path, before, after)


def _wrapped(match: re.Match[str]) -> str:
    indent, element, comma = match.groups()
    lines = ("<RealtimeProvider client={realtimeClient}>", f"  {element}", f"</RealtimeProvider>{comma}")
    return "\n".join(f"{indent}{line}" for line in lines)


def _wrapped_inline(match: re.Match[str]) -> str:
    return f"<RealtimeProvider client={{realtimeClient}}>{match[1]}</RealtimeProvider>"


def _with_import(text: str, module: str, statement: str) -> str:
    """Put an import where Biome and ESLint sort it: packages before files, each by name."""
    imports = list(_top_imports(text))
    later = [match for match in imports if _place(_module_of(match[0])) > _place(module)]
    if later:
        at = later[0].start()
        return f"{text[:at]}{statement}\n{text[at:]}"
    at = imports[-1].end() if imports else 0
    return f"{text[:at]}\n{statement}{text[at:]}" if imports else f"{statement}\n\n{text}"


def _module_of(statement: str) -> str:
    return re.split(r"['\"]", statement)[1]


def _place(module: str) -> tuple[bool, str]:
    return module.startswith((".", "@/", "~/")), module.lower()


def _top_imports(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while match := _IMPORT.search(text, at):
        if text[at : match.start()].strip(" \t\r\n") and at:
            return
        yield match
        at = match.end()


def _proxy(web: Path) -> Edit | str | None:
    """Plan the proxy in the configuration of Vite; or return the line for another development server."""
    line = f"in the development server, pass /realtime with its WebSockets on to the service ({SERVICE})"
    config = next((web / name for name in _CONFIGS if (web / name).is_file()), None)
    if config is None:
        return line
    before = text_of(config) or ""
    if "/realtime" in before:
        return None
    quote = "'" if before.count("'") > before.count('"') else '"'
    path, target = f"{quote}/realtime{quote}", f"{quote}{SERVICE}{quote}"
    entry = f"{path}: {{ target: {target}, ws: true }}"
    if (match := _PROXY.search(before)) is not None:
        after = _inserted(before, match, entry, match[1])
    elif (match := _SERVER.search(before)) is not None:
        after = _inserted(before, match, f"proxy: {{ {entry} }}", match[1])
    elif "server:" not in before and (match := _CONFIG.search(before)) is not None:
        after = _inserted(before, match, f"server: {{ proxy: {{ {entry} }} }}", "", newline=match[2])
    else:
        return line
    return Edit(STEP, config, before, after)


def _inserted(text: str, match: re.Match[str], member: str, indent: str, newline: str | None = None) -> str:
    """Put a member first into the object that a match opens."""
    head, tail = text[: match.end()], text[match.end() :]
    multiline = bool(newline) or tail.startswith("\n")
    if not multiline:
        return f"{head} {member},{tail}"
    head, tail = head.removesuffix("\n"), tail if newline else tail[1:]
    return f"{head}\n{indent}  {member},\n{tail}"
