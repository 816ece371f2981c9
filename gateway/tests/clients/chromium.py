"""A browser: Chromium, headless, fetches a page and speaks WebSocket from it, over HTTP/2 and over
HTTP/3. What it used is read from the gateway's access log. Not a part of `make test`, since a browser is
large. Argument: the gateway's binary; `CHROMIUM` names another browser than the one in PATH.

    python3 gateway/tests/clients/chromium.py target/debug/sallyport-gateway
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

import websockets.asyncio.server as server
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

NAME = "a.example"
PATIENCE = 60

PAGE = """<!doctype html><title>x</title><script>
const say = (what) => fetch("/said?" + encodeURIComponent(JSON.stringify(what)));
const socket = new WebSocket("wss://" + location.host + "/echo");
const long = "long".repeat(50000);
let got = [];
socket.onopen = () => { socket.send("hello"); socket.send(long); };
socket.onmessage = (event) => {
  got.push(event.data.length);
  if (got.length == 2) socket.close(4000, "enough");
};
socket.onclose = async (event) => {
  const wires = performance.getEntriesByType("navigation").map((e) => e.nextHopProtocol);
  await say({got, code: event.code, clean: event.wasClean, wires});
};
</script>"""

RULES = """apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: {log}
    accessLogFormat: "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE%\\n"
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    tls: {{mode: SIMPLE, credentialName: own}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api, namespace: default}}
spec:
  hosts: [api.internal]
  ports: [{{number: 8000, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api, namespace: default}}
spec:
  hosts: ['*']
  gateways: [istio-system/gw]
  http:
  - route: [{{destination: {{host: api.internal, port: {{number: 8000}}}}}}]
"""


class Origin:
    """Serves the page, echoes, and hears what the page says."""

    def __init__(self):
        self.said = asyncio.Queue()

    def answer(self, _, request):
        path, _, query = request.path.partition("?")
        if path == "/echo":
            return None
        if path == "/said":
            self.said.put_nowait(json.loads(urllib.request.unquote(query)))
        body = PAGE.encode() if path == "/" else b""
        fields = Headers({"content-type": "text/html", "content-length": str(len(body))})
        return Response(200, "OK", fields, body)

    async def echo(self, socket):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(message)


def certificate(directory):
    os.makedirs(directory)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        + ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        + ["-keyout", f"{directory}/tls.key", "-out", f"{directory}/tls.crt"],
        check=True,
        capture_output=True,
    )
    key = f"openssl x509 -in {directory}/tls.crt -pubkey -noout | openssl pkey -pubin -outform der"
    digest = subprocess.run(
        f"{key} | openssl dgst -sha256 -binary | openssl enc -base64",
        shell=True,
        check=True,
        capture_output=True,
        text=True,
    )
    return digest.stdout.strip()


@contextlib.contextmanager
def gateway(binary, directory):
    """A gateway with the rules there; the port that it serves HTTPS on."""
    command = [binary, "--config", f"{directory}/config", "--credentials", f"{directory}/credentials"]
    for name in ("--admin", "--status", "--metrics"):
        command += [name, "127.0.0.1:0"]
    command += ["--bind-address", "127.0.0.1", "--port-map", "443=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = process.stdout.readline()
        admin = dict(word.split("=", 1) for word in ready.split() if "=" in word)["admin"]
        with urllib.request.urlopen(f"http://{admin}/listeners", timeout=10) as page:
            text = page.read().decode()
        line = next(line for line in text.splitlines() if "_443::" in line)
        yield line.rsplit(":", 1)[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def browser(port, directory, key, more):
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    return subprocess.Popen(
        [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        + ["--disable-background-networking", "--disable-component-update"]
        + [f"--user-data-dir={directory}", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        + [f"--ignore-certificate-errors-spki-list={key}", *more, f"https://{NAME}:{port}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def visit(origin, port, directory, key, more):
    """What the page says in a browser that is started with these arguments."""
    process = browser(port, directory, key, more)
    try:
        return await asyncio.wait_for(origin.said.get(), PATIENCE)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def main(binary):
    origin = Origin()
    with tempfile.TemporaryDirectory() as directory:
        key = certificate(f"{directory}/credentials/own")
        async with server.serve(
            origin.echo, "127.0.0.1", 0, max_size=None, process_request=origin.answer
        ) as listening:
            log = f"{directory}/log"
            own = listening.sockets[0].getsockname()[1]
            os.makedirs(f"{directory}/config")
            with open(f"{directory}/config/a.yaml", "w") as out:
                out.write(RULES.format(port=own, log=log))
            with gateway(binary, directory) as port:
                quic = [f"--origin-to-force-quic-on={NAME}:{port}"]
                for wire, more in (("h2", ["--disable-quic"]), ("h3", quic)):
                    said = await visit(origin, port, f"{directory}/{wire}", key, more)
                    print(wire, said)
                    assert said["got"] == [5, 200_000], said
                    assert (said["code"], said["clean"]) == (4000, True), said
                    assert said["wires"] == [wire], said
            with open(log) as lines:
                sockets = [line for line in lines if "/echo" in line]
            print(*sockets, sep="", end="")
            assert "HTTP/2" in sockets[0], "WebSocket over HTTP/2"
    print("ok")


asyncio.run(main(*sys.argv[1:]))
