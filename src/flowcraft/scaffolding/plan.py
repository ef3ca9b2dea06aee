"""The plan: the edits that add a channel, one step after the other."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from flowcraft.codegen.typescript_meaning import difference
from flowcraft.scaffolding import migrations, python_templates, web_templates
from flowcraft.scaffolding.edits import Edit, ScaffoldingRefused, text_of
from flowcraft.scaffolding.naming import kebab_case, snake_case
from flowcraft.scaffolding.python_text import (
    bound_names,
    declaration_of,
    fields_of,
    other_parameters,
    parsed,
    realtime_attribute,
    with_class,
    with_declaration,
    with_import,
    with_method,
)
from flowcraft.scaffolding.request import ChannelRequest, Preview, Project
from flowcraft.scaffolding.types import imports_of, same_type

EVENT = "1 event type"
DECLARATION = "2 channel"
TRIGGER = "2 trigger"
SERVICE = "2 service"
TYPES = "3 TypeScript types"
HOOK = "4 hook"
TESTS = "5 tests"


Formatter: TypeAlias = Callable[[Path, str], str]


def unformatted(_path: Path, text: str) -> str:
    """Return a text as it is."""
    return text


@dataclass(slots=True)
class Draft:
    """The edits planned so far; later steps read earlier ones' texts. `formatter` formats new files."""

    formatter: Formatter = unformatted
    edits: dict[Path, Edit] = field(default_factory=dict[Path, Edit])

    def text(self, path: Path) -> str | None:
        """Return a file's planned text, or its present text."""
        return self.edits[path].after if path in self.edits else text_of(path)

    def write(self, step: str, path: Path, text: str) -> None:
        """Plan a file's text."""
        known = self.edits.get(path)
        before = known.before if known else text_of(path)
        text = self.formatter(path, text) if before is None else text
        self.edits[path] = Edit(known.step if known else step, path, before, text)


def plan_declaration(
    request: ChannelRequest, project: Project, formatter: Formatter = unformatted
) -> tuple[Draft, bool]:
    """Plan the event and the channel; also return whether the same channel is declared already.

    Raises:
        ScaffoldingRefused: another event or channel has the name.
    """
    draft = Draft(formatter)
    _plan_event(draft, request, project)
    return draft, _plan_channel(draft, request, project)


def plan_rest(
    draft: Draft, request: ChannelRequest, project: Project, preview: Preview, *, declared: bool
) -> None:
    """Plan everything that follows from the declaration.

    Raises:
        ScaffoldingRefused: an existing file that this command did not write is in the way.
    """
    if request.table is not None:
        if not request.names.are_rows:  # what reads the rows is made by `flowcraft migrate`
            _plan_trigger(draft, request, project, preview)
        test = python_templates.table_test(request, project, preview)
    else:
        module, others = _plan_service(draft, request, project)
        test = python_templates.service_test(request, project, preview, module, others)
    if project.types is not None:
        present = draft.text(project.types)
        same = present is not None and difference(present, preview.typescript) is None
        draft.write(TYPES, project.types, present if same and present else preview.typescript)
    if project.react:
        _plan_hook(draft, request, project, preview, declared=declared)
    if not project.pytest:
        return
    word = request.names.words.replace("-", "_")
    path = project.tests / f"test_{word}_channel.py"
    draft.write(TESTS, *_own(draft, [path], {path: test}, declared=declared, flag="--tests"))


def _plan_event(draft: Draft, request: ChannelRequest, project: Project) -> None:
    text = draft.text(project.events) or ""
    tree = parsed(text, project.events)
    present = fields_of(tree, request.event)
    if present is not None:
        known = {item.name: item.annotation for item in present}
        for item in request.fields:
            if item.name not in known or not same_type(known[item.name], item.annotation):
                raise ScaffoldingRefused(
                    f"{project.events}: {request.event} exists already, and its {item.name} is "
                    f"{known.get(item.name, 'missing')}, not {item.annotation}; "
                    "choose another --event, or use its fields"
                )
        return
    if request.event in bound_names(tree):
        raise ScaffoldingRefused(
            f"{project.events}: {request.event} is already the name of something else; choose another --event"
        )
    if not request.fields:
        raise ScaffoldingRefused(f"{request.event} has no fields yet; name them with --field NAME:TYPE")
    for module, names in sorted(imports_of(request.fields, bound_names(tree) | {request.event}).items()):
        text = with_import(text, module, *names)
    text = with_import(text, "flowcraft", "Event") if "Event" not in bound_names(tree) else text
    before = project.channels_object if project.channels == project.events else None
    draft.write(EVENT, project.events, with_class(text, python_templates.event_class(request), before))


