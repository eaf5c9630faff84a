// Socket.IO 4, as its manual has it: WebSocket only, a broadcast to everybody, votes acknowledged by its callback.

import { Server } from "socket.io";
import { Room, port } from "./room.mjs";

const room = new Room();
const server = new Server({ transports: ["websocket"], perMessageDeflate: false, serveClient: false });

server.on("connection", (socket) => {
  socket.on("note", (message, answer) => answer(room.take(socket, message)));
  socket.emit("state", room.state());
  socket.emit("tally", room.tally());
});

room.everyTick((tally) => server.emit("tally", tally));
server.listen(port);
