"""Early data (0-RTT) by aioquic: a second connection with the session and the token of the first,
whose request goes with the first packets. Arguments: host, port."""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.status = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        for event in self.http.handle_event(event) if self.http else []:
            if isinstance(event, HeadersReceived) and not self.status.done():
                self.status.set_result(dict(event.headers)[b":status"])

    async def get(self):
        self.http = H3Connection(self._quic)
        stream = self._quic.get_next_available_stream_id()
        head = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"a.example"),
            (b":path", b"/small"),
        ]
        self.http.send_headers(stream, head, end_stream=True)
        self.transmit()
        return await self.status


async def main(host, port):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name="a.example", verify_mode=0
    )
    tickets, tokens = asyncio.Queue(), asyncio.Queue()
    options = dict(configuration=configuration, create_protocol=Client)
    async with connect(
        host,
        port,
        session_ticket_handler=tickets.put_nowait,
        token_handler=tokens.put_nowait,
        **options,
    ) as client:
        assert await client.get() == b"200"
        configuration.session_ticket = await tickets.get()
        configuration.token = await tokens.get()
    assert configuration.session_ticket.max_early_data_size == 0xFFFFFFFF
    async with connect(host, port, wait_connected=False, **options) as client:
        assert await client.get() == b"200"
        assert client._quic.tls.session_resumed
        assert client._quic.tls.early_data_accepted
    print("ok")


host, port = sys.argv[1:]
asyncio.run(asyncio.wait_for(main(host, int(port)), 60))
