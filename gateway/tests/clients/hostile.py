"""Peers that break TLS, made with the library `tlslite-ng`: after each, who was connected before is
still served, and the process has hardly grown. Arguments: port of a gateway of this host that serves
`a.example`, and its process."""

import os
import socket
import struct
import sys
import threading

import tlslite.messages as messages
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import ContentType, KeyUpdateMessageType
from tlslite.extensions import TLSExtension
from tlslite.messages import ClientHello, Message, RecordHeader3

# how long a peer may be kept, in seconds: the handshake has ten
PATIENCE = 13
# what one case may add to the process, in KiB: the kernel gives memory in pieces of 2 MiB
GROWTH_KIB = 4096
ASK = b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"
HANDSHAKE, ALERT, CCS, DATA = 22, 21, 20, 23

port, pid = int(sys.argv[1]), int(sys.argv[2])


def connect():
    line = socket.create_connection(("127.0.0.1", port), PATIENCE)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def resident():
    with open(f"/proc/{pid}/status") as status:
        return next(int(row.split()[1]) for row in status if row.startswith("VmRSS:"))


def record(kind, payload, version=0x0301, length=None):
    return struct.pack(">BHH", kind, version, len(payload) if length is None else length) + payload


class Tap:
    """Stands for a socket, and keeps what is sent."""

    def __init__(self):
        self.sent = b""

    def sendall(self, data):
        self.sent += bytes(data)

    def send(self, data):
        self.sendall(data)
        return len(data)

    def recv(self, _):
        raise BlockingIOError

    def __getattr__(self, _):
        return lambda *_: None


def settings(version=None):
    chosen = HandshakeSettings()
    if version:
        chosen.minVersion = chosen.maxVersion = version
    return chosen


def hello(version=None):
    """A ClientHello as its message, without the record around it."""
    tap = Tap()
    try:
        TLSConnection(tap).handshakeClientCert(serverName="a.example", settings=settings(version))
    except Exception:  # there is no answer
        pass
    return tap.sent[5 : 5 + struct.unpack(">H", tap.sent[3:5])[0]]


def with_extensions(change, version=None):
    """A ClientHello whose list of extensions was changed."""
    parsed = ClientHello()
    from tlslite.utils.codec import Parser

    whole = hello(version)
    parser = Parser(bytearray(whole[1:]))
    parsed.parse(parser)
    parsed.extensions = change(list(parsed.extensions))
    return bytes(parsed.write())


def extension(number, payload):
    return TLSExtension(extType=number).create(number, bytearray(payload))


def without(number):
    return lambda list: [one for one in list if one.extType != number]


def plus(number, payload):
    return lambda list: without(number)(list) + [extension(number, payload)]


def verdict(line):
    """How the gateway ends it: `alert`, `closed`, or `alive` when it does not."""
    seen = b""
    try:
        line.settimeout(PATIENCE)
        while chunk := line.recv(65536):
            seen += chunk
    except TimeoutError:
        return "alive"
    except OSError:
        pass  # a reset, or the library has closed it already
    # the last record that can be told apart
    at = 0
    while at + 5 <= len(seen):
        kind, _, length = struct.unpack(">BHH", seen[at : at + 5])
        if kind == ALERT:
            return "alert"
        at += 5 + length
    return "closed"


def raw(*parts, end=False):
    """Sends bytes on a new connection, then nothing more; the end of the line too if `end`."""

    def case():
        with connect() as line:
            try:
                for part in parts:
                    line.sendall(part() if callable(part) else part)
                if end:
                    line.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # sent away meanwhile
            return verdict(line)

    return case


def framed(message, version=0x0301):
    return lambda: record(HANDSHAKE, message() if callable(message) else message, version)


def session(version=None):
    line = connect()
    connection = TLSConnection(line)
    connection.handshakeClientCert(serverName="a.example", settings=settings(version))
    # what follows comes beside the library
    return connection, line


def shaken(act, version=None, end=False):
    """Does something on a connection whose handshake is done, and sees how it ends."""

    def case():
        connection, line = session(version)
        try:
            act(connection, line)
            if end:
                line.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # sent away meanwhile
        try:
            return verdict(line)
        finally:
            line.close()

    return case


def sealed(kind, payload):
    def act(connection, _):
        for _ in connection._recordLayer.sendRecord(Message(kind, bytearray(payload))):
            pass

    return act


def often(count, act):
    def all(connection, line):
        for _ in range(count):
            act(connection, line)

    return all


