"""What a feature adds to a request: each beside the same gateway without it."""
import os
from runner import gateway, load
from runner.compare import compare
from runner.world import HOST, ROOT, SPIFFE

TITLE = "what a feature adds: CPU per request"
SETS = ("short", "full")


def run(world, report):
    port = world.mesh_origin()
    plain = gateway.plain_service(port + 1)
    with open(f"{ROOT}/bench/src/core/token.jwt") as f:
        token = f.read().strip()
    proxies = {
        "ISTIO_MUTUAL upstream": lambda: gateway.gateway(
            world, service=mesh_service(port), flags=["--identity", f"{world.directory}/identity"]),
        "plain upstream": lambda: gateway.gateway(world, service=plain),
    }
    plain_load = lambda proxy, seconds: load.wrk(f"http://127.0.0.1:{proxy.plain}/", 64, proxy.pid, seconds)
    difference(report, compare(world, report, proxies, plain_load))
    with_token = lambda proxy, seconds: load.wrk(f"http://127.0.0.1:{proxy.plain}/?access_token={token}", 64, proxy.pid, seconds)
    difference(report, compare(world, report, {
        "RS256 token, 1 policy": lambda: gateway.gateway(world, extra=policies()),
        "without them": lambda: gateway.gateway(world),
    }, with_token))
    difference(report, compare(world, report, {
        "access log, JSON": lambda: gateway.gateway(world, extra=ACCESS_LOG),
        "without it": lambda: gateway.gateway(world),
    }, plain_load))


def difference(report, medians):
    if len(medians) == 2:
        with_it, without = medians.values()
        report.note(f"adds {with_it - without:+.2f} µs")


def mesh_service(port):
    return gateway.plain_service(port).replace("MESH_EXTERNAL", "MESH_INTERNAL") + f"""  subjectAltNames: ["{SPIFFE}/origin"]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: origin, namespace: default}}
spec:
  host: origin.internal
  trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}
"""


def policies():
    with open(f"{ROOT}/bench/src/core/jwks.json") as f:
        keys = f.read().strip()
    return f"""---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: bench, namespace: istio-system}}
spec:
  jwtRules:
  - {{issuer: "https://bench.example.com", jwks: '{keys}', fromParams: [access_token]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: bench, namespace: istio-system}}
spec:
  rules:
  - from: [{{source: {{requestPrincipals: ["https://bench.example.com/*"]}}}}]
    to: [{{operation: {{hosts: ["{HOST}"]}}}}]
"""


ACCESS_LOG = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stderr
    accessLogEncoding: JSON
"""
