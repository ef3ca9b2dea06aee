"""The pytest plugin in projects of its users: the guide's, each way to run a coroutine, and no use at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
GUIDE = Path(__file__).parents[2] / "docs/guides/testing.md"
BLOCK = re.compile(r'^```(?:python|ini) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(pytester: pytest.Pytester) -> dict[str, str]:
    """The guide's project, in the folder of the test."""
    files: dict[str, str] = dict(BLOCK.findall(GUIDE.read_text("utf-8")))
    assert list(files) == ["pytest.ini", "app.py", "test_steps.py", "conftest.py", "test_rows.py"]
    for name, text in files.items():
        (pytester.path / name).write_text(text, "utf-8")
    return files


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest as a user does: in a process of its own, with warnings as errors."""
    settled = "asyncio_default_fixture_loop_scope=function"  # without it pytest-asyncio warns
    return pytester.runpytest_subprocess("-W", "error", "-o", settled, *arguments)


def test_the_guide_works(pytester: pytest.Pytester, guide: dict[str, str]) -> None:
    run(pytester).assert_outcomes(passed=5)


def test_the_failure_that_the_guide_shows_is_the_one_that_is_told(
    pytester: pytest.Pytester, guide: dict[str, str]
) -> None:
    shown = re.findall(r"^```text title=.*?\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    pytester.makepyfile(
        test_failing="""
        from app import RunUpdate, StepCompleted, Steps, run, run_update

        async def test_it(realtime):
            watched = await realtime.as_viewer("ada", team="data").subscribe(run(7))
            await Steps(realtime).complete(7, "extract")
            await realtime.broadcast(run_update, RunUpdate(run_id=7, status="running"))
            await watched.expect(StepCompleted, step="load")  # the line that failed
        """
    )
    (pytester.path / "pytest.ini").write_text(guide["pytest.ini"] + "flowcraft_timeout = 0\n")
    result = run(pytester, "test_failing.py")
    told = "\n".join(line.removeprefix("E").strip() for line in result.outlines)
    expected = "\n".join(line.strip() for line in shown[0].splitlines())
    assert expected.replace("within 5 s", "among the events committed by now") in told
    result.stdout.fnmatch_lines([">*# the line that failed"])
    result.stdout.no_fnmatch_line("*subscription.py*expect*")


STYLES = """
    import asyncio
    import pytest
    import pytest_asyncio
    from app import StepCompleted, Steps, run

    async def watch(realtime):
        return await realtime.as_viewer("ada", team="data").subscribe(run(7))

    @pytest_asyncio.fixture
    async def watched(realtime):
        yield await watch(realtime)
        assert len(asyncio.all_tasks()) == 1  # what the test began has ended with it

    @pytest.mark.asyncio
    async def test_under_pytest_asyncio(realtime, watched):
        await Steps(realtime).complete(7, "extract")
        await watched.expect(StepCompleted)

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def watched_by_anyio(anyio_backend, realtime):
        yield await watch(realtime)

    @pytest.mark.anyio
    async def test_under_anyio(realtime, watched_by_anyio):
        await Steps(realtime).complete(7, "extract")
        await watched_by_anyio.expect(StepCompleted)

    @pytest.mark.anyio
    async def test_under_anyio_on_a_database(realtime_db):
        watched = await watch(realtime_db)
        await Steps(realtime_db).complete(7, "extract")
        await watched.expect(StepCompleted)

    class TestMethods:
        @pytest.mark.asyncio
        @pytest.mark.parametrize("step", ["extract", "load"])
        async def test_of_a_class(self, realtime, step):
            watched = await watch(realtime)
            await Steps(realtime).complete(7, step)
            await watched.expect(step=step)

    def test_of_one_that_runs_its_own_loop(realtime):
        async def body():
            async with realtime:
                await (await watch(realtime)).expect_nothing()
        asyncio.run(body())
"""


def test_pytest_asyncio_and_anyio_work_also_side_by_side(
    pytester: pytest.Pytester, guide: dict[str, str]
) -> None:
    pytester.makepyfile(test_styles=STYLES)
    (pytester.path / "pytest.ini").write_text("[pytest]\nflowcraft_channels = app:channels\n")
    run(pytester, "test_styles.py").assert_outcomes(passed=6)


def test_where_no_fixture_is_used_nothing_is_loaded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("flowcraft")
            loaded = [name for name in sys.modules if name.startswith("flowcraft")]
            assert sorted(loaded) == [
                "flowcraft", "flowcraft._version", "flowcraft.testing", "flowcraft.testing.plugin"
            ]
            assert not {"asyncpg", "msgspec", "websockets"} & set(sys.modules)
        """
    )
    others = ("-p", "no:asyncio", "-p", "no:anyio", "-p", "no:hypothesispytest")
    pytester.runpytest_subprocess(*others).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "told"),
    [
        ("", "*name your channels with `flowcraft_channels = app:channels` in pytest's ini file*"),
        ("flowcraft_channels = nowhere:channels", "*flowcraft_channels = nowhere:channels: No module named*"),
        (
            "flowcraft_channels = app:Steps",
            "*flowcraft_channels = app:Steps is of type type; name your channels*",
        ),
    ],
)
def test_who_does_not_say_where_the_channels_are_is_told_how(
    pytester: pytest.Pytester, guide: dict[str, str], ini: str, told: str
) -> None:
    pytester.makepyfile(test_it="def test_it(realtime): ...")
    (pytester.path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "test_it.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])


def test_a_realtime_object_may_be_named_and_tables_may_be_made_by_a_function(
    pytester: pytest.Pytester, guide: dict[str, str]
) -> None:
    pytester.makepyfile(
        whole="from app import channels\nfrom flowcraft import Realtime\nrealtime = Realtime(channels)",
        test_it="""
        import asyncio, asyncpg, pytest
        from app import RunUpdate, run_update
        from whole import realtime as service

        async def create(dsn):
            connection = await asyncpg.connect(dsn)
            await connection.execute("create table runs (id int primary key, status text not null)")
            await connection.close()

        @pytest.fixture(params=[create, lambda dsn: asyncio.run(create(dsn))])
        def realtime_tables(request):
            return request.param

        async def test_it(realtime_db, monkeypatch):
            monkeypatch.setenv("DATABASE_URL", realtime_db.dsn)
            runs = await realtime_db.subscribe(run_update)
            async with service:
                await service.broadcast(run_update, RunUpdate(run_id=1, status="failed"))
            assert (await runs.expect()).run_id == 1
        """,
    )
    (pytester.path / "pytest.ini").write_text(
        "[pytest]\nflowcraft_channels = whole:realtime\nasyncio_mode = auto\n"
    )
    run(pytester, "test_it.py").assert_outcomes(passed=2)
