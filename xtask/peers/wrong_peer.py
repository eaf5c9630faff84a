"""A peer that does it wrong: each row sends bytes that RFC 6455 forbids, or allows at its edge, and names the code that
has to come back. Nothing but sockets of the standard library, so that no library puts it right on the way.

    python wrong_peer.py HOST PORT PID
"""

import base64
import json
import os
import socket
import struct
import sys
import time

HOST, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PATIENCE_S = 10
MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, length=None):
    """One frame; `length` announces another length than the payload has."""
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def code(number, reason=b""):
    return struct.pack(">H", number) + reason


class Peer:
    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""

    def join(self):
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws/demo HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = self.until(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n")[0], head
        return self

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the connection ended")
        self.bytes += data

    def until(self, end):
        while end not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(end, 1)
        return head

    def take(self, count):
        while len(self.bytes) < count:
            self.more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def hear(self):
        """The next frame of the server: opcode and payload."""
        first, second = self.take(2)
        assert first & 0x70 == 0 and second & 0x80 == 0, "a frame of the server is not as it should be"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.take(8))
        return first & 0x0F, self.take(length)

    def goodbye(self):
        """The code of the close frame, and that the connection ends behind it."""
        while True:
            opcode, payload = self.hear()
            if opcode == CLOSE:
                break
        number = struct.unpack(">H", payload[:2])[0] if payload else None
        try:
            while True:
                self.hear()
                raise AssertionError("something comes behind the close frame")
        except (EOFError, ConnectionResetError):
            pass
        return number

    def reply(self):
        while True:
            opcode, payload = self.hear()
            assert opcode != CLOSE, f"closed with {payload!r}"
            if opcode == TEXT and json.loads(payload)["t"] == "reply":
                return json.loads(payload)

    def end(self):
        self.socket.close()


long_text = b"x" * 4097
e_acute = "é".encode()

# What is sent after the handshake, and the code that has to come back.
WRONG = [
    ("a frame without a mask", frame(TEXT, b"{}", masked=False), 1002),
    ("reserved bit 1 without an extension", frame(TEXT, b"{}", reserved=4), 1002),
    ("reserved bit 3 of a ping", frame(PING, b"", reserved=1), 1002),
    ("an unknown data opcode", frame(3, b"x"), 1002),
    ("an unknown control opcode", frame(11, b"x"), 1002),
    ("a ping in fragments", frame(PING, b"x", fin=False), 1002),
    ("a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    ("a goodbye of 126 bytes", frame(CLOSE, code(1000, b"x" * 124)), 1002),
    ("a continuation of nothing", frame(CONTINUATION, b"x"), 1002),
    ("a text within a message", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    ("text that is not UTF-8", frame(TEXT, b"\xc3\x28"), 1007),
    ("a surrogate in UTF-8", frame(TEXT, b"\xed\xa0\x80"), 1007),
    ("text that ends within a character", frame(TEXT, b"caf" + e_acute[:1]), 1007),
    ("fragments that end within a character", frame(TEXT, b"a", fin=False) + frame(CONTINUATION, e_acute[:1]), 1007),
    ("binary", frame(BINARY, b"\x00"), 1003),
    ("a message of 4,097 bytes", frame(TEXT, long_text), 1009),
    ("the head of a frame of a terabyte", frame(TEXT, b"", length=1 << 40), 1009),
    ("fragments of 4,097 bytes", frame(TEXT, long_text[:4000], fin=False) + frame(CONTINUATION, long_text[:97]), 1009),
    ("a goodbye of one byte", frame(CLOSE, b"\x03"), 1002),
    ("a goodbye with code 999", frame(CLOSE, code(999)), 1002),
    ("a goodbye with code 1005, which is never sent", frame(CLOSE, code(1005)), 1002),
    # Both are in use; RFC 6455 names 1007 for messages, and 1002 for what a frame must not be.
    ("a goodbye with a reason that is not UTF-8", frame(CLOSE, code(1000, b"\xff")), (1007, 1002)),
]

# Edges that are in order.
RIGHT_GOODBYES = [
    ("a goodbye without a code", frame(CLOSE), (1000, None)),
    ("a goodbye with a code of an application", frame(CLOSE, code(4321, b"bye")), (1000, 4321)),
    # The portable path looks at sizes before it reads messages: rubbish that comes with the goodbye is too big a frame.
    ("a goodbye, and rubbish behind it", frame(CLOSE, code(1000)) + b"\xff" * 20, (1000, 1009)),
]

REQUEST = f"GET /ws/demo HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n"
NO_HANDSHAKE = [
    ("no key", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
    ("no version", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    ("another version", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    ("no upgrade", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
]


def wrong(bytes_, expected):
    peer = Peer().join()
    peer.socket.sendall(bytes_)
    got = peer.goodbye()
    peer.end()
    assert got in (expected if isinstance(expected, tuple) else (expected,)), f"{got} instead of {expected}"


def answered_when_it_comes_byte_by_byte():
    peer = Peer().join()
    for byte in frame(TEXT, b'{"t":', fin=False) + frame(PING, b"p") + frame(CONTINUATION, '"é"}'.encode()):
        peer.socket.sendall(bytes([byte]))
    assert peer.reply()["status"] == "invalid"
    peer.end()


def answered_when_many_come_in_one_write():
    peer = Peer().join()
    peer.socket.sendall(frame(TEXT, b"{}") * 5 + frame(PONG, b"nobody asked") + frame(TEXT, b"{}") * 5)
    for _ in range(10):
        assert peer.reply()["status"] == "invalid"
    peer.end()


def answered_when_frames_come_with_the_handshake():
    peer = Peer()
    peer.socket.sendall(
        (REQUEST + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n").encode()
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame(TEXT, b"{}")
    )
    assert b" 101 " in peer.until(b"\r\n\r\n")
    assert peer.reply()["status"] == "invalid"
    peer.end()


def refused(headers):
    peer = Peer()
    peer.socket.sendall((REQUEST + headers + "\r\n").encode())
    status = int(peer.until(b"\r\n").split()[1])
    peer.end()
    assert 400 <= status < 500, status


def open_files():
    return len(os.listdir(f"/proc/{PID}/fd"))


def released(before):
    deadline = time.monotonic() + PATIENCE_S
    while open_files() > before + 5:
        assert time.monotonic() < deadline, f"{open_files()} open files, {before} before"
        time.sleep(0.05)


def main():
    before = open_files()
    rows = [(f"{name} is closed with {expected}", lambda b=b, e=expected: wrong(b, e)) for name, b, expected in WRONG]
    rows += [(f"{name} is answered with {expected}", lambda b=b, e=expected: wrong(b, e)) for name, b, expected in RIGHT_GOODBYES]
    rows += [(f"a request with {name} is refused", lambda h=headers: refused(h)) for name, headers in NO_HANDSHAKE]
    whole = [
        answered_when_it_comes_byte_by_byte,
        answered_when_many_come_in_one_write,
        answered_when_frames_come_with_the_handshake,
    ]
    rows += [(claim.__name__.replace("_", " "), claim) for claim in whole]
    rows.append(("every socket is released", lambda: released(before)))
    failed = 0
    for name, row in rows:
        try:
            row()
            print(f"ok   {name}")
        except Exception as error:
            failed += 1
            print(f"FAIL {name}: {error!r}")
    sys.exit(failed > 0)


main()