def _plan_channel(draft: Draft, request: ChannelRequest, project: Project) -> bool:
    text = draft.text(project.channels) or ""
    tree = parsed(text, project.channels)
    statement = python_templates.declaration(request, project.channels_object)
    present = declaration_of(tree, project.channels_object, request.names.channel)
    if present is not None:
        if not _declares(present, ast.parse(statement).body[0]):
            raise ScaffoldingRefused(
                f"{project.channels}:{present.lineno}: {request.names.channel} is declared already, as\n"
                f"    {ast.unparse(present)}\nand not as\n    {statement}\n"
                "change that declaration, or choose another name"
            )
        return True
    if request.names.variable in bound_names(tree):
        raise ScaffoldingRefused(
            f"{project.channels}: {request.names.variable} is already the name of something else; choose "
            "another channel name"
        )
    if project.channels != project.events:
        text = with_import(text, project.module(project.events), request.event)
    if request.table is not None and not request.table.key and "Table" not in bound_names(tree):
        text = with_import(text, "flowcraft", "Table")
    if request.names.parameter is not None and request.parameter_type == "UUID":
        text = with_import(text, "uuid", "UUID")
    draft.write(DECLARATION, project.channels, with_declaration(text, project.channels_object, statement))
    return False


def _declares(present: ast.stmt, wanted: ast.stmt) -> bool:
    """Return whether a declaration is the wanted one; it may have more arguments, such as `presence=`."""
    if not isinstance(present, ast.Assign) or not isinstance(wanted, ast.Assign):
        return False
    one, other = present.value, wanted.value
    if not isinstance(one, ast.Call) or not isinstance(other, ast.Call):
        return False
    keywords = {keyword.arg: ast.dump(keyword.value) for keyword in one.keywords}
    asked = {keyword.arg: ast.dump(keyword.value) for keyword in other.keywords}
    same = [*map(ast.dump, [*present.targets, one.func, *one.args])]
    return (
        same == [*map(ast.dump, [*wanted.targets, other.func, *other.args])]
        and asked.items() <= keywords.items()
    )


def _plan_trigger(draft: Draft, request: ChannelRequest, project: Project, preview: Preview) -> None:
    assert preview.trigger is not None
    if project.alembic is not None:
        folder = migrations.alembic_versions(project.alembic)
        if migrations.existing(folder, request, "py") is None:
            revision = migrations.revision_of(request)
            text = python_templates.alembic_revision(request, revision, migrations.head_of(folder), preview)
            draft.write(TRIGGER, folder / f"{revision}_{migrations.slug(request)}.py", text)
    elif project.migrations is not None and migrations.existing(project.migrations, request, "sql") is None:
        path = migrations.sql_name(project.migrations, request)
        draft.write(TRIGGER, path, migrations.sql_migration(request, preview.trigger))


def _plan_service(
    draft: Draft, request: ChannelRequest, project: Project
) -> tuple[str, list[tuple[str, bool]]]:
    assert project.services is not None
    assert request.service is not None
    for path in sorted(project.services.glob("*.py")):
        text = draft.text(path) or ""
        tree = parsed(text, path)
        if fields_of(tree, request.service) is not None:
            _extend_service(draft, request, project, path, text)
            return project.module(path), other_parameters(tree, request.service)
    path = project.services / f"{snake_case(request.service).removesuffix('_service')}.py"
    if draft.text(path) is not None:
        raise ScaffoldingRefused(
            f"{path} exists already, without a {request.service}; choose another --service"
        )
    package, _, leaf = project.module(project.channels).rpartition(".")
    imports = python_templates.import_block(
        [
            *([(package, leaf)] if package else []),
            (project.module(project.events), request.event),
            (_port_module(project), "RealtimeService"),
        ],
        [] if package else [leaf],
    )
    method = python_templates.service_method(request, leaf, "_realtime")
    draft.write(SERVICE, path, python_templates.service_module(request, imports, method))
    return project.module(path), [("realtime", True)]


