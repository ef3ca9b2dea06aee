"""The generated TypeScript: what it says, and that a compiler agrees with what the server sends."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from flowcraft.channels import Channels
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.codegen.typescript_types import declare_type, type_expression, type_name
from flowcraft.errors import DeclarationError
from tests.codegen.typescript_sample import EVENTS, channels

ROOT = Path(__file__).parents[2]
TSC = ROOT / "node_modules/.bin/tsc"
GOLDEN = Path(__file__).parent / "golden/channels.ts.txt"
EXACT = """
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
function same<_ extends true>(): void { return; }
"""

TypeScriptCompiler = Callable[[Mapping[str, str]], list[str]]


@pytest.fixture
def compile_typescript(tmp_path: Path) -> TypeScriptCompiler:
    """Compile some modules with the strictest options of this repository; return what is wrong with them."""

    def compile_modules(modules: Mapping[str, str]) -> list[str]:
        (tmp_path / "package.json").write_text('{"type": "module"}')
        (tmp_path / "realtime.d.ts").write_text("export interface Register {}\n")
        (tmp_path / "tsconfig.json").write_text(
            json.dumps(
                {
                    "extends": str(ROOT / "tsconfig.base.json"),
                    "compilerOptions": {
                        "noEmit": True,
                        "lib": ["ES2022"],
                        "paths": {"@flowcraft/realtime": [str(tmp_path / "realtime.d.ts")]},
                    },
                    "files": list(modules),
                }
            )
        )
        for name, text in modules.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run([TSC, "-p", tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or done.stdout, done.stderr
        return done.stdout.splitlines()

    return compile_modules


def generated(payload: type) -> str:
    declared = Channels()
    declared.declare("x_update", payload)
    return generate_typescript(declared)


def type_of_field(annotation: object) -> str:
    text = generated(msgspec.defstruct("X", [("field", annotation)]))
    match = re.search(r"readonly field\??: (.*?);\n\}", text, re.DOTALL)
    assert match is not None
    return match[1]


# What it says


def test_the_sample_is_generated_as_reviewed() -> None:
    text = generate_typescript(channels)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "run with UPDATE_GOLDEN=1 and review the difference"


def test_the_text_is_the_same_every_time_has_unix_line_ends_and_ends_with_one() -> None:
    text = generate_typescript(channels)
    assert text == generate_typescript(channels)
    assert "\r" not in text
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")


def test_any_is_never_written() -> None:
    code = re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", generate_typescript(channels), flags=re.DOTALL)
    assert not re.search(r"\bany\b", code)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int | None, "number | null"),
        (list[int | None], "readonly (number | null)[]"),
        (list[list[int]], "readonly (readonly number[])[]"),
        (list[Literal["a", "b"]], 'readonly ("a" | "b")[]'),
        (tuple[int | str, ...], "readonly (number | string)[]"),
        (tuple[int | str, list[int]], "readonly [(number | string), (readonly number[])]"),
        (dict[str, int | None], "{ readonly [key: string]: number | null }"),
        (list[dict[str, int]], "readonly { readonly [key: string]: number }[]"),
        (list, "readonly unknown[]"),
        (dict, "{ readonly [key: string]: unknown }"),
        (object, "unknown"),
        (Any, "unknown"),
        (Any | None, "unknown"),
        (Literal['say "hi"\n'], r'"say \"hi\"\n"'),
        (Literal[-1], "-1"),
    ],
)
def test_a_field_has_the_type_of_what_is_written(annotation: object, expected: str) -> None:
    assert type_of_field(annotation) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "unknown"),
        (False, "never"),
        ({}, "unknown"),
        ({"minimum": 3}, "unknown"),
        ({"type": "novelty"}, "unknown"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"const": {"a": [1, None]}}, "{ readonly a: readonly [1, null]; }"),
        ({"enum": []}, "never"),
        ({"enum": [True, "a"]}, 'true | "a"'),
        ({"anyOf": [{"type": "string"}, False]}, "string"),
        ({"anyOf": [{"type": "string"}, {}]}, "unknown"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
        ({"allOf": [{"$ref": "#/$defs/A"}]}, "A"),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]}]},
            "A & (B | null)",
        ),
        (
            {"anyOf": [{"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}, {"type": "null"}]},
            "(A & B) | null",
        ),
        ({"type": "array"}, "readonly unknown[]"),
        ({"type": "array", "items": False}, "readonly []"),
        ({"prefixItems": [{"type": "string"}], "minItems": 1}, "readonly [string, ...unknown[]]"),
        (
            {"prefixItems": [{"type": "string"}, {"type": "null"}], "minItems": 1, "items": False},
            "readonly [string, null?]",
        ),
        ({"prefixItems": [{"type": "string"}], "maxItems": 1}, "readonly [string?]"),
        ({"type": "object", "properties": {}}, "{ readonly [key: string]: never }"),
        ({"type": "object", "additionalProperties": False}, "{ readonly [key: string]: never }"),
        ({"properties": {"a-b": {"type": "null"}}}, '{\n  readonly "a-b"?: null;\n}'),
    ],
)
def test_any_schema_has_a_type(schema: object, expected: str) -> None:
    assert type_expression(schema) == expected


def test_prose_cannot_leave_its_comment() -> None:
    text = declare_type("X", {"description": "a */ b\n\n  @c */", "type": "string"})
    assert text == "/**\n * a *\\/ b\n *\n *   @c *\\/\n */\nexport type X = string;"


def test_two_types_of_one_name_are_refused() -> None:
    first = msgspec.defstruct("Step", [("a", int)])
    second = msgspec.defstruct("Step", [("a", str)])
    with pytest.raises(DeclarationError, match=r"two different types are called Step: .* rename one of them"):
        generated(msgspec.defstruct("X", [("a", first), ("b", second)]))
    declared = Channels()
    declared.declare("a_update", first)
    declared.declare("b_update", second)
    with pytest.raises(
        DeclarationError,
        match="two different types are called Step, one of them on b_update; rename one",
    ):
        generate_typescript(declared)


def test_two_pydantic_models_of_one_name_are_refused() -> None:
    first = pydantic.create_model("Step", __module__="a", a=int)
    second = pydantic.create_model("Step", __module__="b", a=str)
    with pytest.raises(DeclarationError, match="two different types are called Step"):
        generated(pydantic.create_model("X", a=first, b=second))


@pytest.mark.parametrize("name", ["Channels", "string", "any", "class"])
def test_a_name_that_means_something_in_typescript_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"a type cannot be called {name} .*; rename the class"):
        generated(msgspec.defstruct(name, [("a", int)]))


def test_a_generic_type_is_named_after_its_arguments() -> None:
    assert (type_name("Page[int]"), type_name("Größe"), type_name("Gen_int_")) == (
        "PageInt",
        "Größe",
        "Gen_int_",
    )


def test_channels_whose_builders_would_be_one_are_refused() -> None:
    declared = Channels()
    one = msgspec.defstruct("One", [("a", int)])
    declared.declare("run_steps_update", one)
    declared.declare("run__steps_update", one)
    with pytest.raises(
        DeclarationError,
        match=r"'run_steps_update' and 'run__steps_update' are both channel\.runStepsUpdate .*; rename one",
    ):
        generate_typescript(declared)


def test_the_hash_follows_types_and_not_prose() -> None:
    def hash_of(payload: type, **options: Any) -> str:
        declared = Channels()
        declared.declare("x_update", payload, **options)
        return declared.schema_hash()

    plain = msgspec.defstruct("X", [("a", int)])
    documented = msgspec.defstruct(
        "X", [("a", Annotated[int, msgspec.Meta(description="Words.")])], namespace={"__doc__": "More words."}
    )
    assert hash_of(documented) == hash_of(plain)
    assert hash_of(msgspec.defstruct("X", [("a", int, 3)])) == hash_of(plain), "a default is written anyway"
    assert hash_of(make_dataclass("X", [("a", int)])) == hash_of(plain)
    others = [
        hash_of(msgspec.defstruct("Y", [("a", int)])),
        hash_of(msgspec.defstruct("X", [("a", str)])),
        hash_of(msgspec.defstruct("X", [("b", int)])),
        hash_of(msgspec.defstruct("X", [("a", int), ("description", int)])),
        hash_of(msgspec.defstruct("X", [("a", int, 3)], omit_defaults=True)),
        hash_of(plain, durable=False),
    ]
    assert len({hash_of(plain), *others}) == 7


# What a compiler makes of it


def test_what_the_server_sends_has_the_generated_types(compile_typescript: TypeScriptCompiler) -> None:
    values = [
        f"export const value{n}: Channels[{json.dumps(name)}] = "
        f"{channels.resolve(name)[0].payload.encode(event)} as const;"
        for n, (name, event) in enumerate(EVENTS)
    ]
    values += [
        f"export const member{n}: {type(event).__name__} = {channels.resolve(name)[0].payload.encode(event)};"
        for n, (name, event) in enumerate(EVENTS)
    ]
    names = ", ".join(sorted({type(event).__name__ for _, event in EVENTS}))
    use = f'import type {{ Channels, {names} }} from "./channels.js";\n' + "\n".join(values)
    assert compile_typescript({"channels.ts": generate_typescript(channels), "use.ts": use}) == []


def test_types_are_exact_and_a_wrong_channel_does_not_compile(compile_typescript: TypeScriptCompiler) -> None:
    use = (
        EXACT
        + """
