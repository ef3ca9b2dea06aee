"""The manifests of relays and edges: they run what the commands understand, and wait for what they must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flowcraft import Settings
from flowcraft.entrypoints.commands import relay, serve

ROOT = Path(__file__).parents[2]
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes-edges.yaml").read_text("utf-8")))
BASIS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text("utf-8")))
COMMANDS = {"relay": relay.command, "serve": serve.command}


def one(kind: str, name: str, manifests: list[Any] = MANIFESTS) -> dict[str, Any]:
    (found,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return dict(found)


def pod(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = one("Deployment", name)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def test_the_arguments_are_those_of_the_commands() -> None:
    for name in ("app-relay", "app-realtime"):
        _, container = pod(name)
        word, *arguments = container["args"]
        options = COMMANDS[word].make_context(word, arguments, resilient_parsing=True).params
        (port,) = [port["containerPort"] for port in container["ports"]]
        assert (options["port"], options["host"]) == (port, "0.0.0.0")


def test_a_relay_has_both_addresses_and_an_edge_has_that_of_nats_only() -> None:
    names = {name: {env["name"] for env in pod(name)[1]["env"]} for name in ("app-relay", "app-realtime")}
    assert names == {
        "app-relay": {"DATABASE_URL", "FLOWCRAFT_LOG_URL"},
        "app-realtime": {"FLOWCRAFT_LOG_URL"},
    }


def test_selections_are_of_the_pods_and_the_service_of_the_basis_reaches_the_edges() -> None:
    for manifest in MANIFESTS:
        if manifest["kind"] == "Deployment":
            spec = manifest["spec"]
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"] == manifest["metadata"]["labels"]
    labels = one("Deployment", "app-realtime")["metadata"]["labels"]
    assert one("Service", "app-realtime", BASIS)["spec"]["selector"] == labels
    assert one("PodDisruptionBudget", "app-realtime", BASIS)["spec"]["selector"]["matchLabels"] == labels
    budget = one("PodDisruptionBudget", "app-relay")["spec"]
    assert budget["selector"] == one("Deployment", "app-relay")["spec"]["selector"]
    assert budget["maxUnavailable"] < one("Deployment", "app-relay")["spec"]["replicas"]
    nats = one("Deployment", "app-nats")["metadata"]["labels"]
    assert one("Service", "app-nats")["spec"]["selector"] == nats


def test_edges_are_replaced_all_at_once_and_drained_in_time() -> None:
    rolling = one("Deployment", "app-realtime")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": "100%"}
    spec, container = pod("app-realtime")
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + 30 + 10
    assert Settings().drain_seconds < 30


def test_more_edges_come_with_more_connections() -> None:
    scaler = one("HorizontalPodAutoscaler", "app-realtime")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "app-realtime"
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] == "flowcraft_connections"
    assert int(metric["pods"]["target"]["averageValue"]) <= Settings().connections / 2


def test_probes_ask_for_pages_that_there_are() -> None:
    for name in ("app-relay", "app-realtime"):
        _, container = pod(name)
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        (port,) = container["ports"]
        assert container["readinessProbe"]["httpGet"]["port"] == port["name"]
