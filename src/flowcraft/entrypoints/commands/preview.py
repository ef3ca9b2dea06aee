"""Preview: import an application with planned edits applied, and describe one of its channels.

The import runs in another process, `python -m flowcraft.entrypoints.commands.preview`, which reads a request
from standard input and writes a result to standard output, so that no planned module stays in our process.
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
from flowcraft.channels import Channels
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.declarations import Declaration, Table
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.errors import DeclarationError, RealtimeError
from flowcraft.scaffolding.request import Sample
from flowcraft.scaffolding.samples import sample


class PreviewRequest(msgspec.Struct):
    """The application, the channel, and the texts of the files with planned edits, by path."""

    root: str
    module: str
    attribute: str
    channel: str
    event: str
    files: dict[str, str]


class PreviewResult(msgspec.Struct):
    """The channel in the application with the planned edits; only `error` if the import fails."""

    typescript: str = ""
    samples: tuple[Sample, ...] = ()
    tag: dict[str, str] = {}
    source: TableSource | None = None
    viewers: str = ""
    """Who may subscribe: the guard's name, or that there is none."""
    error: str | None = None


class _Overlay(SourceFileLoader):
    """Loads modules from their files, or from `files` for the paths that it has."""

    files: Mapping[str, str] = {}

    def path_stats(self, path: str) -> Mapping[str, object]:
        if path in self.files:
            raise OSError("a planned text has no compiled file")
        return super().path_stats(path)

    def get_data(self, path: str) -> bytes:
        return self.files[path].encode() if path in self.files else super().get_data(path)


def preview(request: PreviewRequest) -> PreviewResult:
    """Import the application, and describe the channel."""
    _Overlay.files = request.files
    sys.dont_write_bytecode = True
    loaders = [
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_Overlay, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    ]
    sys.path_hooks.insert(0, FileFinder.path_hook(*loaders))
    sys.path_importer_cache.clear()
    sys.path.insert(0, request.root)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            channels = getattr(importlib.import_module(request.module), request.attribute)
        assert isinstance(channels, Channels)
        return _found(channels, request)
    except (DeclarationError, RealtimeError) as error:
        return PreviewResult(error=str(error))
    except Exception as error:  # noqa: BLE001  # whatever the application's modules do
        reason = "".join(traceback.format_exception_only(error)).strip()
        return PreviewResult(error=f"{request.module} cannot be imported with this channel: {reason}")


def _found(channels: Channels, request: PreviewRequest) -> PreviewResult:
    declaration = next(d for d in channels if d.name == request.channel)
    member = next(m for m in declaration.payload.members if m.__name__ == request.event)
    tag = declaration.payload.tags.get(member)
    fields = [f for f in declaration.payload.fields(member) if tag is None or f.name != tag.field]
    return PreviewResult(
        typescript=generate_typescript(channels),
        samples=tuple(sample(field.name, field.annotation) for field in fields),
        tag={tag.field: tag.value} if tag else {},
        source=_source(channels, declaration),
        viewers=_viewers(channels, declaration),
    )


def _viewers(channels: Channels, declaration: Declaration) -> str:
    if declaration.guard is not None:
        return f"those whom {getattr(declaration.guard, '__name__', type(declaration.guard).__name__)} allows"
    loaded = [value for module in list(sys.modules.values()) for value in list(vars(module).values())]
    served = [one for one in loaded if isinstance(one, Realtime) and one.channels is channels]
    if any(one.authorizer is not None and one.authorizer.required for one in served):
        return "everybody with a valid token"
    return "open to everybody"


def _source(channels: Channels, declaration: Declaration) -> TableSource | None:
    if not any(isinstance(source, Table) for source in declaration.sources):
        return None
    return next(source for source in table_sources(channels) if source.channel == declaration.name)


def main() -> None:
    """PreviewResult one request."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=PreviewRequest)
    request.files = {str(Path(path)): text for path, text in request.files.items()}
    sys.stdout.buffer.write(msgspec.json.encode(preview(request)))


if __name__ == "__main__":
    main()