import { channel, schemaHash } from "./channels.js";
import type { Channels, Everything, Failed, Point, RunUpdate, Step, StepCompleted } from "./channels.js";
import type { Register } from "@flowcraft/realtime";

same<Same<Register["channels"], Channels>>();
same<Same<Channels["run_update"], RunUpdate>>();
same<Same<Channels["runs.x"], RunUpdate | StepCompleted>>();
same<Same<Channels["jobs.7"], Everything>>();
same<Same<Channels[ReturnType<typeof channel.jobs>], Everything>>();
type Expected = { readonly type: "RunUpdate"; readonly run_id: string; readonly status: "queued" | "running" }
same<Same<RunUpdate, Expected>>();
same<Same<Everything["last"], { readonly kind: "succeeded"; readonly took: string } | Failed | null>>();
same<Same<Everything["counts"], Readonly<Record<string, number>>>>();
same<Same<Everything["pair"], readonly [number, string]>>();
same<Same<Everything["none_at_all"], readonly []>>();
same<Same<Everything["point"], Point>>();
same<Same<Everything["anything"], unknown>>();
same<Same<Everything["content-type"], number>>();
same<Same<undefined extends Everything["absent"] ? true : false, true>>();
same<Same<Step["steps"][number], Step>>();
same<Same<typeof channel.runUpdate, "run_update">>();
same<Same<ReturnType<typeof channel.runs>, `runs.${string}`>>();
same<Same<string extends typeof schemaHash ? true : false, false>>();

