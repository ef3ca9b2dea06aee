"""Blocks: the snippets of a page, with what the comment above each says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Literal, TypeAlias, get_args

Word: TypeAlias = Literal["skip", "before", "fails", "until", "file"]
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<info>.*)$")
_COMMENT = re.compile(r"^ *<!-- snippet: (?P<word>\w+)(?P<rest>.*?)-->\s*$", re.DOTALL)
_ELSEWHERE = re.compile(r"^<!-- snippets: followed by (\S+) -->$", re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_LIST = re.compile(r"^\s*([-*+]|\d+[.)]) ")


class Unreadable(Exception):
    """A page that breaks a rule; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Block:
    """One snippet. `before` is code that readers do not see, `words` what its comments say about it."""

    line: int
    kind: str
    text: str
    title: str = ""
    before: str = ""
    skip: str | None = None
    fails: str | None = None
    until: str | None = None


def followed_by(page: str) -> str | None:
    """Return the test that follows a page by itself, if one does."""
    found = _ELSEWHERE.search(page)
    return found[1] if found else None


def blocks(page: str) -> Iterator[Block]:
    """Yield the snippets of a page, hidden ones too, in their order.

    Raises:
        Unreadable: a fence that is not closed, a comment that says nothing known, code by indentation.
    """
    lines = page.splitlines()
    said: list[tuple[Word, str]] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.lstrip().startswith("<!-- snippet: "):
            end = _end(lines, number, re.compile(r".*-->\s*$"), "comment")
            read = _comment("\n".join(lines[number : end + 1]), number + 1)
            if isinstance(read, Block):
                yield read
            else:
                said.append(read)
            number = end
        elif fence := _FENCE.match(line):
            closing = rf" *{re.escape(fence['fence'][0])}{{{len(fence['fence'])},}} *$"
            end = _end(lines, number + 1, re.compile(closing), "fence")
            text = dedent("\n".join(lines[number + 1 : end]) + "\n")
            yield _said(_block(number + 1, fence["info"], text), said)
            said = []
            number = end
        else:
            _refuse(lines, number, said)
        number += 1


def of_file(path: Path) -> list[Block]:
    """Return the snippets of a page, or none if another test follows it."""
    page = path.read_text("utf-8")
    return [] if followed_by(page) else list(blocks(page))


def _block(line: int, info: str, text: str) -> Block:
    kind, _, attributes = info.strip().partition(" ")
    if not kind:
        raise Unreadable(f"line {line}: a block without a kind; write ```text for what nobody runs")
    title = _TITLE.search(attributes)
    return Block(line, kind.lower(), text, title[1] if title else "")


def _comment(text: str, line: int) -> Block | tuple[Word, str]:
    found = _COMMENT.match(text)
    if found is None:
        raise Unreadable(f"line {line}: a comment that cannot be read: {text[:60]}")
    word, rest = found["word"], found["rest"]
    for known in get_args(Word):
        if word == known:
            return known, dedent(rest.removeprefix("\n")) if word == "before" else rest.strip()
    info, newline, code = rest.partition("\n")
    if not newline:
        raise Unreadable(
            f"line {line}: `snippet: {word}` is neither one of {', '.join(get_args(Word))} nor code"
        )
    return _block(line, word + info, dedent(code))


def _said(block: Block, said: list[tuple[Word, str]]) -> Block:
    for word, rest in said:
        match word:
            case "skip":
                block = replace(block, skip=rest)
            case "before":
                block = replace(block, before=rest)
            case "fails":
                block = replace(block, fails=rest)
            case "until":
                block = replace(block, until=rest)
            case "file":
                block = replace(block, title=rest)
    return block


def _end(lines: list[str], number: int, last: re.Pattern[str], what: str) -> int:
    for later in range(number, len(lines)):
        if last.match(lines[later]):
            return later
    raise Unreadable(f"line {number}: a {what} that is not closed")


def _refuse(lines: list[str], number: int, said: list[tuple[Word, str]]) -> None:
    """Text is no code by indentation, and does not stand between a comment and its block."""
    line = lines[number]
    if line.strip() and said:
        raise Unreadable(f"line {number + 1}: a comment `snippet: {said[-1][0]}` without a block below it")
    if (
        line.startswith("    ")
        and not (number and lines[number - 1].strip())
        and not _in_a_list(lines[:number])
    ):
        raise Unreadable(
            f"line {number + 1}: code by indentation; put it between ``` and say of which kind it is"
        )


def _in_a_list(before: list[str]) -> bool:
    outer = next((line for line in reversed(before) if line.strip() and not line.startswith(" ")), "")
    return _LIST.match(outer) is not None
