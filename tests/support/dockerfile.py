"""A Dockerfile, followed step by step where no engine runs: what is copied is there, what is run works."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.support.artefacts import run

ACCOUNTS = re.compile(r"^(useradd|groupadd|adduser|addgroup) ")
"""What is left out: this machine gets no account."""


@dataclass
class Build:
    """The last stage of a Dockerfile, built below a folder that stands for the root.

    The stages share that root, so that what one makes has the same path in the next.
    """

    context: Path
    root: Path
    directory: str = "/"
    environment: dict[str, str] = field(default_factory=dict[str, str])
    instructions: dict[str, str] = field(default_factory=dict[str, str])
    """The last of each kind, of the last stage."""

    @classmethod
    def follow(cls, context: Path, root: Path, **variables: str) -> Build:
        """Build; the variables are for the steps that are run."""
        build = cls(context, root)
        for name, text in steps(context / "Dockerfile"):
            build.instructions[name] = text
            if name == "FROM":
                build.directory, build.environment, build.instructions = "/", {}, {}
            elif name == "WORKDIR":
                build.directory = text
                build.place(".").mkdir(parents=True, exist_ok=True)
            elif name == "ENV":
                build.environment |= dict(re.findall(r"(\w+)=(\S+)", text))
            elif name == "COPY":
                build.copy(text)
            elif name == "RUN":
                build.execute(re.sub(r"--mount=\S+ ", "", text), variables)
        return build

    def place(self, path: str) -> Path:
        """Where a path of the image is."""
        whole = path if path.startswith("/") else f"{self.directory}/{path}"
        return (self.root / whole.lstrip("/")).resolve()

    def copy(self, text: str) -> None:
        *options, source, target = text.split()
        if any(option.startswith("--from=") for option in options):
            assert self.place(source).exists(), f"no stage made {source}"
            return
        assert not ignored(source, self.context / ".dockerignore"), f".dockerignore leaves {source} out"
        found = self.context / source
        if found.is_dir():
            shutil.copytree(found, self.place(target))
        else:
            shutil.copy(found, self.place(target))

    def execute(self, command: str, variables: dict[str, str]) -> None:
        if ACCOUNTS.match(command):
            return
        inside = re.sub(r"(?<=[ =])/(opt|srv|var)/", f"{self.root}/\\1/", f" {command}")
        run(["sh", "-euc", inside], cwd=self.place("."), **variables)

    def command(self, *instructions: str) -> list[str]:
        """The words that an engine would run, whose programs are looked up in the image's PATH."""
        words = [word for name in instructions for word in exec_form(self.instructions[name])]
        paths = [self.place(path) / words[0] for path in self.environment["PATH"].split(":")[:-1]]
        return [str(next(path for path in paths if path.exists())), *words[1:]]


def steps(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, without comments, each on one line."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def exec_form(text: str) -> list[str]:
    """The words of `["flowcraft"]`; not of a line for a shell."""
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def ignored(path: str, file: Path) -> bool:
    """Tell whether what is at the top of the context is left out: the last fitting pattern decides."""
    out = False
    for pattern in file.read_text().split():
        if fnmatch(path, pattern.removeprefix("!")):
            out = not pattern.startswith("!")
    return out
