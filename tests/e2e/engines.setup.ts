/** What an engine cannot do, by the name of the test, with the reason: these are skipped there, all others run. */
import { beforeEach } from "vitest";

const CLOSES_FOR_GOOD = "Firefox closes an EventSource of another origin for good after one refused reconnect (the client uses fetch)";

// With network.websocket.delay-failed-reconnects off both pass.
const DELAYED = "Firefox delays a WebSocket to a host that has refused some, longer each time: the page has a stream until its next connection";

const CANNOT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  firefox: {
    "an EventSource with credentials of a listed origin receives, and resumes after the server was killed": CLOSES_FOR_GOOD,
    "once WebSockets come through, the next connection is one": DELAYED,
    "after an outage of some seconds a page has a WebSocket again, and the next page begins with one": DELAYED,
  },
};

beforeEach(({ task, skip }) => {
  const reason = CANNOT[process.env["ENGINE"] ?? ""]?.[task.name];
  if (reason !== undefined) skip(reason);
});
