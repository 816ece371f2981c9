"""RSS of an idle keep-alive connection that has served one request, and load beside ten thousand of them, or as many as the host allows."""
import resource, socket, ssl, time
from runner import gateway, load
from runner.process import rss_bytes, wait_port
from runner.world import HOST

TITLE = "idle connections: KiB of RSS each"
SETS = ("short", "full")
# a connection has two ends here, and the gateway limits itself to half of its descriptors
IDLE = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 9 // 20)


def run(world, report):
    for title, tls, count in (("plain", False, 4000), ("TLS 1.3, h1", True, 1500)):
        proxy = gateway.gateway(world)
        port = proxy.tls if tls else proxy.plain
        wait_port(port)
        load.wrk(f"{'https' if tls else 'http'}://127.0.0.1:{port}/", 32, proxy.pid, 1)
        time.sleep(0.5)
        context = ssl.create_default_context(cafile=f"{world.directory}/cert.pem") if tls else None
        before = rss_bytes(proxy.pid)
        sockets = [connect(port, context) for _ in range(count)]
        time.sleep(1.5)
        each = (rss_bytes(proxy.pid) - before) / count / 1024
        report.note(f"{title}: {each:.2f} KiB ({count} connections)")
        for s in sockets:
            s.close()
        world.stop(proxy.process)
    beside(world, report)


def beside(world, report):
    """The same load with and without ten thousand idle TLS connections."""
    proxy = gateway.gateway(world)
    wait_port(proxy.tls)
    url = f"https://127.0.0.1:{proxy.tls}/"
    for idle in (0, IDLE):
        said = load.ours(url, proxy.pid, world.seconds, "--connections", "32", "--rate", "5000", "--idle", str(idle))
        latency = said.details["latency_us"]
        report.note(f"5,000 requests a second beside {idle:>6,} idle TLS connections: "
                    f"p50 {latency['p50']} µs, p99 {latency['p99']} µs, p99.9 {latency['p99.9']} µs, errors {said.details['errors'] or 0}")
    world.stop(proxy.process)


def connect(port, context):
    s = socket.create_connection(("127.0.0.1", port))
    if context:
        s = context.wrap_socket(s, server_hostname=HOST)
    s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    got = b""
    while len(got) < 1024:
        got += s.recv(65536)
    return s
