// @vitest-environment happy-dom
import { act, cleanup, configure, render } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { usePresence } from "../src/presence.js";
import { RealtimeProvider } from "../src/react.js";
import { useRows } from "../src/rows.js";
import { presenceStore } from "../src/store.js";
import { createTestRealtime, type TestRealtime } from "../src/testing.js";

type Person = { readonly id: string; readonly name: string };
const ADA: Person = { id: "a", name: "Ada" };
const BOB: Person = { id: "b", name: "Bob" };
const RUN = "runs.7";

let realtime: TestRealtime;
configure({ reactStrictMode: false });
beforeEach(() => (realtime = createTestRealtime({ act: (work) => act(work) })));
afterEach(() => {
  cleanup();
  realtime.close();
});

function Avatars({ name = RUN, join }: { readonly name?: string | null; readonly join?: boolean }) {
  const { members, count, fresh, error } = usePresence(name, join === undefined ? {} : { join });
  const names = (members as readonly Person[]).map((person) => person.name).join(" ");
  return <p>{`${names}|${count}${fresh ? " fresh" : ""}${error instanceof Error ? ` ${error.message}` : ""}`}</p>;
}
function Names() {
  const { rows } = useRows("runs_members.7");
  return <b>{rows?.length ?? "-"}</b>;
}
const within = (children: ReactNode) => <RealtimeProvider client={realtime.client}>{children}</RealtimeProvider>;
const mount = (children: ReactNode) => {
  const { container, rerender } = render(within(children));
  return { text: () => container.textContent, show: (next: ReactNode) => rerender(within(next)) };
};

describe("usePresence", () => {
  test("shows nobody, then who is there, then who comes and who leaves", async () => {
    await realtime.presence(RUN, [BOB]);
    const { text } = mount(<Avatars />);
    expect(text()).toBe("|0");
    await realtime.settle();
    expect(text()).toBe("Bob|1 fresh");
    await realtime.presence(RUN, [BOB, ADA]);
    expect(text()).toBe("Ada Bob|2 fresh");
    await realtime.presence(RUN, [ADA]);
    expect(text()).toBe("Ada|1 fresh");
  });

  test("shows how many are there, and no list, while there are too many", async () => {
    await realtime.presence(RUN, [BOB, ADA]);
    const { text } = mount(<Avatars />);
    await realtime.settle();
    await realtime.presence(RUN, 501);
    expect(text()).toBe("|501 fresh");
    expect(realtime.presentOn()).toEqual([RUN]);
    await realtime.presence(RUN, 530);
    expect(text()).toBe("|530 fresh");
    const late = mount(<Avatars />);
    expect(late.text()).toBe("|530 fresh");
    await realtime.disconnect();
    await realtime.presence(RUN, 410);
    expect(text()).toBe("|530");
    await realtime.reconnect();
    expect(text()).toBe("|410 fresh");
    await realtime.disconnect();
    await realtime.presence(RUN, [ADA]);
    await realtime.reconnect();
    expect(text()).toBe("Ada|1 fresh");
    await realtime.presence(RUN, [ADA, BOB]);
    expect(text()).toBe("Ada Bob|2 fresh");
  });

  test("is present while the component is mounted, and again after a reconnect", async () => {
    const { show } = mount(<Avatars />);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([RUN]);
    await realtime.disconnect();
    expect(realtime.presentOn()).toEqual([]);
    await realtime.reconnect();
    expect(realtime.presentOn()).toEqual([RUN]);
    show(null);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([]);
  });

  // https://github.com/liveblocks/liveblocks/issues/459: the others disappear and come back.
  test("shows the others while the connection is lost", async () => {
    await realtime.presence(RUN, [ADA, BOB]);
    const { text } = mount(<Avatars />);
    await realtime.settle();
    await realtime.disconnect();
    expect(text()).toBe("Ada Bob|2");
    await realtime.reconnect();
    expect(text()).toBe("Ada Bob|2 fresh");
  });

  test("is absent at once when the last component that joined is gone, also where others look on", async () => {
    const { show } = mount([<Avatars key="1" />, <Avatars key="2" />, <Avatars key="3" join={false} />, <Names key="4" />]);
    await realtime.presence(RUN, [ADA]);
    show([<Avatars key="2" />, <Avatars key="3" join={false} />, <Names key="4" />]);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([RUN]);
    show([<Avatars key="3" join={false} />, <Names key="4" />]);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([]);
    const { text } = mount(<Names />);
    await realtime.presence(RUN, [ADA, BOB]);
    expect(text()).toBe("2");
  });

  test("looks on without being shown with join={false}, and joins when that changes", async () => {
    const { show, text } = mount(<Avatars join={false} />);
    await realtime.presence(RUN, [ADA]);
    expect(realtime.presentOn()).toEqual([]);
    show(<Avatars join />);
    await realtime.settle();
    expect([realtime.presentOn(), text()]).toEqual([[RUN], "Ada|1 fresh"]);
  });

  test("follows the channel that it is given; null is none", async () => {
    await realtime.presence("runs.8", [BOB]);
    const { show, text } = mount(<Avatars />);
    await realtime.settle();
    show(<Avatars name="runs.8" />);
    await realtime.settle();
    expect([realtime.presentOn(), text()]).toEqual([["runs.8"], "Bob|1 fresh"]);
    show(<Avatars name={null} />);
    await realtime.settle();
    expect([realtime.presentOn(), text()]).toEqual([[], "|0"]);
  });

  test("a channel without a part for an id has members too", async () => {
    await realtime.presence("dashboard", [ADA]);
    const { text } = mount(<Avatars name="dashboard" />);
    await realtime.settle();
    expect([realtime.presentOn(), text()]).toEqual([["dashboard"], "Ada|1 fresh"]);
  });

  test("a refused channel shows the reason and nobody", async () => {
    await realtime.refuse("runs_members.7");
    const { text } = mount(<Avatars />);
    await realtime.settle();
    expect(text()).toBe("|0 the test refused runs_members.7");
    expect(realtime.presentOn()).toEqual([]);
  });

  test("in strict mode the viewer is present, and gone afterwards", async () => {
    const { show } = mount(<StrictMode><Avatars /></StrictMode>);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([RUN]);
    show(null);
    await realtime.settle();
    expect(realtime.presentOn()).toEqual([]);
  });

  test("a server renders nobody", () => {
    expect(renderToString(within(<Avatars />))).toBe("<p>|0</p>");
  });
});

test("the store is for any framework", async () => {
  const counts: number[] = [];
  const store = presenceStore(realtime.client, RUN);
  const leave = store.subscribe(({ count }) => counts.push(count));
  await realtime.presence(RUN, [ADA, BOB]);
  expect(realtime.presentOn()).toEqual([RUN]);
  leave();
  await realtime.settle();
  expect([counts.at(-1), realtime.presentOn(), store.get().fresh]).toEqual([2, [], false]);
});
