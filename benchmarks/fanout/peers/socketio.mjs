// Socket.IO, WebSockets only: `emit` to everybody.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { message, obey, ports } from "./control.mjs";

const [port, control] = ports;
const http = createServer();
const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false, pingInterval: 600_000 });
http.listen({ port, host: "127.0.0.1", backlog: 4096 }, () =>
  obey(control, (count) => {
    for (let number = 0; number < count; number++) server.emit("bench_update", message(number));
  }),
);
