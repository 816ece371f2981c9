"""gRPC by grpcio on both sides: unary, streams both ways, deadline, cancel. Arguments: address of
the gateway, address to serve the other end on."""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Event()


class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        kinds = {
            "/test.Notes/Echo": grpc.unary_unary_rpc_method_handler(echo),
            "/test.Notes/Chat": grpc.stream_stream_rpc_method_handler(chat),
            "/test.Notes/Count": grpc.unary_stream_rpc_method_handler(count),
            "/test.Notes/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/test.Notes/Wait": grpc.unary_unary_rpc_method_handler(wait),
        }
        return kinds.get(call.method)


def echo(request, context):
    context.set_trailing_metadata([("x-trailer", "kept")])
    return request


def chat(requests, context):
    for request in requests:
        yield request + b"!"


def count(request, context):
    yield from (bytes([i % 256]) * 1_000 for i in range(1_000))


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")


def wait(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(30)
    cancelled.set()
    return b""


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("no error")


def main(gateway, origin):
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Handler()])
    assert server.add_insecure_port(origin) != 0
    server.start()
    with grpc.insecure_channel(gateway) as channel:
        unary = lambda name: channel.unary_unary(f"/test.Notes/{name}")
        for body in [b"", b"hello", b"x" * 3_000_000]:
            answer, call = unary("Echo").with_call(body, timeout=20)
            assert answer == body
            assert dict(call.trailing_metadata())["x-trailer"] == "kept"
        turn = threading.Semaphore(1)

        def notes():
            for i in range(50):
                # The next one is sent when the last was answered: nothing may be held back.
                turn.acquire(timeout=20)
                yield b"note %d" % i

        answers = channel.stream_stream("/test.Notes/Chat")(notes(), timeout=20)
        for i, answer in enumerate(answers):
            assert answer == b"note %d!" % i
            turn.release()
        assert i == 49
        got = list(channel.unary_stream("/test.Notes/Count")(b"", timeout=20))
        assert len(got) == 1_000 and sum(map(len, got)) == 1_000_000
        failed = code_of(lambda: unary("Fail")(b"", timeout=20))
        assert failed == (grpc.StatusCode.FAILED_PRECONDITION, "not now: ü"), failed
        missing = code_of(lambda: unary("Missing")(b"", timeout=20))
        assert missing[0] == grpc.StatusCode.UNIMPLEMENTED, missing
        late = code_of(lambda: unary("Wait")(b"", timeout=0.5))
        assert late[0] == grpc.StatusCode.DEADLINE_EXCEEDED, late
        assert cancelled.wait(20)
        cancelled.clear()
        call = unary("Wait").future(b"", timeout=30)
        threading.Timer(0.3, call.cancel).start()
        try:
            call.result()
            raise AssertionError("not cancelled")
        except grpc.FutureCancelledError:
            pass
        # The origin hears of it.
        assert cancelled.wait(20)
    server.stop(None)
    print("ok")


main(*sys.argv[1:])
