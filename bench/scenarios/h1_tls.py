"""HTTP/1.1 over TLS 1.3."""
from runner import gateway, load, peers
from runner.compare import compare

TITLE = "h1 over TLS 1.3 to h1: CPU per request"
SETS = ("smoke", "short", "full")


def run(world, report):
    compare(world, report, {
        "sallyport io_uring": lambda: gateway.gateway(world),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll"),
        "envoy": lambda: peers.envoy(world),
        "haproxy": lambda: peers.haproxy(world),
        "nginx": lambda: peers.nginx(world),
    }, lambda proxy, seconds: load.wrk(f"https://127.0.0.1:{proxy.tls}/", 32, proxy.pid, seconds))
