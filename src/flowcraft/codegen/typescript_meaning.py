"""TypeScript's meaning: compare generated files as their formatters leave them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)"""
    r"""|(?P<name>[^\W\d][\w$]*|\$[\w$]*)"""
    r"""|(?P<number>\d[\w.]*)"""
    r"""|(?P<sign>=>|\?\.|\.\.\.|[^\s\w])""",
    re.DOTALL,
)
_DIRECTIVES = ("eslint-", "biome-ignore", "prettier-ignore", "@noprettier", "deno-", "oxlint-")
_CLOSERS = "}])>"
_BEFORE_A_UNION = ("=", ":", "(", "<", ",", "=>", "[", "readonly")
_BREAK = re.compile(r"\s*\n\s*\*? ?")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int


def difference(present: str, wanted: str) -> tuple[int, str, str] | None:
    """Return the first place where two files differ in more than formatting; None if they do not.

    The place is the number of a line of the present file, that line, and the line that is wanted there.
    Formatting is white space, quotes, semicolons, trailing commas, parentheses around one parameter, a bar
    before the first member of a union, and comments for linters and formatters.
    """
    for here, there in zip_longest(_meaning(present), _meaning(wanted)):
        if here is None or there is None or here.text != there.text:
            lines = present.splitlines()
            number = here.line if here else max(1, len(lines))
            return number, _line(lines, here), _line(wanted.splitlines(), there)
    return None


def _line(lines: list[str], token: _Token | None) -> str:
    return "the end of the file" if token is None else f"`{lines[token.line - 1].strip()}`"


def _meaning(text: str) -> list[_Token]:
    found = list(_tokens(text))
    kept: list[_Token] = []
    for index, token in enumerate(found):
        following = found[index + 1].text if index + 1 < len(found) else ""
        if token.text == ";" or (token.text == "," and following in ("", *_CLOSERS)):
            continue
        if token.text == "|" and kept and kept[-1].text in _BEFORE_A_UNION:
            continue
        kept.append(_unquoted(token) if following in (":", "?") else token)
    return list(_without_parentheses(kept))


def _tokens(text: str) -> Iterator[_Token]:
    line, last = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", last, match.start())
        last = match.start()
        token = match[0]
        if match.lastgroup == "comment":
            token = _comment(token)
            if not token:
                continue
        elif match.lastgroup == "text" and token[0] != "`":
            token = _canonical(token)
        yield _Token(token, line)


def _comment(token: str) -> str:
    """Return a comment without its frame and line breaks; empty if it is for a linter or formatter."""
    inner = token.strip("/").strip("*").strip()
    return "" if inner.startswith(_DIRECTIVES) else "/* " + _BREAK.sub(" ", inner).strip()


def _canonical(token: str) -> str:
    """Return a string literal as JSON: what its quotes need escaped is not in its meaning."""
    inner = token[1:-1].replace("\\'", "'").replace('\\"', '"')
    return json.dumps(inner.replace("\\\\", "\\"), ensure_ascii=False)


def _unquoted(token: _Token) -> _Token:
    """Return the key of a property without quotes, where it needs none."""
    name = token.text[1:-1]
    return _Token(name, token.line) if token.text[:1] == '"' and name.isidentifier() else token


def _without_parentheses(tokens: list[_Token]) -> Iterator[_Token]:
    """Yield the tokens without the parentheses of `(x) => …`."""
    texts = [token.text for token in tokens]
    skipped: set[int] = set()
    for index, text in enumerate(texts[:-3]):
        if text == "(" and texts[index + 2 : index + 4] == [")", "=>"]:
            skipped |= {index, index + 2}
    yield from (token for index, token in enumerate(tokens) if index not in skipped)
