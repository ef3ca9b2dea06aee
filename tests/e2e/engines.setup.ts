/** What an engine cannot do, by the name of the test, with the reason: these are skipped there, all others run. */
import { beforeEach } from "vitest";

const CLOSES_FOR_GOOD = "Firefox closes an EventSource of another origin for good after one refused reconnect (the client has its own)";
const ONE_STORAGE = "a session of WebKitWebDriver has one storage, and so one visitor";

const CANNOT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  firefox: {
    "a browser's own EventSource goes on where it was after the server was killed": CLOSES_FOR_GOOD,
    "an EventSource with credentials of a listed origin receives, and resumes after the server was killed": CLOSES_FOR_GOOD,
    "a proxy that holds streams back is reported, and WebSockets are used as soon as they pass":
      "Firefox gives a page no response before its first bytes: a stream that is held back is a server that does not answer",
    "once WebSockets come through, the next connection is one":
      "Firefox delays a WebSocket to a host that has refused some, longer each time: the stream is there first, and is used",
  },
  webkit: {
    "visitors of one run see each other; a second tab is the same visitor, and a reload is no news": ONE_STORAGE,
    "the dashboard shows who looks at it": ONE_STORAGE,
  },
};

beforeEach(({ task, skip }) => {
  const reason = CANNOT[process.env["ENGINE"] ?? ""]?.[task.name];
  if (reason !== undefined) skip(reason);
});
