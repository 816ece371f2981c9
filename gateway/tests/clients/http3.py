"""HTTP/3 by aioquic: a download of 10 MiB in the midst of which the client's address changes, as
behind a NAT that forgets. Arguments: host, port, bytes expected of /big."""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.streams = {}

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            seen = self.streams[event.stream_id]
            if isinstance(event, HeadersReceived):
                seen["status"] = dict(event.headers)[b":status"]
            if isinstance(event, DataReceived):
                seen["bytes"] += len(event.data)
                if seen["bytes"] >= seen["half"]:
                    seen["halfway"].set()
            if event.stream_ended:
                seen["done"].set()

    def get(self, path, half=0):
        stream = self._quic.get_next_available_stream_id()
        events = (asyncio.Event(), asyncio.Event())
        self.streams[stream] = dict(
            status=None, bytes=0, half=half, halfway=events[0], done=events[1]
        )
        head = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"a.example"),
            (b":path", path),
        ]
        self.http.send_headers(stream, head, end_stream=True)
        self.transmit()
        return self.streams[stream]

    async def rebind(self):
        old = self._transport
        before = old.get_extra_info("sockname")
        loop = asyncio.get_running_loop()
        # The protocol is told of its new transport, and uses it from then on.
        await loop.create_datagram_endpoint(lambda: self, local_addr=(before[0], 0))
        assert self._transport is not old
        assert self._transport.get_extra_info("sockname") != before
        old.abort()


async def main(host, port, size):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name="a.example", verify_mode=0
    )
    async with connect(
        host, port, configuration=configuration, create_protocol=Client
    ) as client:
        big = client.get(b"/big", half=size // 2)
        await big["halfway"].wait()
        await client.rebind()
        await big["done"].wait()
        assert (big["status"], big["bytes"]) == (b"200", size), big
        small = client.get(b"/small")
        await small["done"].wait()
        assert small["status"] == b"200", small
    print("ok")


host, port, size = sys.argv[1:]
asyncio.run(asyncio.wait_for(main(host, int(port), int(size)), 60))
