// Control: the port on which the load client sends `go <n>`, as in control.py.

import { createServer } from "node:net";

const MESSAGE_BYTES = 200;

/** An event of 200 bytes, as JSON. */
export const message = (number) => {
  const head = `{"channel":"bench_update","payload":{"row":7,"version":${number},"pad":"`;
  return head + "x".repeat(MESSAGE_BYTES - head.length - 3) + '"}}';
};

/** Accept orders until the load client disconnects; prints `ready` once it listens. */
export const obey = (port, go) => {
  const server = createServer((socket) => {
    socket.on("data", (data) => {
      for (const line of data.toString().trim().split("\n")) go(Number(line.split(" ")[1]));
    });
    socket.on("close", () => process.exit(0));
  });
  server.listen(port, "127.0.0.1", () => console.log("ready"));
};

/** The ports that the runner chose: for WebSockets and for orders. */
export const ports = process.argv.slice(2).map(Number);
