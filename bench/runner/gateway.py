"""This gateway under test."""
import ipaddress, os, re, shutil, subprocess, time
from .process import PROXY_CORE, CannotRun, free_port
from .world import BUILT, HOST

BINARY = f"{BUILT}/sallyport-gateway"


class Proxy:
    """A proxy that runs: its process, and where it listens."""

    def __init__(self, process, plain, tls):
        self.process, self.pid, self.plain, self.tls = process, process.pid, plain, tls
        self.ready_seconds, self.admin = None, None


def gateway(world, driver="io_uring", services=1, extra="", origin=None, flags=(), service=None, ports=None):
    """Starts it on one core with one worker. `extra` is more YAML, `service` stands for the plain
    ServiceEntry of the origin, `ports` are more ports of Gateways and where they listen here."""
    plain, tls = free_port(), free_port()
    mapped = ",".join(f"{port}={here}" for port, here in {80: plain, 443: tls, **(ports or {})}.items())
    config = f"{world.directory}/gateway-{services}-{driver}"
    shutil.rmtree(config, ignore_errors=True)
    os.mkdir(config)
    with open(f"{config}/all.yaml", "w") as f:
        f.write(objects(world, services, service or plain_service(origin or world.origin_port)) + extra)
    process = world.spawn(
        PROXY_CORE,
        [BINARY, "--config", config, "--workers", "1", "--driver", driver, "--port-map", mapped,
         "--bind-address", "127.0.0.1", "--admin", "127.0.0.1:0", "--status", "none", "--metrics", "none", *flags],
        stdout=subprocess.PIPE, text=True)
    started = time.time()
    line = process.stdout.readline()
    if not line.startswith("ready"):
        log = open(f"{world.directory}/logs/sallyport-gateway.log").read()
        raise CannotRun(f"the gateway did not start: {log[-2000:]}")
    if f"driver={driver}" not in line:
        raise CannotRun(f"{driver} is refused here: {line}")
    proxy = Proxy(process, plain, tls)
    proxy.ready_seconds = time.time() - started
    proxy.admin = re.search(r"admin=(\S+)", line)[1]
    proxy.config = config
    return proxy


def plain_service(port, endpoints=1):
    """The origin as a ServiceEntry, at so many addresses from 127.0.0.1 on."""
    first = int(ipaddress.ip_address("127.0.0.1"))
    places = (f"{{address: {ipaddress.ip_address(first + i)}, ports: {{http: {port}}}}}" for i in range(endpoints))
    return f"""apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: origin, namespace: default}}
spec:
  hosts: [origin.internal]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints: [{", ".join(places)}]
"""


def objects(world, services, service):
    """A Gateway with a plain and a TLS server, and so many VirtualServices."""
    found = [f"""apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: bench, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: ["*"]
    tls: {{mode: SIMPLE, serverCertificate: {world.directory}/cert.pem, privateKey: {world.directory}/key.pem}}
""", service]
    for i in range(services):
        host = HOST if i == services // 2 else f"h{i}.example.com"
        found.append(f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v{i}, namespace: default}}
spec:
  hosts: [{host}]
  gateways: [bench]
  http:
  - match: [{{uri: {{prefix: /a{i}/}}}}]
    route: [{{destination: {{host: origin.internal, port: {{number: 8080}}}}}}]
  - route: [{{destination: {{host: origin.internal, port: {{number: 8080}}}}}}]
""")
    return "---\n".join(found)
