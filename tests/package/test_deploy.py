"""deploy/: what an engine would build and run works, and waits, drains and probes as the server needs it."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import asyncpg
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import flowcraft
from flowcraft.entrypoints.workers import BEYOND_DRAIN_SECONDS
from flowcraft.settings import Settings
from tests.package.serving import APPLICATION, is_ready, started
from tests.support.artefacts import ROOT, Artefacts, Installation, run
from tests.support.dockerfile import Build, exec_form, ignored, steps

DEPLOY = ROOT / "deploy"
ENDING = Settings().drain_seconds + BEYOND_DRAIN_SECONDS
"""Seconds in which a server has ended after it was told to."""


@pytest.fixture(scope="module")
def image(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A project with the files of deploy/, built with the wheel that would be published."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(DEPLOY / name, folder)
    (folder / "app").mkdir()
    (folder / "app/realtime.py").write_text(APPLICATION)
    (folder / "requirements.txt").write_text(f"flowcraft-realtime=={flowcraft.__version__}\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(artefacts.folder), "PIP_NO_DEPS": "1"}
    build = Build.follow(folder, tmp_path_factory.mktemp("root"), **offline)
    Installation(build.place("/opt/app")).lend_dependencies([])
    return build


def compose() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return told


def kubernetes() -> dict[str, Any]:
    return {told["kind"]: told for told in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


async def test_the_image_migrates_serves_is_healthy_and_drains_when_it_is_told_to_stop(
    image: Build, database: str
) -> None:
    assert image.instructions["STOPSIGNAL"] == "SIGTERM"
    entry = image.command("ENTRYPOINT")
    migrate = compose()["services"]["migrate"]["command"]
    run([*entry, *migrate], cwd=image.place("."), DATABASE_URL=database)
    serve = [*image.command("ENTRYPOINT", "CMD"), "--port", "0"]
    async with started(image.place("."), *serve, DATABASE_URL=database) as (server, address):
        here = address.replace("0.0.0.0", "127.0.0.1")
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(is_ready, here):
                pass
        async with connect(here) as socket:
            await socket.recv()
            await asyncio.to_thread(check_health, image, here)
            await publish(database)
            server.terminate()
            assert "bye" in await last_frame(socket)
        assert await asyncio.wait_for(server.wait(), ENDING) == 0


def check_health(image: Build, address: str) -> None:
    """Run the image's own check, and those of compose, against the port that was given."""
    port = address.partition("//")[2].partition("/")[0]
    own = exec_form(image.instructions["HEALTHCHECK"])
    composed = compose()["services"]["realtime"]["healthcheck"]["test"]
    assert composed[0] == "CMD"
    for program, *words in (own, composed[1:]):
        assert program == "python"
        python = str(image.place("/opt/app/bin/python"))
        run([python, *(word.replace("127.0.0.1:8400", port) for word in words)], cwd=image.context)


async def last_frame(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = {}
    try:
        while True:
            frame = json.loads(await socket.recv())
    except ConnectionClosed:
        return frame


async def publish(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("""select flowcraft.broadcast('count_update', '{"type": "Counted", "n": 7}')""")
    await connection.close()


def test_the_image_is_that_of_one_pinned_tag_and_runs_as_nobody_in_particular(image: Build) -> None:
    bases = [text.split()[0] for name, text in steps(DEPLOY / "Dockerfile") if name == "FROM"]
    assert len(set(bases)) == 1
    assert ":" in bases[0]
    assert not bases[0].endswith(":latest")
    user = image.instructions["USER"]
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":"))
    assert f"--uid {user.partition(':')[0]}" in image.instructions["RUN"]


def test_nothing_but_what_is_copied_gets_to_the_engine() -> None:
    patterns = DEPLOY / ".dockerignore"
    for name in (".env", ".git", "compose.yaml", "tests", "node_modules"):
        assert ignored(name, patterns)
    assert not ignored("requirements.txt", patterns)


def test_compose_migrates_once_before_it_serves_and_waits_for_the_drain() -> None:
    services = compose()["services"]
    assert services["database"]["image"].startswith("postgres:18-")
    assert services["database"]["volumes"] == ["database:/var/lib/postgresql"]
    ready = {"database": {"condition": "service_healthy"}}
    assert services["migrate"]["depends_on"] == ready
    assert services["realtime"]["depends_on"] == ready | {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert services["migrate"]["restart"] == "no"
    assert seconds(services["realtime"]["stop_grace_period"]) > ENDING
    assert services["realtime"]["ulimits"]["nofile"] > Settings().connections
    for name in ("migrate", "realtime"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]


def test_kubernetes_probes_what_each_probe_is_for_and_waits_for_the_drain() -> None:
    told = kubernetes()
    assert list(told) == ["Job", "Deployment", "Service", "PodDisruptionBudget"]
    pod = told["Deployment"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    probes = {name: server[name]["httpGet"]["path"] for name in server if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    before = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + ENDING
    probe = server["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= before, (
        "proxies hear of the end by its deletion"
    )


def test_kubernetes_runs_what_the_image_runs_on_one_selection_of_pods(image: Build) -> None:
    told = kubernetes()
    deployment = told["Deployment"]["spec"]
    (server,) = deployment["template"]["spec"]["containers"]
    (migration,) = told["Job"]["spec"]["template"]["spec"]["containers"]
    assert server["args"] == exec_form(image.instructions["CMD"])
    assert migration["args"] == compose()["services"]["migrate"]["command"]
    assert server["image"] == migration["image"]
    assert [port["containerPort"] for port in server["ports"]] == [int(image.instructions["EXPOSE"])]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == deployment["selector"]["matchLabels"] == told["Service"]["spec"]["selector"]
    assert labels == told["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert labels != told["Job"]["spec"]["template"]["metadata"]["labels"], "the job takes no connections"
    for container in (server, migration):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["env"][0]["name"] == "DATABASE_URL"
    for kind in ("Job", "Deployment"):
        assert told[kind]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])
