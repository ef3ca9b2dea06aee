/** Settling: a transaction has been delivered. */
import { describe, expect, test } from "vitest";
import { event, hello, Page, point, subscribed } from "./server.js";

describe("settle", () => {
  test("it is answered once the server says so", () => {
    const { page } = Page.live();
    page.settle("757");
    expect(page.take("send")).toEqual([{ settle: "757" }]);
    page.server(event(1), point("c1", 1));
    expect(page.take("settled")).toEqual([]);
    page.server({ settled: "757", cursor: "c1" });
    expect(page.take("settled")).toEqual(["757"]);
    page.server({ settled: "757", cursor: "c1" });
    expect(page.take("settled")).toEqual([]);
  });

  test("it is asked only when every subscription is answered", () => {
    const { page } = Page.live();
    page.subscribe("system", "old");
    page.take();
    page.settle("757");
    expect(page.take("send")).toEqual([]);
    page.server(subscribed(2, "c0", 0, ["system"]));
    expect(page.take("send")).toEqual([{ settle: "757" }]);
  });

  test("what is asked while a subscription catches up is not answered by the answer to an earlier question", () => {
    const { page } = Page.live();
    page.settle("757");
    page.subscribe("system", "old");
    page.settle("757").take();
    page.server({ settled: "757", cursor: "c1" });
    expect(page.effects.filter(([name]) => name === "settled")).toHaveLength(1);
    page.take();
    page.server(subscribed(2, "c1", 0, ["system"]));
    expect(page.take("send")).toEqual([{ settle: "757" }]);
    expect(page.server({ settled: "757", cursor: "c1" }).take("settled")).toEqual(["757"]);
  });

  test("after a reconnect it is asked again, behind the resume", () => {
    const { page } = Page.live();
    page.settle("757").lose().take();
    page.timer().open().server(hello(), subscribed(2, "c0"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c0", ref: 2 }, { settle: "757" }]);
  });

  test("without any subscription it connects by itself", () => {
    const page = new Page();
    expect(page.settle("757").take("connect")).toEqual([false]);
    expect(page.open().server(hello()).take("send")).toEqual([{ settle: "757" }]);
  });

  test("when the client stops, nobody waits for ever", () => {
    const { page } = Page.live();
    page.settle("757").lose(4500);
    expect(page.take("settled")).toMatchObject([["757", { code: "stopped" }]]);
    page.settle("758");
    expect(page.take("settled")).toMatchObject([["758", { code: "stopped" }]]);
  });
});
