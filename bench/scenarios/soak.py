"""Everything at once for half an hour: every wire, given-up requests, new connections, reloads and a
certificate that is renewed. What counts is what grows: memory, descriptors, errors."""
import contextlib, json, os, re, subprocess, time
from runner import gateway
from runner.process import LOAD_CORE, free_port, rss_bytes, wait_port
from runner.world import HOST, TOOL

TITLE = "soak: memory, descriptors and errors of a mixed load"
SETS = ()
MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
DRIVER = os.environ.get("SOAK_DRIVER", "io_uring")
RELOAD_SECONDS, ROTATE_SECONDS, SAMPLE_SECONDS = 2, 5, 10
# wire, and the flags of its load
LOADS = {
    "h1": ("plain", "/", ["--rate", "1000", "--connections", "32"]),
    "h1 over TLS": ("tls", "/", ["--rate", "500", "--connections", "16"]),
    "h1, given up": ("plain", "/", ["--rate", "200", "--connections", "8", "--abandon", "2"]),
    "h2": ("tls", "/", ["--wire", "h2", "--rate", "1000", "--connections", "4", "--streams", "8"]),
    "h2, reset": ("tls", "/", ["--wire", "h2", "--rate", "50", "--connections", "4", "--streams", "4", "--abandon", "4"]),
    "h3": ("tls", "/", ["--wire", "h3", "--rate", "500", "--connections", "4", "--streams", "4"]),
    "h3, reset": ("tls", "/", ["--wire", "h3", "--rate", "50", "--connections", "2", "--streams", "4", "--abandon", "4"]),
    "handshakes": ("tls", "/", ["--rate", "100", "--connections", "8", "--fresh"]),
    "resumptions": ("tls", "/", ["--rate", "100", "--connections", "8", "--fresh", "--resume"]),
    "WebSocket": ("plain", "/websocket", ["--wire", "websocket", "--rate", "500", "--connections", "16"]),
    "WebSocket, left": ("plain", "/websocket", ["--wire", "websocket", "--rate", "50", "--connections", "4", "--abandon", "5"]),
    "TCP": ("tcp", "/", ["--wire", "tcp", "--rate", "500", "--connections", "16"]),
    "TCP, new": ("tcp", "/", ["--wire", "tcp", "--rate", "50", "--connections", "4", "--fresh"]),
}


def run(world, report):
    echo, tcp = free_port(), free_port()
    world.spawn(LOAD_CORE, [TOOL, "echo", f"127.0.0.1:{echo}"])
    wait_port(echo)
    proxy = gateway.gateway(world, DRIVER, extra=tcp_objects(echo), ports={9000: tcp})
    wait_port(tcp)
    ports = {"plain": proxy.plain, "tls": proxy.tls, "tcp": tcp}
    loads = {name: start(world, f"{'https' if port == 'tls' else 'http'}://127.0.0.1:{ports[port]}{path}", flags)
             for name, (port, path, flags) in LOADS.items()}
    samples, reloads, rotations = watch(world, proxy, loads)
    report.note(f"{DRIVER}, {MINUTES:g} minutes, {reloads} reloads, {rotations} new certificates")
    tell(report, samples)
    for name, (process, path) in loads.items():
        process.wait(timeout=60)
        with open(path) as f:
            said = json.load(f)
        latency = said["latency_us"]
        report.note(f"{name:<16} {said['answered']:>8} answered  {said['abandoned']:>6} given up  "
                    f"p50 {latency['p50']:>6} µs  p99 {latency['p99']:>7} µs  errors {said['errors'] or 0}  unsent {said['unsent']}")
        report.current["rows"].append({"load": name, **said})
    answer = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {HOST}",
                             f"http://127.0.0.1:{proxy.plain}/"], capture_output=True, text=True).stdout
    report.note(f"the gateway still runs and answers {answer}" if proxy.process.poll() is None else "THE GATEWAY HAS ENDED")


def start(world, url, flags):
    path = f"{world.directory}/load-{len(world.running)}.json"
    command = [TOOL, "load", url, "--host", HOST, "--seconds", str(MINUTES * 60), "--json", path, *flags]
    return world.spawn(LOAD_CORE, command), path


def watch(world, proxy, loads):
    """Reloads, renews and samples until the loads are over."""
    samples, reloads, rotations = [], 0, 0
    begin = time.time()
    due = {"reload": begin + RELOAD_SECONDS, "rotate": begin + ROTATE_SECONDS, "sample": begin + SAMPLE_SECONDS}
    while time.time() - begin < MINUTES * 60 and proxy.process.poll() is None:
        now = time.time()
        if now >= due["reload"]:
            due["reload"], reloads = now + RELOAD_SECONDS, reloads + 1
            change(proxy, reloads)
        if now >= due["rotate"]:
            due["rotate"], rotations = now + ROTATE_SECONDS, rotations + 1
            world.certificate()
        if now >= due["sample"]:
            due["sample"] = now + SAMPLE_SECONDS
            with contextlib.suppress(OSError):
                samples.append((now - begin, rss_bytes(proxy.pid), len(os.listdir(f"/proc/{proxy.pid}/fd"))))
        time.sleep(0.05)
    return samples, reloads, rotations


def change(proxy, number):
    path = f"{proxy.config}/all.yaml"
    with open(path) as f:
        text = re.sub(r"prefix: /a0[^/]*/", f"prefix: /a0-{number}/", f.read())
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def tell(report, samples):
    """How memory and descriptors went, from a third of the time on: until then everything warms up."""
    warm = samples[len(samples) // 3:]
    if len(warm) < 3:
        report.note("too short to say what grows")
        return
    mean = lambda at: sum(s[at] for s in warm) / len(warm)
    slope = sum((s[0] - mean(0)) * (s[1] - mean(1)) for s in warm) / sum((s[0] - mean(0)) ** 2 for s in warm)
    fds = [s[2] for s in warm]
    report.note(f"RSS {warm[0][1] / 2**20:.1f} MiB, then {warm[-1][1] / 2**20:.1f} MiB, at most "
                f"{max(s[1] for s in samples) / 2**20:.1f}; slope {slope * 3600 / 2**20:+.2f} MiB an hour")
    report.note(f"descriptors {fds[0]}, then {fds[-1]}, from {min(fds)} to {max(fds)}")
    report.current["samples"] = samples


def tcp_objects(echo):
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: echo, namespace: default}}
spec:
  hosts: [echo.internal]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: tcp, protocol: TCP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{tcp: {echo}}}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: tcp, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 9000, name: tcp, protocol: TCP}}, hosts: ["*"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: tcp, namespace: default}}
spec:
  hosts: [echo.internal]
  gateways: [tcp]
  tcp:
  - match: [{{port: 9000}}]
    route: [{{destination: {{host: echo.internal, port: {{number: 9000}}}}}}]
"""
