"""HTTP/3, 16 streams on each of 16 connections. HAProxy and nginx of Debian do not speak it."""
from runner import gateway, load, peers
from runner.compare import compare

TITLE = "h3 to h1: CPU per request"
SETS = ("smoke", "short", "full")


def run(world, report):
    compare(world, report, {
        "sallyport io_uring": lambda: gateway.gateway(world),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll"),
        "envoy": lambda: peers.envoy(world, h3=True),
    }, lambda proxy, seconds: load.ours(f"https://127.0.0.1:{proxy.tls}/", proxy.pid, seconds, "--wire", "h3",
                                        "--connections", "16", "--streams", "16"))
