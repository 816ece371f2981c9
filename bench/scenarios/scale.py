"""One VirtualService against ten thousand, and how long the ten thousand take to serve and to change."""
import json, os, subprocess, threading, time
from runner import gateway, load
from runner.compare import compare
from runner.process import wait_port

TITLE = "10,000 VirtualServices"
SETS = ("short", "full")


def run(world, report):
    compare(world, report, {
        "10,000": lambda: gateway.gateway(world, services=10_000),
        "one": lambda: gateway.gateway(world),
    }, lambda proxy, seconds: load.wrk(f"http://127.0.0.1:{proxy.plain}/", 64, proxy.pid, seconds))
    proxy = gateway.gateway(world, services=10_000)
    wait_port(proxy.plain)
    report.note(f"cold start to serving: {proxy.ready_seconds * 1000:.0f} ms")
    for number in range(3):
        report.note(f"one change active on every worker after {change(proxy, number) * 1000:.0f} ms")
    under_load(world, report, proxy)
    world.stop(proxy.process)


def under_load(world, report, proxy):
    """Latencies at a constant rate, in peace and while one of the ten thousand changes again and again."""
    url = f"http://127.0.0.1:{proxy.plain}/"
    capacity = load.ours(url, proxy.pid, 2, "--connections", "64").details["answered_per_second"]
    flags = ("--connections", "64", "--rate", str(int(capacity / 2)))
    calm = load.ours(url, proxy.pid, world.seconds, *flags).details
    over, changes = threading.Event(), []
    changing = threading.Thread(target=lambda: keep_changing(proxy, over, changes))
    changing.start()
    busy = load.ours(url, proxy.pid, world.seconds, *flags).details
    over.set()
    changing.join()
    report.note(f"{capacity / 2:.0f} requests a second, in peace: {quantiles(calm)}")
    report.note(f"the same while {len(changes)} changes become active, {max(changes) * 1000:.0f} ms at most: {quantiles(busy)}")


def quantiles(said):
    latency = said["latency_us"]
    return f"p50 {latency['p50']} µs  p99 {latency['p99']} µs  p99.9 {latency['p99.9']} µs  errors {said['errors'] or 0}"


def keep_changing(proxy, over, changes):
    while not over.is_set():
        changes.append(change(proxy, 10 + len(changes)))


def change(proxy, number):
    path = f"{proxy.config}/all.yaml"
    with open(path) as f:
        text = f.read()
    with open(path + ".new", "w") as f:
        f.write(text.replace(f"prefix: /a{number}/", f"prefix: /changed{number}/"))
    before, begin = generation(proxy), time.time()
    os.rename(path + ".new", path)
    while generation(proxy) == before and time.time() - begin < 20:
        time.sleep(0.005)
    return time.time() - begin


def generation(proxy):
    out = subprocess.run(["curl", "-s", f"http://{proxy.admin}/generation"], capture_output=True, text=True).stdout
    return json.loads(out)["id"]
