"""Runs checks with the websockets package, version 10 or later.

    python3 client.py ws://host:port [deflate] [http://host:port/page]

Prints a line for each check, "ok NAME" or "failed NAME: ERROR".
"""

import asyncio
import random
import sys
import urllib.request

from websockets.legacy.client import connect as legacy_connect

URL = sys.argv[1]
DEFLATE = "deflate" in sys.argv
PAGE = next((arg for arg in sys.argv if arg.startswith("http://")), None)
MIB = 1 << 20


def connect(path="/", **options):
    return legacy_connect(URL + path, max_size=4 * MIB, ping_interval=None, **options)


def noise(size):
    """Bytes that do not compress, the same each time."""
    return random.Random(1).randbytes(size)


def digits(size):
    """Text that compresses to a bit less than half of it."""
    return "".join(random.Random(1).choices("0123456789", k=size))


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {str(got)[:80]}, want {str(want)[:80]}")


async def echo(socket, *messages):
    for message in messages:
        await socket.send(message)
        got = await socket.recv()
        equal(type(got), type(message), "type")
        equal(got, message, f"{len(message)} characters or bytes")


def extensions(socket):
    return [extension.name for extension in socket.extensions]


async def text():
    async with connect() as socket:
        await echo(socket, "hello", "Grüße, 世界 🌍", "x" * 126, "y" * 65536, "")


async def binary():
    async with connect() as socket:
        await echo(socket, *(noise(size) for size in (0, 1, 125, 126, 65535, 65536, MIB)))


async def sizes():
    async with connect() as socket:
        for size in (0, 125, 126, 65536, MIB):
            await echo(socket, digits(size), digits(size).encode())


def fetch():
    with urllib.request.urlopen(PAGE) as response:
        equal(response.read(), b"an ordinary page", "page")


async def page():
    await asyncio.to_thread(fetch)
    async with connect() as socket:
        await asyncio.to_thread(fetch)
        await echo(socket, "beside a page")
    await asyncio.to_thread(fetch)


async def fragments():
    async with connect() as socket:
        message = noise(MIB)
        await socket.send(message[i : i + (1 << 16)] for i in range(0, MIB, 1 << 16))
        equal(await socket.recv(), message, "binary message")
        await socket.send(["first, ", "", "last"])
        equal(await socket.recv(), "first, last", "text message")


async def order():
    async with connect() as socket:
        for i in range(200):
            await socket.send(f"message {i}")
        for i in range(200):
            equal(await socket.recv(), f"message {i}", "echo")


async def ping():
    async with connect() as socket:
        for payload in ("", "are you there?", "p" * 125):
            # What it returns is done when a pong with this payload arrives.
            await (await socket.ping(payload))
        await echo(socket, "still here")


async def close_codes():
    for code in (1000, 1001, 3000, 4999):
        socket = await connect()
        await socket.close(code, "enough – genug")
        equal(socket.close_code, code, "code")
        equal(socket.close_reason, "enough – genug", "reason")


async def subprotocol():
    for path in ("/", "/broadcast"):
        async with connect(path) as socket:
            equal(socket.subprotocol, None, "none offered")
        async with connect(path, subprotocols=["chat", "echo", "superchat"]) as socket:
            equal(socket.subprotocol, "echo", "three offered")
            await echo(socket, "spoken")


async def deflate():
    for path in ("/", "/broadcast"):
        async with connect(path) as socket:  # which offers it
            equal(extensions(socket), ["permessage-deflate"] if DEFLATE else [], "extensions")
            await echo(socket, "a", "a", "again, again and again", "again, again and again")
    async with connect() as socket:
        await echo(socket, "z" * MIB, digits(MIB), noise(MIB), noise(MIB))


async def no_deflate():
    async with connect(compression=None) as socket:
        equal(extensions(socket), [], "extensions")
        await echo(socket, "plain " * 500)


CHECKS = [text, binary, sizes, fragments, order, ping, close_codes, subprotocol, deflate, no_deflate]
if PAGE:
    CHECKS.append(page)


async def main():
    for check in CHECKS:
        try:
            await asyncio.wait_for(check(), 30)
            print("ok", check.__name__, flush=True)
        except asyncio.TimeoutError:
            print(f"failed {check.__name__}: no end within 30 s", flush=True)
        except Exception as err:
            print(f"failed {check.__name__}: {err!r}", flush=True)


asyncio.run(main())