def key_update(connection, _):
    for _ in connection.send_keyupdate_request(KeyUpdateMessageType.update_requested):
        pass


def renegotiate(connection, line):
    sealed(HANDSHAKE, hello((3, 3)))(connection, line)


def spoiled_finished(version):
    """A handshake whose Finished is wrong by one bit."""

    def case():
        right = messages.Finished.write

        def wrong(self):
            bytes_ = right(self)
            bytes_[-1] ^= 1
            return bytes_

        messages.Finished.write = wrong
        try:
            connection, line = session(version)
        except Exception:
            return "alert"  # TLS 1.2 hears of it in the handshake
        finally:
            messages.Finished.write = right
        return verdict(line)

    return case


def spoiled_ticket():
    """A session is taken up again with a binder that is wrong by one bit."""
    line = connect()
    first = TLSConnection(line)
    first.handshakeClientCert(serverName="a.example", settings=settings((3, 4)))
    first.write(ASK)
    first.read(max=1)  # tickets come with it
    assert first.session.tickets, "no ticket came"
    tap = Tap()
    try:
        again = TLSConnection(tap)
        again.handshakeClientCert(serverName="a.example", session=first.session, settings=settings())
    except Exception:
        pass
    line.close()
    message = bytearray(tap.sent[5 : 5 + struct.unpack(">H", tap.sent[3:5])[0]])
    message[-1] ^= 1  # the binder comes last
    return raw(record(HANDSHAKE, bytes(message)))()


def early_data():
    """Data in the first flight, which nobody asked for, without end."""
    message = with_extensions(lambda list: [extension(42, b"")] + list, (3, 4))
    noise = record(DATA, os.urandom(4096), 0x0303)
    return raw(record(HANDSHAKE, message), *[noise] * 256)()


def off_the_curve():
    share = struct.pack(">HHH", 69, 23, 65) + b"\x04" + b"\x07" * 64
    return with_extensions(plus(51, share), (3, 4))


def of_low_order():
    share = plus(51, struct.pack(">HHH", 36, 29, 32) + bytes(32))
    only = plus(10, struct.pack(">HH", 2, 29))
    return with_extensions(lambda list: share(only(list)), (3, 4))


def patched(at, value):
    """A ClientHello with another byte at this place."""

    def message(whole=None):
        changed = bytearray(whole or hello())
        changed[at] = value
        return bytes(changed)

    return message


def names(*entries):
    list_ = b"".join(struct.pack(">BH", 0, len(name)) + name for name in entries)
    return with_extensions(plus(0, struct.pack(">H", len(list_)) + list_))


def a_ticket():
    identity = struct.pack(">HH", 10, 4) + b"abcd" + bytes(4)
    binder = struct.pack(">HB", 33, 32) + bytes(32)
    return with_extensions(plus(41, identity + binder), (3, 4))


def in_records_of_one():
    return b"".join(record(HANDSHAKE, bytes([byte])) for byte in hello())


