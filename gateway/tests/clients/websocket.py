"""A WebSocket by the library `websockets`: text, binary and long messages, ping, close. Arguments:
address of the gateway, address to serve the other end on."""

import asyncio
import sys

import websockets.exceptions
import websockets.asyncio.client as client
import websockets.asyncio.server as server


async def echo(socket):
    try:
        while True:
            await socket.send(await socket.recv())
    except websockets.exceptions.ConnectionClosed:
        pass
    assert socket.close_code == 4000, socket.close_code


async def main(gateway, origin):
    host, port = origin.rsplit(":", 1)
    async with server.serve(echo, host, int(port), max_size=None):
        async with client.connect(f"ws://{gateway}/x", max_size=None) as socket:
            for message in ["hello", b"\x00\xff", "long" * 250_000]:
                await socket.send(message)
                assert await socket.recv() == message
            await (await socket.ping())
            await socket.close(4000, "enough")
        assert socket.close_code == 4000, socket.close_code
    print("ok")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
