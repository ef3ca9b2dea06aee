"""The HTTP contract: what the pages may ask for, and what they are told when they cannot have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from examples.flowcraft.api.adapters.http import create_http
from examples.flowcraft.api.core.services.announcements import KEPT
from examples.flowcraft.api.core.services.dashboard import HISTORY
from examples.flowcraft.api.worker import StepRun
from examples.flowcraft.tests.conftest import Product

Json = dict[str, Any]


async def easy(step: StepRun) -> None:
    await step.log("did it")


@pytest.fixture
async def http(product: Product, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>FlowCraft</title>")
    (tmp_path / "assets" / "index-1f2e.js").write_text("export {}")
    app = create_http(product.services, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def got(http: httpx.AsyncClient, path: str) -> Json:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def refused(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> tuple[int, str, str]:
    answer = await http.request(method, path, **more)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_a_triggered_run_is_shown_with_the_transaction_that_began_it(
    product: Product, http: httpx.AsyncClient
) -> None:
    flow = await product.add_flow("easy", easy)
    triggered = await http.post("/api/flows/easy/runs")
    assert triggered.status_code == 201
    run_id, xid = UUID(triggered.json()["run_id"]), triggered.json()["xid"]
    assert xid.isdecimal()
    await product.worker(flow).work_once("worker/1")

    detail = await got(http, f"/api/runs/{run_id}")
    run = detail["data"]["run"]
    assert (run["type"], run["run_id"], run["status"], run["number"]) == (
        "RunUpdate",
        str(run_id),
        "succeeded",
        1,
    )
    assert [line["text"] for line in detail["data"]["log"]][-2:] == ["did it", "the run succeeded"]
    assert isinstance(detail["cursor"], str)


async def test_a_paused_flow_refuses_runs_until_it_is_resumed(
    product: Product, http: httpx.AsyncClient
) -> None:
    await product.add_flow("easy", easy)
    assert (await http.post("/api/flows/easy/pause")).json()["xid"].isdecimal()
    assert await refused(http, "POST", "/api/flows/easy/runs") == (
        409,
        "flow_paused",
        "Easy is paused; resume it first",
    )
    await http.post("/api/flows/easy/resume")
    assert (await http.post("/api/flows/easy/runs")).status_code == 201


async def test_a_run_is_cancelled_once_and_then_retried_once(
    product: Product, http: httpx.AsyncClient
) -> None:
    await product.add_flow("easy", easy)
    run_id = (await http.post("/api/flows/easy/runs")).json()["run_id"]
    assert (await http.post(f"/api/runs/{run_id}/cancel")).json()["xid"].isdecimal()
    assert await refused(http, "POST", f"/api/runs/{run_id}/cancel") == (
        409,
        "run_not_cancellable",
        "run 1 has been cancelled already; there is nothing to cancel",
    )
    assert (await http.post(f"/api/runs/{run_id}/retry")).json()["xid"].isdecimal()
    assert await refused(http, "POST", f"/api/runs/{run_id}/retry") == (
        409,
        "run_not_retryable",
        "run 1 is queued; only a failed or cancelled run can be retried",
    )


async def test_what_does_not_exist_is_a_404_that_says_what_to_do(http: httpx.AsyncClient) -> None:
    run_id = uuid4()
    gone = f"run {run_id} does not exist; finished runs are pruned after a while, reload the list"
    assert await refused(http, "GET", f"/api/runs/{run_id}") == (404, "run_not_found", gone)
    assert await refused(http, "POST", f"/api/runs/{run_id}/cancel") == (404, "run_not_found", gone)
    assert (await refused(http, "POST", "/api/flows/nonsense/runs"))[:2] == (404, "flow_not_found")
    assert (await refused(http, "GET", "/api/nonsense"))[:2] == (404, "not_found")
    assert (await refused(http, "GET", "/api/runs/17"))[:2] == (422, "bad_request")


async def test_the_newest_announcements_are_kept(product: Product, http: httpx.AsyncClient) -> None:
    made = [
        await http.post("/api/system", json={"text": f" {number} ", "level": "warning"})
        for number in range(KEPT + 2)
    ]
    assert {answer.status_code for answer in made} == {201}
    kept = await product.rows("select id::text, text, level from announcements order by at")
    assert [(text, level) for _, text, level in kept] == [(f"{n}", "warning") for n in range(2, KEPT + 2)]
    assert kept[-1][0] == made[-1].json()["announcement_id"]
    assert (await refused(http, "POST", "/api/system", json={"text": "  "}))[:2] == (422, "bad_request")


async def test_the_dashboard_keeps_what_was_measured_and_measures_only_changes(
    product: Product, http: httpx.AsyncClient
) -> None:
    flow = await product.add_flow("easy", easy)
    assert await product.services.dashboard.refresh()
    assert not await product.services.dashboard.refresh()
    await http.post("/api/flows/easy/runs")
    assert await product.services.dashboard.refresh()
    await product.worker(flow).work_once("worker/1")
    assert await product.services.dashboard.refresh()
    measured = "select queued, succeeded, runs_per_minute, success_rate from measurements order by at"
    assert await product.rows(measured) == [(0, 0, 0, None), (1, 0, 0, None), (0, 1, 1, 1.0)]


async def test_the_newest_measurements_are_kept(product: Product) -> None:
    await product.execute(
        "insert into measurements select now() - n * interval '1 minute', n, 0, 0, 0, 0, 0 "
        "from generate_series(1, $1) n",
        HISTORY + 5,
    )
    assert await product.services.dashboard.refresh()
    kept = "select count(*)::int, max(queued) from measurements"
    assert await product.rows(kept) == [(HISTORY, HISTORY - 1)]


async def test_every_update_of_a_row_counts_as_a_version_also_one_made_by_hand(
    product: Product, http: httpx.AsyncClient
) -> None:
    await product.add_flow("easy", easy)
    run_id = (await http.post("/api/flows/easy/runs")).json()["run_id"]
    assert (await got(http, "/api/audit"))["data"] == [{"run_id": run_id, "number": 1, "version": 1}]
    await product.execute("update runs set progress = 10")
    await product.execute("update runs set progress = 20, version = 0")
    audit = await got(http, "/api/audit")
    assert (audit["data"][0]["version"], audit["xid"].isdecimal()) == (3, True)


async def test_old_runs_are_pruned_unless_they_have_not_finished(
    product: Product, http: httpx.AsyncClient
) -> None:
    await product.add_flow("easy", easy)
    runs = [(await http.post("/api/flows/easy/runs")).json()["run_id"] for _ in range(4)]
    for finished in (runs[0], runs[2], runs[3]):
        await http.post(f"/api/runs/{finished}/cancel")
    await product.services.runs.prune(keep=2)
    assert await product.rows("select number from runs order by number") == [(2,), (3,), (4,)]


@pytest.mark.parametrize(
    ("path", "content", "cached"),
    [
        ("/", "<title>FlowCraft</title>", "no-cache"),
        ("/runs/17", "<title>FlowCraft</title>", "no-cache"),
        ("/assets/index-1f2e.js", "export {}", "public, max-age=31536000, immutable"),
        ("/..%2f..%2fetc/passwd", "<title>FlowCraft</title>", "no-cache"),
    ],
)
async def test_the_web_app_is_served_and_routes_its_own_paths(
    http: httpx.AsyncClient, path: str, content: str, cached: str
) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, content, cached)


async def test_a_web_app_that_is_not_built_is_explained(product: Product, tmp_path: Path) -> None:
    app = create_http(product.services, tmp_path / "dist")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await refused(http, "GET", "/"))[2].startswith("the web app is not built; run `make demo`")


async def test_the_openapi_document_knows_the_shapes(http: httpx.AsyncClient) -> None:
    document = await got(http, "/openapi.json")
    ok = document["paths"]["/api/runs/{run_id}"]["get"]["responses"]["200"]
    reference = ok["content"]["application/json"]["schema"]["$ref"]
    described = document["components"]["schemas"]
    assert described[reference.rpartition("/")[2]]["required"] == ["data", "cursor"]
    assert described["RunUpdate"]["properties"]["version"] == {"type": "integer"}
