"""Bodies of 10 MiB: megabytes per CPU second, in clear and over TLS."""
from runner import gateway, load, peers
from runner.compare import compare

TITLE = "10 MiB bodies: MB per CPU second"
SETS = ("short", "full")
BODY = 10 * 1024 * 1024


def run(world, report):
    origin = world.origin(BODY)
    proxies = {
        "sallyport io_uring": lambda: gateway.gateway(world, origin=origin),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll", origin=origin),
        "envoy": lambda: peers.envoy(world, origin=origin),
        "haproxy": lambda: peers.haproxy(world, origin=origin),
        "nginx": lambda: peers.nginx(world, origin=origin),
    }
    rate = lambda result: result.done * BODY / 1e6 / result.cpu
    report.note("in clear")
    compare(world, report, proxies, lambda proxy, seconds: load.wrk(
        f"http://127.0.0.1:{proxy.plain}/", 4, proxy.pid, seconds), "MB/s", rate)
    report.note("over TLS 1.3")
    compare(world, report, proxies, lambda proxy, seconds: load.wrk(
        f"https://127.0.0.1:{proxy.tls}/", 4, proxy.pid, seconds), "MB/s", rate)
