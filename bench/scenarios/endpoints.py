"""A cluster of a thousand endpoints against one: what a choice among many costs."""
from runner import gateway, load
from runner.compare import compare

TITLE = "1,000 endpoints: CPU per request"
SETS = ("short", "full")
ENDPOINTS = 1_000
CONNECTIONS = 64
# a connection to each endpoint is there before anything is counted
WARM_UP = 3
BALANCE = {
    "least request": "",
    "round robin": "simple: ROUND_ROBIN",
    "Maglev": "consistentHash: {useSourceIp: true, maglev: {}}",
}


def run(world, report):
    port = world.origin(1024, ENDPOINTS)

    def requests(proxy, seconds):
        url = f"http://127.0.0.1:{proxy.plain}/"
        if seconds < WARM_UP:
            seconds = WARM_UP
        return load.wrk(url, CONNECTIONS, proxy.pid, seconds)

    for name, policy in BALANCE.items():
        medians = compare(world, report, {
            f"{ENDPOINTS:,}, {name}": lambda: start(world, port, ENDPOINTS, policy),
            f"one, {name}": lambda: start(world, port, 1, policy),
        }, requests)
        if len(medians) == 2:
            many, one = medians.values()
            report.note(f"{ENDPOINTS:,} endpoints cost {many / one:.3f} of one; the goal is 1.1 at most")


def start(world, port, endpoints, policy):
    return gateway.gateway(world, service=gateway.plain_service(port, endpoints), extra=rule(policy))


def rule(policy):
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: origin, namespace: default}}
spec:
  host: origin.internal
  trafficPolicy: {{loadBalancer: {{{policy}}}}}
""" if policy else ""
