"""One VirtualService against ten thousand, and how long the ten thousand take to serve and to change."""
import json, os, subprocess, time
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
    world.stop(proxy.process)


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