WARNING = record(ALERT, b"\x01\x5a", 0x0303)
# each ends by itself; where it may live, the client ends it
CASES = {
    "nothing": raw(b""),
    "half a hello": raw(lambda: record(HANDSHAKE, hello())[:100]),
    "a hello, then nothing": raw(framed(hello)),
    "a hello that is cut": raw(lambda: record(HANDSHAKE, hello())[:-7]),
    "a hello and the end": raw(framed(hello), end=True),
    "records of one byte": raw(in_records_of_one, end=True),
    "a record too long": raw(record(HANDSHAKE, b"\x01" * 16385)),
    "a length of 65535": raw(record(HANDSHAKE, b"\x01" * 70000, length=65535)),
    "a thousand empty records": raw(record(HANDSHAKE, b"") * 1000),
    "empty data first": raw(record(DATA, b"") * 100),
    "change cipher spec first": raw(record(CCS, b"\x01") * 100),
    "a thousand warnings first": raw(WARNING * 1000),
    "an unknown alert": raw(record(ALERT, b"\x03\xff", 0x0303)),
    "an alert of one byte": raw(record(ALERT, b"\x02", 0x0303)),
    "SSL 2": raw(b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37)),
    "SSL 3": raw(framed(lambda: patched(5, 0)(hello((3, 3))), 0x0300)),
    "TLS 1.0": raw(framed(lambda: hello((3, 1)))),
    "TLS 1.1": raw(framed(lambda: hello((3, 2)))),
    "cleartext": raw(ASK),
    "noise": raw(os.urandom(16384)),
    "a server's hello": raw(framed(patched(0, 2))),
    "finished first": raw(framed(b"\x14\x00\x00\x20" + bytes(32))),
    "a message of 16 MiB": raw(record(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(9000)) * 9),
    "a session id of 255": raw(framed(patched(38, 255))),
    "extensions too long": raw(framed(lambda: hello()[:-1])),
    "no extensions": raw(framed(lambda: with_extensions(lambda _: []))),
    "an extension twice": raw(framed(lambda: with_extensions(lambda l: l + l[:1]))),
    "no versions": raw(framed(lambda: with_extensions(plus(43, b"\x00"), (3, 4)))),
    "no shares": raw(framed(lambda: with_extensions(plus(51, b"\x00\x00"), (3, 4))), end=True),
    "a share off the curve": raw(framed(off_the_curve)),
    "a share of low order": raw(framed(of_low_order)),
    "no signatures": raw(framed(lambda: with_extensions(plus(13, b"\x00\x00"), (3, 4)))),
    "a name with NUL": raw(framed(lambda: names(b"a.example\x00.evil"))),
    "an empty name": raw(framed(lambda: names(b""))),
    "two names": raw(framed(lambda: names(b"a.example", b"b.example"))),
    "a ticket of nobody": raw(framed(a_ticket), end=True),
    "a binder that is wrong": spoiled_ticket,
    "early data": early_data,
    "a hello twice": raw(framed(hello), framed(hello)),
    "a wrong Finished": spoiled_finished((3, 4)),
    "a wrong Finished of TLS 1.2": spoiled_finished((3, 3)),
    "5,000 key updates": shaken(often(5000, key_update), (3, 4)),
    "2,000 empty records": shaken(often(2000, sealed(DATA, b"")), (3, 4)),
    "a record of 16,385": shaken(sealed(DATA, bytes(16385)), (3, 4)),
    "noise for a record": shaken(lambda _, line: line.sendall(record(DATA, os.urandom(64), 0x0303)), (3, 4)),
    "cleartext after all": shaken(lambda _, line: line.sendall(record(ALERT, b"\x02\x00", 0x0303)), (3, 4)),
    "change cipher spec after all": shaken(lambda _, line: line.sendall(record(CCS, b"\x01", 0x0303) * 100), (3, 4)),
    "sealed warnings": shaken(often(1000, sealed(ALERT, b"\x01\x5a")), (3, 3)),
    "a sealed unknown alert": shaken(sealed(ALERT, b"\x03\x6f"), (3, 4)),
    "a heartbeat": shaken(sealed(ContentType.heartbeat, b"\x01\x40\x00"), (3, 3)),
    "a message of no type": shaken(sealed(HANDSHAKE, b"\x63\x00\x00\x00"), (3, 4)),
    "a ticket from the client": shaken(sealed(HANDSHAKE, b"\x04\x00\x00\x0d" + bytes(13)), (3, 4)),
    "another handshake": shaken(renegotiate, (3, 3), end=True),
    "another handshake in TLS 1.3": shaken(renegotiate, (3, 4)),
}


def run(names_):
    wrong = []

    def one(name):
        try:
            if CASES[name]() == "alive":
                wrong.append(f"{name}: it is let live")
        except Exception as error:
            wrong.append(f"{name}: {error!r}")

    # those that wait for the gateway's patience wait together
    waiting = [threading.Thread(target=one, args=[name]) for name in names_ if name in SLOW]
    [thread.start() for thread in waiting]
    for name in names_:
        if name in SLOW:
            continue
        before = resident()
        one(name)
        good.write(ASK)
        seen = b""
        while not seen.endswith(b"\r\n\r\nok"):
            chunk = good.read(max=1000)
            assert chunk, f"the good connection ended at: {name}"
            seen += bytes(chunk)
        if measured and resident() - before > GROWTH_KIB:
            wrong.append(f"{name}: the process grew by {resident() - before} KiB")
    [thread.join() for thread in waiting]
    return wrong


SLOW = (
    "nothing",
    "half a hello",
    "a hello, then nothing",
    "a hello that is cut",
    "extensions too long",
)
good, _ = session()
measured = False
first = run([name for name in CASES if name not in SLOW])
# what serving as such takes, it has taken by now
measured = True
wrong = sorted({*first, *run(list(CASES))})
print("\n".join(wrong) if wrong else "ok")
