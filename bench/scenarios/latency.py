"""Latencies at a constant rate, half and four fifths of what HAProxy's core can do: open loop."""
from runner import gateway, load, peers
from runner.process import CannotRun, wait_port

TITLE = "latency at a constant rate, open loop (µs)"
SETS = ("short", "full")


def run(world, report):
    proxies = {
        "sallyport io_uring": lambda: gateway.gateway(world),
        "sallyport epoll": lambda: gateway.gateway(world, "epoll"),
        "envoy": lambda: peers.envoy(world),
        "haproxy": lambda: peers.haproxy(world),
        "nginx": lambda: peers.nginx(world),
    }
    for name, start in proxies.items():
        proxy = start()
        try:
            wait_port(proxy.plain)
            url = f"http://127.0.0.1:{proxy.plain}/"
            capacity = load.ours(url, proxy.pid, 2, "--connections", "64").details["answered_per_second"]
            for share in (0.5, 0.8):
                flags = ("--connections", "64", "--rate", str(int(capacity * share)))
                said = load.ours(url, proxy.pid, world.seconds, *flags).details
                latency = "  ".join(f"{at} {value:>6}" for at, value in said["latency_us"].items())
                report.note(f"{name:<20} {share:.0%} of {capacity:>6.0f}/s  {latency}  errors {said['errors'] or 0}")
                report.current["rows"].append({"proxy": name, "share": share, **said})
        except CannotRun as why:
            report.note(f"{name} is left out: {why}")
        finally:
            world.stop(proxy.process)
