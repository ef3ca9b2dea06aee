// @vitest-environment happy-dom
import { createTestRealtime, type TestRealtime } from "@flowcraft/realtime/testing";
import { act, cleanup, fireEvent, render } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { channel, type Task } from "./realtime.gen";

const task = (id: number, title: string): Task => ({ type: "Task", id, title });

let realtime: TestRealtime;
let answer: () => Promise<Response>;

/** The page, on collections of this test's own: a module keeps its collections as long as the page is open. */
const mount = async () => {
  vi.resetModules();
  vi.doMock("./clients", () => ({ client: realtime.client }));
  const { Board } = await import("./Board");
  const { container } = render(
    <StrictMode>
      <Board />
    </StrictMode>,
  );
  await settled();
  return { shown: () => [...container.querySelectorAll("li")].map((li) => li.textContent), click: (n: number) => fireEvent.click(container.querySelectorAll("li")[n] ?? container) };
};
const settled = async () => {
  await realtime.settle();
  await act(() => new Promise((resolve) => setTimeout(resolve)));
  await realtime.settle();
};

beforeEach(async () => {
  realtime = createTestRealtime({ act });
  await realtime.rows(channel.userRows, [task(1, "ada"), task(2, "bob")]);
  await realtime.rows(channel.taskRows(7), [task(1, "write"), task(2, "test")]);
  vi.stubGlobal("fetch", () => answer());
});
afterEach(() => {
  cleanup();
  realtime.close();
  vi.unstubAllGlobals();
  vi.doUnmock("./clients");
});

test("a live query joins the rows of two channels, and follows both", async () => {
  const { shown } = await mount();
  expect(shown()).toEqual(["test of bob", "write of ada"]);
  await realtime.commit([
    { channel: channel.userRows, payload: task(2, "eve") },
    { channel: "task_rows.7", gone: { id: 1 } },
  ]);
  await settled();
  expect(shown()).toEqual(["test of eve"]);
});

test("a change shows at once, and is what the server says once its rows are here", async () => {
  const { shown, click } = await mount();
  let respond: () => void = () => undefined;
  answer = async () => {
    await new Promise<void>((resolve) => (respond = resolve));
    return Response.json(await realtime.broadcast(channel.taskRows(7), task(1, "WRITE")));
  };
  await act(() => Promise.resolve(click(1)));
  await settled();
  expect(shown()).toEqual(["test of bob", "write! of ada"]);
  respond();
  await settled();
  expect(shown().sort()).toEqual(["WRITE of ada", "test of bob"]);
});
