"""How many upstream connections a hundred thousand requests open, 64 at a time: the pool, counted."""
import subprocess
from runner import gateway, load
from runner.process import CannotRun, wait_port

TITLE = "upstream connections opened per 100,000 requests, 64 at a time"
SETS = ("short", "full")
CONNECTIONS = 64


def run(world, report):
    shared = world.origin(1024, 10)
    cases = {
        "io_uring": {},
        "epoll": {"driver": "epoll"},
        "io_uring, 10 endpoints": {"service": gateway.plain_service(shared, 10)},
    }
    for name, how in cases.items():
        try:
            count(world, report, name, how)
        except CannotRun as why:
            report.note(f"{name} is left out: {why}")


def count(world, report, name, how):
    """From the first request on, and then again with a pool that is full already."""
    proxy = gateway.gateway(world, **how)
    try:
        wait_port(proxy.plain)
        before = (0, 0)
        for state in ("cold", "warm"):
            result = load.wrk(f"http://127.0.0.1:{proxy.plain}/", CONNECTIONS, proxy.pid, world.seconds)
            now = counters(proxy)
            opened, requests = (a - b for a, b in zip(now, before))
            before = now
            share = opened / requests * 100_000
            report.note(f"{name:<24} {state}: {share:8.2f}  ({opened:,} for {requests:,} requests, errors {result.bad})")
            report.current["rows"].append({"proxy": name, "state": state, "unit": "per 100,000", "opened": opened,
                                           "requests": requests, "per_100000": share, "errors": result.bad})
    finally:
        world.stop(proxy.process)


def counters(proxy):
    """Connections opened, and requests, of the one cluster."""
    text = subprocess.run(["curl", "-s", f"http://{proxy.admin}/clusters"], capture_output=True, text=True).stdout
    found = {what: 0 for what in ("cx_total", "rq_total")}
    for line in text.splitlines():
        cluster, _, rest = line.partition("::")
        what, _, value = rest.partition("::")
        if "|origin.internal" in cluster and what in found:
            found[what] += int(value)
    return found["cx_total"], found["rq_total"]
