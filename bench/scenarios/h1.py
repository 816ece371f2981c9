"""HTTP/1.1 in clear: our cost beside the peers and beside the floor."""
from runner import gateway, load, peers
from runner.compare import compare

TITLE = "h1 to h1: CPU per request"
SETS = ("smoke", "short", "full")


def run(world, report):
    compare(world, report, {
        "sallyport io_uring": lambda: gateway.gateway(world),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll"),
        "floor (byte relay)": lambda: peers.relay(world),
        "envoy": lambda: peers.envoy(world),
        "haproxy": lambda: peers.haproxy(world),
        "nginx": lambda: peers.nginx(world),
    }, lambda proxy, seconds: load.wrk(f"http://127.0.0.1:{proxy.plain}/", 64, proxy.pid, seconds))