declare function subscribe<C extends keyof Channels>(name: C, handler: (event: Channels[C]) => void): void;
subscribe("run_update", event => same<Same<typeof event, RunUpdate>>());
subscribe(channel.runs("42"), event => {
  if (event.type === "StepCompleted") same<Same<typeof event, StepCompleted>>();
});
subscribe(channel.jobs(9007199254740993n), event => same<Same<typeof event, Everything>>());
subscribe("jobs.9007199254740993", event => same<Same<typeof event, Everything>>());

declare const update: RunUpdate;
declare const everything: Everything;
// @ts-expect-error no such channel
subscribe("run_updates", () => undefined);
// @ts-expect-error an entity's channel needs an id
subscribe("runs", () => undefined);
// @ts-expect-error this id is an integer
subscribe("jobs.seven", () => undefined);
// @ts-expect-error this id is an integer
channel.jobs("7");
// @ts-expect-error not a value of the literal
update.status satisfies "done";
// @ts-expect-error read-only
update.run_id = "";
// @ts-expect-error read-only, inside too
everything.pair[0] = 1;
// @ts-expect-error read-only, inside too
everything.many[0] = 1;
// @ts-expect-error read-only, inside too
everything.counts["a"] = 1;
// @ts-expect-error a field with a default is always there
({ type: "RunUpdate", run_id: "" }) satisfies RunUpdate;
// @ts-expect-error only what is declared
({ type: "RunUpdate", run_id: "", status: "queued", more: 1 }) satisfies RunUpdate;
// @ts-expect-error unknown must be looked at first
everything.anything.a;
// @ts-expect-error a tuple has a length
everything.pair[2];
"""
    )
    assert compile_typescript({"channels.ts": generate_typescript(channels), "use.ts": use}) == []


def test_no_channels_at_all_compile(compile_typescript: TypeScriptCompiler) -> None:
    assert compile_typescript({"channels.ts": generate_typescript(Channels())}) == []


def test_values_of_any_shape_have_the_generated_type(compile_typescript: TypeScriptCompiler) -> None:
    chance = random.Random(7)
    fields = [random_field(chance, depth=3) for _ in range(200)]
    shape = msgspec.defstruct("Shape", [(f"f{n}", annotation) for n, (annotation, _) in enumerate(fields)])
    declared = Channels()
    declared.declare("x_update", shape)
    (declaration,) = declared
    value = shape(**{f"f{n}": value for n, (_, value) in enumerate(fields)})
    use = 'import type { Shape } from "./channels.js";\n'
    use += f"export const value: Shape = {declaration.payload.encode(value)};"
    assert compile_typescript({"channels.ts": generate_typescript(declared), "use.ts": use}) == []


def random_field(chance: random.Random, depth: int) -> tuple[Any, Any]:
    """A type and a value of it."""
    leaves: list[tuple[Any, Any]] = [
        (int, 1),
        (float, chance.choice([1.5, -2e300])),
        (str, 'a "b"\\'),
        (bool, True),
        (None, None),
        (UUID, UUID(int=1)),
        (bytes, b"a"),
        (Any, {"a": 1}),
        (object, "x"),
        (Literal["a", 2], chance.choice(["a", 2])),
        (
            msgspec.defstruct(f"S{chance.randrange(10**9)}", [("ab", int), ("c", str, "d")], rename="kebab"),
            None,
        ),
    ]
    if depth == 0:
        annotation, value = chance.choice(leaves)
        return annotation, annotation(3) if value is None and annotation is not None else value
    inner, value = random_field(chance, depth - 1)
    other, second = random_field(chance, depth - 1)
    optional: Any = inner if inner in (None, Any, object) else inner | None
    return chance.choice(
        [
            (inner, value),
            (GenericAlias(list, inner), [value] * chance.randrange(3)),
            (GenericAlias(tuple, (inner, ...)), (value,) * chance.randrange(3)),
            (GenericAlias(tuple, (inner, other)), (value, second)),
            (GenericAlias(dict, (str, inner)), {"k-1": value} if chance.random() < 0.7 else {}),
            (optional, value if inner in (None, Any, object) else chance.choice([value, None])),
        ]
    )
