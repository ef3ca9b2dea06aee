// Node's `ws`: a loop over the server's clients.

import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { message, obey, ports } from "./control.mjs";

const [port, control] = ports;
const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
http.listen({ port, host: "127.0.0.1", backlog: 4096 }, () =>
  obey(control, (count) => {
    for (let number = 0; number < count; number++) {
      const data = Buffer.from(message(number));
      for (const client of server.clients) client.send(data, { binary: false });
    }
  }),
);
