"""Full TLS 1.3 handshakes with a P-256 certificate, connect and close included, one request each."""
from runner import gateway, load, peers
from runner.compare import compare

TITLE = "full handshake: CPU per connection"
SETS = ("short", "full")


def run(world, report):
    compare(world, report, {
        "sallyport io_uring": lambda: gateway.gateway(world),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll"),
        "envoy": lambda: peers.envoy(world),
        "haproxy": lambda: peers.haproxy(world),
        "nginx": lambda: peers.nginx(world),
    }, lambda proxy, seconds: load.ours(f"https://127.0.0.1:{proxy.tls}/", proxy.pid, seconds, "--fresh",
                                        "--connections", "16"))
