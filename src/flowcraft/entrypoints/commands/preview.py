"""Preview: import an application as it would be with some files changed, and tell what became of a channel.

It runs in a process of its own, `python -m flowcraft.entrypoints.commands.preview`, which reads a question
from its standard input and writes an answer to its standard output; nothing of it stays where it is asked.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

import msgspec

from flowcraft.adapters.postgres.triggers import TableSource, table_sources
from flowcraft.channels import Channels, Declaration, Table
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.errors import DeclarationError, RealtimeError
from flowcraft.scaffolding.request import Sample
from flowcraft.scaffolding.samples import sample


class Question(msgspec.Struct):
    """Which channel of which application, and the files that are to be taken for changed."""

    root: str
    module: str
    attribute: str
    channel: str
    event: str
    files: dict[str, str]


class Answer(msgspec.Struct):
    """What the application would be; only `error`, if it would not be one."""

    typescript: str = ""
    samples: tuple[Sample, ...] = ()
    tag: dict[str, str] = {}
    source: TableSource | None = None
    error: str | None = None


class _Overlay(SourceFileLoader):
    """Loads modules from their files, except for those of which it was told another text."""

    files: Mapping[str, str] = {}

    def path_stats(self, path: str) -> Mapping[str, object]:
        if path in self.files:
            raise OSError("no file, so nothing compiled of it either")
        return super().path_stats(path)

    def get_data(self, path: str) -> bytes:
        return self.files[path].encode() if path in self.files else super().get_data(path)


def answer(question: Question) -> Answer:
    """Import the application, and look."""
    _Overlay.files = question.files
    sys.dont_write_bytecode = True
    loaders = [
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_Overlay, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    ]
    sys.path_hooks.insert(0, FileFinder.path_hook(*loaders))
    sys.path_importer_cache.clear()
    sys.path.insert(0, question.root)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            channels = getattr(importlib.import_module(question.module), question.attribute)
        assert isinstance(channels, Channels)
        return _found(channels, question)
    except (DeclarationError, RealtimeError) as error:
        return Answer(error=str(error))
    except Exception as error:  # noqa: BLE001  # whatever the application's modules do
        told = "".join(traceback.format_exception_only(error)).strip()
        return Answer(error=f"{question.module} cannot be imported with this channel: {told}")


def _found(channels: Channels, question: Question) -> Answer:
    declaration = next(d for d in channels if d.name == question.channel)
    member = next(m for m in declaration.payload.members if m.__name__ == question.event)
    tag = declaration.payload.tags.get(member)
    fields = [f for f in declaration.payload.fields(member) if tag is None or f.name != tag.field]
    return Answer(
        typescript=generate_typescript(channels),
        samples=tuple(sample(field.name, field.annotation) for field in fields),
        tag={tag.field: tag.value} if tag else {},
        source=_source(channels, declaration),
    )


def _source(channels: Channels, declaration: Declaration) -> TableSource | None:
    if not any(isinstance(source, Table) for source in declaration.sources):
        return None
    return next(source for source in table_sources(channels) if source.channel == declaration.name)


def main() -> None:
    """Answer one question."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    question.files = {str(Path(path)): text for path, text in question.files.items()}
    sys.stdout.buffer.write(msgspec.json.encode(answer(question)))


if __name__ == "__main__":
    main()
