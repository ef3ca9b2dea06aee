// @vitest-environment happy-dom
/** The walk of CONTRIBUTING: the files of this package whose code runs for a received event. */
import { readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { useChannel } from "../src/react.js";
import { connect, mount, says } from "./mounted.js";
import { event, point } from "./server.js";

const SOURCE = `${join(import.meta.dirname, "../src")}/`;
const LIST = /^BROWSER = \(([^)]*)\)/m;

/** The files of `src/` of which a function runs meanwhile. */
const filesOf = async (work: () => Promise<unknown>): Promise<string[]> => {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await session.post("Profiler.takePreciseCoverage");
  await work();
  const { result } = await session.post("Profiler.takePreciseCoverage");
  await session.post("Profiler.stopPreciseCoverage");
  session.disconnect();
  const ran = result.filter(({ functions }) => functions.some(({ ranges }) => (ranges[0]?.count ?? 0) > 0));
  return ran
    .map(({ url }) => url.replace("file://", ""))
    .flatMap((path) => (path.startsWith(SOURCE) ? [path.slice(SOURCE.length)] : []))
    .sort();
};

test("a live event passes the files that scripts/walk.py lists, and no other", async () => {
  const heard: unknown[] = [];
  function Latest() {
    useChannel("run_update", (payload) => heard.push(payload));
    return null;
  }
  await mount(<Latest />);
  await connect();
  await says(event(1), point("c1", 1));
  const passed = await filesOf(() => says(event(2), point("c2", 1)));
  expect(heard).toEqual([1, 2]);
  const script = readFileSync(join(import.meta.dirname, "../../../scripts/walk.py"), "utf8");
  const listed = [...(LIST.exec(script)?.[1] ?? "").matchAll(/"([^"]+)"/g)].map(([, file = ""]) => file);
  expect(passed).toEqual(listed.sort());
});
