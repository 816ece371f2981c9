"""CPU time of each proxy per request, on one pinned core, in turn A B A B.

The figure is user+sys of the whole proxy process from /proc divided by the requests that the
load generator completed. Ratios within one run count; absolute numbers drift with the machine.
"""
import contextlib, json, os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, time

SET = sys.argv[1] if len(sys.argv) > 1 else "short"
SECONDS = {"smoke": 2, "short": 5, "full": 15}[SET]
ROUNDS = {"smoke": 1, "short": 2, "full": 4}[SET]
CONNECTIONS, TLS_CONNECTIONS = 64, 32
PROXY_CORE, LOAD_CORE = "0", "1"
HZ = os.sysconf("SC_CLK_TCK")
HOST = "bench.example.com"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GATEWAY = f"{ROOT}/target/release/sallyport-gateway"
ORIGIN = f"{ROOT}/target/release/sallyport-bench"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s")


def tree(pid):
    """The process and its children: nginx has a worker below its master."""
    found = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found += tree(int(entry))
    return found


def cpu_seconds(pid):
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{p}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / HZ


def rss_bytes(pid):
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{p}/statm") as f:
            total += int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return total


class Bench:
    def __init__(self, directory):
        self.dir, self.running = directory, []
        self.origin_port = free_port()
        self.spawn(LOAD_CORE, [ORIGIN, "origin", f"127.0.0.1:{self.origin_port}", "1024"])
        wait_port(self.origin_port)
        self.certificate()

    def spawn(self, core, command, **kw):
        log = open(f"{self.dir}/{os.path.basename(command[0])}.log", "ab")
        p = subprocess.Popen(["taskset", "-c", core, *command], stdout=kw.pop("stdout", log),
                             stderr=log, start_new_session=True, **kw)
        self.running.append(p)
        return p

    def stop(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={HOST}",
                        "-addext", f"subjectAltName=DNS:{HOST},DNS:localhost",
                        "-keyout", f"{self.dir}/key.pem", "-out", f"{self.dir}/cert.pem"],
                       check=True, capture_output=True)
        with open(f"{self.dir}/both.pem", "w") as out:
            for name in ("cert.pem", "key.pem"):
                out.write(open(f"{self.dir}/{name}").read())

    def gateway(self, driver="io_uring", services=1):
        plain, tls = free_port(), free_port()
        config = f"{self.dir}/gateway-{services}"
        shutil.rmtree(config, ignore_errors=True)
        os.mkdir(config)
        write_gateway(config, self, services)
        p = self.spawn(PROXY_CORE, [GATEWAY, "--config", config, "--workers", "1", "--driver", driver,
                                    "--port-map", f"80={plain},443={tls}", "--bind-address", "127.0.0.1",
                                    "--admin", "127.0.0.1:0", "--status", "none", "--metrics", "none"],
                       stdout=subprocess.PIPE, text=True)
        started = time.time()
        line = p.stdout.readline()
        if not line.startswith("ready"):
            raise SystemExit(f"gateway did not start: {open(f'{self.dir}/sallyport-gateway.log').read()}")
        p.ready_seconds = time.time() - started
        p.admin = re.search(r"admin=(\S+)", line)[1]
        if f"driver={driver}" not in line:
            raise SystemExit(f"asked for {driver}: {line}")
        return p, plain, tls

    def envoy(self):
        plain, tls = free_port(), free_port()
        with open(f"{self.dir}/envoy.yaml", "w") as f:
            json.dump(envoy_config(self, plain, tls), f)
        binary = subprocess.run([sys.executable, "-c", "import envoy._bin,os;print(os.path.dirname(envoy._bin.__file__)+'/envoy')"],
                                capture_output=True, text=True, check=True).stdout.strip()
        p = self.spawn(PROXY_CORE, [binary, "-c", f"{self.dir}/envoy.yaml", "--concurrency", "1",
                                    "-l", "off", "--base-id", str(os.getpid())])
        return p, plain, tls

    def relay(self):
        """The floor: bytes copied, nothing read."""
        plain = free_port()
        command = [ORIGIN, "relay", f"127.0.0.1:{plain}", f"127.0.0.1:{self.origin_port}"]
        return self.spawn(PROXY_CORE, command), plain, 0

    def haproxy(self):
        plain, tls = free_port(), free_port()
        with open(f"{self.dir}/haproxy.cfg", "w") as f:
            f.write(f"""global
    nbthread 1
    maxconn 8000
    tune.ssl.default-dh-param 2048
defaults
    mode http
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option forwardfor
frontend f
    bind 127.0.0.1:{plain}
    bind 127.0.0.1:{tls} ssl crt {self.dir}/both.pem alpn http/1.1
    unique-id-format %[uuid()]
    unique-id-header x-request-id
    default_backend b
backend b
    http-reuse always
    server o 127.0.0.1:{self.origin_port}
""")
        return self.spawn(PROXY_CORE, ["haproxy", "-f", f"{self.dir}/haproxy.cfg", "-db"]), plain, tls

    def nginx(self):
        plain, tls = free_port(), free_port()
        with open(f"{self.dir}/nginx.conf", "w") as f:
            f.write(f"""daemon off; worker_processes 1; pid {self.dir}/nginx.pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
  upstream o {{ server 127.0.0.1:{self.origin_port}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate {self.dir}/cert.pem;
    ssl_certificate_key {self.dir}/key.pem; ssl_protocols TLSv1.3;
    location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}
""")
        return self.spawn(PROXY_CORE, ["nginx", "-c", f"{self.dir}/nginx.conf"]), plain, tls

    def load(self, url, connections, pid, path="/", seconds=SECONDS):
        """Requests completed, failures, and CPU seconds of the proxy meanwhile."""
        host = HOST
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                   "-H", f"Host: {host}", url + path]
        before = cpu_seconds(pid)
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = cpu_seconds(pid) - before
        done = int(re.search(r"(\d+) requests in", out)[1])
        bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
        bad += sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
        p99 = re.search(r"99%\s+(\S+)", out)[1]
        return done, bad, spent, p99


