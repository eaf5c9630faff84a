"""A second peer: what Python's `websockets`, which is not ours and does not know us, makes of a real server.

Each claim is a function named after it. The server is `bareme demo` on the loopback; its process is looked at from
outside, through /proc, to see whether sockets are really released.

    python peer.py ws://127.0.0.1:PORT/ws/demo PID
"""

import asyncio
import json
import os
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL, PID = sys.argv[1], int(sys.argv[2])
# Nothing here takes the server longer, on a machine that has other things to do.
PATIENCE_S = 10
CROWD = 200


def open_files():
    return len(os.listdir(f"/proc/{PID}/fd"))


# Before the first socket: one that is closed may stay for a moment, and must not be counted as the server's own.
FILES_AT_FIRST = open_files()


async def hear(socket, wanted):
    """The next message of a type; others may come before it."""
    while True:
        message = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        if message["t"] == wanted:
            return message


async def joined(**options):
    socket = await connect(URL, open_timeout=PATIENCE_S, close_timeout=PATIENCE_S, **options)
    await hear(socket, "welcome")
    state = await hear(socket, "state")
    await hear(socket, "tally")
    return socket, state["live"]


last_v = 0


def note(live, score):
    global last_v
    last_v = max(last_v + 1, time.time_ns() // 1000)
    jeu = next(entry["jeu_id"] for entry in live["programme"] if entry["phase"] == "open")
    scores = {critere["key"]: critere["min"] for critere in live["bareme"]["criteres"]}
    scores[live["bareme"]["criteres"][0]["key"]] = score
    message = {"t": "note", "live": live["live_id"], "jeu": jeu, "v": last_v, "scores": scores}
    return last_v, json.dumps(message)


async def closed_with(socket):
    """The code that the server closes with, whatever it still says before."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
    except ConnectionClosed:
        return socket.close_code


async def whoever_joins_is_shown_the_channel_its_live_and_its_numbers():
    socket = await connect(URL)
    order = [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["t"] for _ in range(3)]
    assert order == ["welcome", "state", "tally"], order
    await socket.close()


async def an_offered_compression_is_declined():
    socket = await connect(URL, compression="deflate")
    assert "Sec-WebSocket-Extensions" not in socket.response.headers, socket.response.headers
    await hear(socket, "state")
    await socket.close()


async def a_note_is_acknowledged_under_its_version():
    socket, live = await joined(compression=None)
    v, text = note(live, 3)
    await socket.send(text)
    reply = await hear(socket, "reply")
    assert (reply["v"], reply["status"]) == (v, "ok"), reply
    await socket.close()


async def many_notes_sent_at_once_are_answered_in_order():
    socket, live = await joined(compression=None)
    sent = []
    for number in range(20):
        v, text = note(live, 1 + number % 5)
        sent.append(v)
        await socket.send(text)
    replies = [await hear(socket, "reply") for _ in sent]
    assert [reply["v"] for reply in replies] == sent, replies
    await socket.close()


async def a_note_in_fragments_is_one_note():
    socket, live = await joined(compression=None)
    v, text = note(live, 5)
    await socket.send([text[:1], text[1:40], "", text[40:]])
    reply = await hear(socket, "reply")
    assert (reply["v"], reply["status"]) == (v, "ok"), reply
    await socket.close()


async def a_ping_between_fragments_is_answered_at_once():
    socket, live = await joined(compression=None)
    v, text = note(live, 4)

    async def fragments():
        yield text[:10]
        pong = await socket.ping(b"in between")
        await asyncio.wait_for(pong, PATIENCE_S)
        yield text[10:]

    await socket.send(fragments())
    reply = await hear(socket, "reply")
    assert (reply["v"], reply["status"]) == (v, "ok"), reply
    await socket.close()


async def pings_are_answered_with_their_bytes():
    socket, _ = await joined(compression=None)
    for payload in [b"", b"x", bytes(range(125))]:
        pong = await socket.ping(payload)
        await asyncio.wait_for(pong, PATIENCE_S)
    await socket.close()


async def a_goodbye_is_answered_with_a_goodbye():
    socket, _ = await joined(compression=None)
    await asyncio.wait_for(socket.close(1000, "that was it"), PATIENCE_S)
    assert socket.close_code == 1000, socket.close_code
    assert socket.protocol.close_rcvd is not None, "the server went away without its close frame"


async def what_is_refused_is_closed_with_its_code():
    for data, expected in [(b"\x00\x01", 1003), ("x" * 4097, 1009)]:
        socket, _ = await joined(compression=None)
        await socket.send(data)
        code = await closed_with(socket)
        assert code == expected, f"{code} instead of {expected}"


async def a_message_is_taken_up_to_its_limit_and_not_beyond():
    socket, live = await joined(compression=None)
    v, text = note(live, 2)
    await socket.send(text + " " * (4096 - len(text)))
    reply = await hear(socket, "reply")
    assert (reply["v"], reply["status"]) == (v, "ok"), reply
    await socket.send([" " * 4096, " "])
    code = await closed_with(socket)
    assert code == 1009, code


async def text_that_is_not_utf_8_is_closed_with_1007():
    socket, _ = await joined(compression=None)
    async with socket.send_context():
        socket.protocol.send_text(b"\xc3\x28")
    code = await closed_with(socket)
    assert code == 1007, code


async def released(what):
    """Waits until the server has as few open files as at first; its own files may come and go by a few."""
    deadline = time.monotonic() + PATIENCE_S
    while open_files() > FILES_AT_FIRST + 5:
        assert time.monotonic() < deadline, f"{what}: {open_files()} open files, {FILES_AT_FIRST} at first"
        await asyncio.sleep(0.05)


async def sockets_are_released_after_they_are_closed_and_after_they_vanish():
    await released("after all that was before")
    crowd = [await joined(compression=None) for _ in range(CROWD)]
    assert open_files() >= FILES_AT_FIRST + CROWD, "the server's files are not what is counted"
    await asyncio.gather(*(socket.close() for socket, _ in crowd))
    await released("after a close handshake")
    crowd = [await joined(compression=None) for _ in range(CROWD)]
    for socket, _ in crowd:
        socket.transport.abort()
    await released("after connections were cut")


CLAIMS = [
    whoever_joins_is_shown_the_channel_its_live_and_its_numbers,
    an_offered_compression_is_declined,
    a_note_is_acknowledged_under_its_version,
    many_notes_sent_at_once_are_answered_in_order,
    a_note_in_fragments_is_one_note,
    a_ping_between_fragments_is_answered_at_once,
    pings_are_answered_with_their_bytes,
    a_goodbye_is_answered_with_a_goodbye,
    what_is_refused_is_closed_with_its_code,
    a_message_is_taken_up_to_its_limit_and_not_beyond,
    text_that_is_not_utf_8_is_closed_with_1007,
    sockets_are_released_after_they_are_closed_and_after_they_vanish,
]


async def main():
    failed = 0
    for claim in CLAIMS:
        started, name = time.monotonic(), claim.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(claim(), 6 * PATIENCE_S)
            print(f"ok   {time.monotonic() - started:5.2f} s  {name}")
        except Exception as error:
            failed += 1
            print(f"FAIL {time.monotonic() - started:5.2f} s  {name}: {error!r}")
    sys.exit(failed > 0)


asyncio.run(main())