def _extend_service(draft: Draft, request: ChannelRequest, project: Project, path: Path, text: str) -> None:
    assert request.service is not None
    tree = parsed(text, path)
    name = python_templates.method_name(request)
    methods = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == request.service).body
    if any(isinstance(node, ast.AsyncFunctionDef) and node.name == name for node in methods):
        return
    attribute = realtime_attribute(tree, request.service)
    if attribute is None:
        raise ScaffoldingRefused(
            f"{path}: {request.service} has no RealtimeService; add one to its constructor, "
            "`def __init__(self, realtime: RealtimeService, …)`, with `self._realtime = realtime`"
        )
    package, _, leaf = project.module(project.channels).rpartition(".")
    text = with_method(text, request.service, python_templates.service_method(request, leaf, attribute))
    text = with_import(text, project.module(project.events), request.event)
    draft.write(
        SERVICE, path, with_import(text, package, leaf) if package else _with_plain_import(text, leaf)
    )


def _with_plain_import(text: str, module: str) -> str:
    tree = ast.parse(text)
    if module in bound_names(tree):
        return text
    first = next(
        (
            n
            for n in tree.body
            if isinstance(n, ast.Import | ast.ImportFrom) and getattr(n, "module", "") != "__future__"
        ),
        None,
    )
    lines = text.splitlines(keepends=True)
    lines.insert(first.lineno - 1 if first else 0, f"import {module}\n")
    return "".join(lines)


def _port_module(project: Project) -> str:
    """Return the module from which the project's services import RealtimeService."""
    assert project.services is not None
    for path in sorted(project.services.glob("*.py")):
        for node in parsed(text_of(path) or "", path).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            if (
                "RealtimeService" in names
                and isinstance(node, ast.ImportFrom)
                and node.module
                and not node.level
            ):
                return node.module
    return "flowcraft"


def _plan_hook(
    draft: Draft, request: ChannelRequest, project: Project, preview: Preview, *, declared: bool
) -> None:
    assert project.types is not None
    folder = project.types.parent / "features" / request.feature / "hooks"
    words = (request.feature, request.names.variable, request.names.words)
    stems = dict.fromkeys(f"use-{kebab_case(word)}" for word in words)
    texts = {folder / f"{stem}.ts": web_templates.hook(request, project, stem) for stem in stems}
    path, text = _own(draft, list(texts), texts, declared=declared, flag="--feature")
    draft.write(HOOK, path, text)
    if not project.vitest:
        return
    test = path.with_name(f"{path.stem}.test.tsx")
    tests = {test: web_templates.hook_test(request, project, preview, path.stem)}
    draft.write(TESTS, *_own(draft, [test], tests, declared=declared, flag="--feature"))


def _own(
    draft: Draft, candidates: Sequence[Path], texts: Mapping[Path, str], *, declared: bool, flag: str
) -> tuple[Path, str]:
    """Choose a path for a file, never over a file that this command did not write."""
    texts = {path: draft.formatter(path, text) for path, text in texts.items()}
    present = {path: draft.text(path) for path in candidates}
    same = [path for path, text in present.items() if text == texts[path]]
    missing = [path for path, text in present.items() if text is None]
    if same:
        return same[0], texts[same[0]]
    if declared and len(missing) < len(candidates):
        # The channel and its file exist: the user has edited the file since.
        kept = [path for path, text in present.items() if text is not None][-1]
        return kept, present[kept] or ""
    if missing:
        return missing[0], texts[missing[0]]
    raise ScaffoldingRefused(
        f"{candidates[-1]} exists already and is not overwritten; choose another place with {flag}"
    )
