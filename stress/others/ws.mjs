// `ws`, as its manual has it: no compression, the text of a frame made once for everybody.

import { WebSocketServer } from "ws";
import { Room, port } from "./room.mjs";

const room = new Room();
const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate: false, backlog: 4096 });

server.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(JSON.stringify(room.take(socket, JSON.parse(data)))));
  socket.on("error", () => {});
  socket.send(JSON.stringify(room.state()));
  socket.send(JSON.stringify(room.tally()));
});

room.everyTick((tally) => {
  const text = JSON.stringify(tally);
  for (const socket of server.clients) socket.send(text);
});
