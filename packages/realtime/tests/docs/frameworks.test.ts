// @vitest-environment happy-dom
import { channelStore, connectionStore } from "@flowcraft/realtime/store";
import { createTestRealtime, type TestRealtime } from "@flowcraft/realtime/testing";
import { flushSync, mount, unmount } from "svelte";
import { derived, get } from "svelte/store";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Component, createApp, nextTick } from "vue";
import type { Runs } from "./api";
import SvelteRuns from "./Runs.svelte";
import VueRuns from "./Runs.vue";
import { runStore } from "./runs";
import SvelteTasks from "./Tasks.svelte";
import VueTasks from "./Tasks.vue";
import SvelteToast from "./Toast.svelte";
import VueToast from "./Toast.vue";

let realtime: TestRealtime;
let loads: number;
let rows: Runs;
let page: HTMLElement;

beforeEach(() => {
  realtime = createTestRealtime();
  rows = [{ type: "RunUpdate", run_id: "1", status: "queued" }];
  loads = 0;
  page = document.createElement("main");
  vi.stubGlobal("fetch", () => {
    loads += 1;
    return Promise.resolve(Response.json({ data: rows, cursor: realtime.cursor() }));
  });
});
afterEach(() => {
  realtime.close();
  vi.unstubAllGlobals();
});

const fail = (run_id = "1") => realtime.broadcast("run_update", { type: "RunUpdate", run_id, status: "failed" });

describe("Svelte's contract", () => {
  test("a subscriber is called at once, then with each change, and no more after it has left", async () => {
    const seen: unknown[] = [];
    const leave = runStore(realtime.client).subscribe(({ data, loading }) => seen.push(loading ? "loading" : data.map((r) => r.status)));
    expect(seen).toEqual(["loading"]);
    await realtime.settle();
    await fail();
    leave();
    leave();
    await fail("2");
    expect(seen.at(-1)).toEqual(["failed"]);
    expect(realtime.subscriptions()).toEqual([]);
  });

  test("several subscribers share one load and one subscription, and a latecomer sees what is there", async () => {
    const store = runStore(realtime.client);
    const leave = store.subscribe(() => undefined);
    await realtime.settle();
    let late: Runs = [];
    const leaveToo = store.subscribe(({ data }) => (late = data));
    expect(late).toEqual(rows);
    await realtime.settle();
    expect([loads, realtime.subscriptions()]).toEqual([1, ["run_update"]]);
    leave();
    await fail();
    expect(late.map((run) => run.status)).toEqual(["failed"]);
    leaveToo();
  });

  test("who only looks in, as `get` does, loads nothing", async () => {
    const store = runStore(realtime.client);
    expect(get(store)).toEqual({ data: [], fresh: false, error: undefined, loading: true });
    await realtime.settle();
    expect(loads).toBe(0);
  });

  test("with nobody there it follows nothing, claims nothing, and loads again for the next who comes", async () => {
    const store = runStore(realtime.client);
    const leave = store.subscribe(() => undefined);
    await realtime.settle();
    expect(store.get().fresh).toBe(true);
    leave();
    await realtime.settle();
    expect(store.get().fresh).toBe(false);
    rows = [];
    store.reload();
    await realtime.settle();
    expect(loads).toBe(1);
    store.subscribe(() => undefined);
    await realtime.settle();
    expect([loads, store.get().data]).toEqual([2, []]);
  });

  test("`derived` follows both stores", async () => {
    const both = derived(
      [runStore(realtime.client), connectionStore(realtime.client)],
      ([runs, connection]) => `${runs.data.length} ${connection.status}`,
    );
    const seen: string[] = [];
    const leave = both.subscribe((text) => seen.push(text));
    await realtime.settle();
    await fail("2");
    await realtime.disconnect();
    expect([seen[0], seen.at(-1)]).toEqual(["0 connecting", "2 waiting"]);
    leave();
  });

  test("without a channel there is nothing to load", async () => {
    const store = channelStore(realtime.client, null, { load: () => Promise.reject(new Error("asked")), reduce: () => 0 });
    const leave = store.subscribe(() => undefined);
    await realtime.settle();
    expect(store.get()).toEqual({ data: undefined, fresh: false, error: undefined, loading: false });
    leave();
  });
});

type Mounted = { readonly update: () => Promise<void>; readonly leave: () => Promise<void> };
const inSvelte = (component: typeof SvelteRuns): Mounted => {
  const mounted = mount(component, { target: page, props: { client: realtime.client, teamId: 7 } });
  flushSync();
  return { update: () => Promise.resolve().then(() => flushSync()), leave: () => unmount(mounted) };
};
const inVue = (component: Component): Mounted => {
  const app = createApp(component, { client: realtime.client, teamId: 7 });
  app.mount(page);
  return { update: () => nextTick(), leave: () => Promise.resolve().then(() => app.unmount()) };
};

describe.each([
  ["Svelte", () => inSvelte(SvelteRuns), () => inSvelte(SvelteToast), () => inSvelte(SvelteTasks)],
  ["Vue", () => inVue(VueRuns), () => inVue(VueToast), () => inVue(VueTasks)],
])("in %s", (_, showRuns, showToast, showTasks) => {
  test("a component shows what is loaded and then what is committed", async () => {
    const { update, leave } = showRuns();
    expect(page.textContent.trim()).toBe("connecting");
    await realtime.settle();
    await fail("2");
    await update();
    expect([...page.querySelectorAll("li")].map((li) => li.textContent)).toEqual(["2 failed", "1 queued"]);
    expect(page.querySelector("p")?.textContent).toBe("live");
    await realtime.disconnect();
    await update();
    expect(page.querySelector("p")?.textContent).toBe("waiting");
    await leave();
    expect(realtime.subscriptions()).toEqual([]);
  });

  test("a component shows the rows of a table, and what becomes of them", async () => {
    const task = (id: number, title: string) => ({ type: "Task" as const, id, title });
    await realtime.rows("task_rows.7", [task(2, "two"), task(1, "one")]);
    const { update, leave } = showTasks();
    const shown = async () => {
      await realtime.settle();
      await update();
      return [...page.querySelectorAll("li")].map((li) => li.textContent);
    };
    expect(await shown()).toEqual(["one", "two"]);
    await realtime.rows("task_rows.7", [task(2, "2"), task(3, "three")]);
    expect(await shown()).toEqual(["2", "three"]);
    await leave();
    await realtime.settle();
    expect(realtime.subscriptions()).toEqual([]);
  });

  test("a component hears events, and ends with its subscription", async () => {
    const { update, leave } = showToast();
    await realtime.broadcast("system", { type: "Announcement", text: "hello" });
    await update();
    expect(page.querySelector("output")?.textContent).toBe("hello");
    await leave();
    expect(realtime.subscriptions()).toEqual([]);
  });
});