def write_gateway(directory, bench, services):
    objects = [f"""apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: bench, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: ["*"]
    tls: {{mode: SIMPLE, serverCertificate: {bench.dir}/cert.pem, privateKey: {bench.dir}/key.pem}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: origin, namespace: default}}
spec:
  hosts: [origin.internal]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {bench.origin_port}}}}}]
"""]
    for i in range(services):
        host = HOST if i == services // 2 else f"h{i}.example.com"
        objects.append(f"""apiVersion: networking.istio.io/v1
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
    with open(f"{directory}/all.yaml", "w") as f:
        f.write("---\n".join(objects))


def envoy_config(bench, plain, tls):
    def hcm():
        return {"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in", "use_remote_address": True, "normalize_path": True,
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "o", "timeout": "0s",
                 "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2}}}]}]},
            "http_filters": [{"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}
    tls_context = {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}, "alpn_protocols": ["http/1.1"],
            "tls_certificates": [{"certificate_chain": {"filename": f"{bench.dir}/cert.pem"},
                                  "private_key": {"filename": f"{bench.dir}/key.pem"}}]}}}
    address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"static_resources": {
        "listeners": [
            {"name": "p", "address": address(plain), "filter_chains": [{"filters": [hcm()]}]},
            {"name": "t", "address": address(tls), "filter_chains": [{"filters": [hcm()], "transport_socket": tls_context}]}],
        "clusters": [{"name": "o", "type": "STATIC", "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [{"max_connections": 4294967295, "max_pending_requests": 4294967295,
                                                 "max_requests": 4294967295, "max_retries": 4294967295}]},
            "load_assignment": {"cluster_name": "o", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(bench.origin_port)}}]}]}}]}}


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if len(values) % 2 else (values[len(values) // 2 - 1] + values[len(values) // 2]) / 2


def compare(bench, title, scheme, proxies):
    """A B A B; the median of CPU per request for each proxy, in µs."""
    figures, latencies, errors = {}, {}, {}
    for _ in range(ROUNDS):
        for name, start in proxies.items():
            process, plain, tls = start()
            port = tls if scheme == "https" else plain
            wait_port(port)
            count = TLS_CONNECTIONS if scheme == "https" else CONNECTIONS
            bench.load(f"{scheme}://127.0.0.1:{port}", count, process.pid, seconds=1)
            done, bad, spent, p99 = bench.load(f"{scheme}://127.0.0.1:{port}", count, process.pid)
            figures.setdefault(name, []).append(spent / done * 1e6)
            latencies[name], errors[name] = p99, errors.get(name, 0) + bad
            bench.stop(process)
    result = {name: median(values) for name, values in figures.items()}
    ours = next(iter(result.values()))
    print(f"\n{title}: CPU per request (µs), median of {ROUNDS}")
    for name, value in result.items():
        spread = " ".join(f"{v:.1f}" for v in figures[name])
        ratio = f"ours is {ours / value:.2f} of it" if name != next(iter(result)) else ""
        print(f"  {name:<22} {value:7.2f}   [{spread}]  p99 {latencies[name]:>8}  errors {errors[name]}  {ratio}")
    return result


def idle(bench, title, tls, count):
    """RSS growth per idle keep-alive connection that has served one request."""
    process, plain, secure = bench.gateway()
    port = secure if tls else plain
    wait_port(port)
    bench.load(f"{'https' if tls else 'http'}://127.0.0.1:{port}", 32, process.pid, seconds=1)
    time.sleep(0.5)
    context = ssl.create_default_context(cafile=f"{bench.dir}/cert.pem") if tls else None
    before, sockets = rss_bytes(process.pid), []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port))
        if context:
            s = context.wrap_socket(s, server_hostname=HOST)
        s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        got = b""
        while len(got) < 1024:
            got += s.recv(65536)
        sockets.append(s)
    time.sleep(1)
    per = (rss_bytes(process.pid) - before) / count
    print(f"\n{title}: {per / 1024:.2f} KiB of RSS per idle connection ({count} connections)")
    for s in sockets:
        s.close()
    bench.stop(process)


def scale(bench):
    """One VirtualService against ten thousand, and how long the ten thousand take to serve."""
    rows = compare(bench, "one VirtualService against 10,000", "http", {
        "10,000 VirtualServices": lambda: bench.gateway(services=10_000),
        "1 VirtualService": lambda: bench.gateway(services=1)})
    process, _, _ = bench.gateway(services=10_000)
    print(f"  cold start to serving with 10,000 VirtualServices: {process.ready_seconds * 1000:.0f} ms")
    path = f"{bench.dir}/gateway-10000/all.yaml"
    text = open(path).read()
    with open(path + ".new", "w") as f:
        f.write(text.replace("prefix: /a7/", "prefix: /b7/"))
    def generation():
        out = subprocess.run(["curl", "-s", f"http://{process.admin}/generation"], capture_output=True, text=True).stdout
        return json.loads(out)
    before = generation()["id"]
    begin = time.time()
    os.rename(path + ".new", path)
    while generation()["id"] == before and time.time() - begin < 20:
        time.sleep(0.005)
    print(f"  one change among 10,000 VirtualServices active on every worker after {(time.time() - begin) * 1000:.0f} ms")
    bench.stop(process)
    return rows


def main():
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as directory:
        bench = Bench(directory)
        try:
            peers = {"envoy 1.40": bench.envoy, "haproxy": bench.haproxy, "nginx": bench.nginx}
            ours = {"sallyport io_uring": bench.gateway, "sallyport epoll": lambda: bench.gateway("epoll")}
            floor = {"floor (byte relay)": bench.relay}
            compare(bench, "h1 to h1", "http", {**ours, **floor, **peers})
            compare(bench, "h1 over TLS 1.3 to h1", "https", {**ours, **peers})
            scale(bench)
            idle(bench, "plain", False, 4000)
            idle(bench, "TLS", True, 1500)
        finally:
            for process in list(bench.running):
                bench.stop(process)


if __name__ == "__main__":
    main()
