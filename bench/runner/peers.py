"""The peers: Envoy (PyPI), HAProxy and nginx (Debian), each with the features that the gateway has
on: a request id, x-forwarded-for, keep-alive upstreams, no access log; and the floor."""
import json, os, subprocess, sys
from .gateway import Proxy
from .process import PROXY_CORE, free_port
from .world import TOOL


def envoy(world, origin=None, h3=False):
    plain, tls = free_port(), free_port()
    with open(f"{world.directory}/envoy.yaml", "w") as f:
        json.dump(envoy_config(world, plain, tls, origin or world.origin_port, h3), f)
    find = "import envoy._bin,os;print(os.path.dirname(envoy._bin.__file__)+'/envoy')"
    binary = subprocess.run([sys.executable, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    return Proxy(world.spawn(PROXY_CORE, [binary, "-c", f"{world.directory}/envoy.yaml", "--concurrency", "1",
                                          "-l", "off", "--base-id", str(os.getpid())]), plain, tls)


def relay(world):
    """The floor: bytes copied, nothing read."""
    plain = free_port()
    command = [TOOL, "relay", f"127.0.0.1:{plain}", f"127.0.0.1:{world.origin_port}"]
    return Proxy(world.spawn(PROXY_CORE, command), plain, 0)


def haproxy(world, origin=None):
    plain, tls = free_port(), free_port()
    with open(f"{world.directory}/haproxy.cfg", "w") as f:
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
    bind 127.0.0.1:{tls} ssl crt {world.directory}/both.pem alpn h2,http/1.1
    unique-id-format %[uuid()]
    unique-id-header x-request-id
    default_backend b
backend b
    http-reuse always
    server o 127.0.0.1:{origin or world.origin_port}
""")
    return Proxy(world.spawn(PROXY_CORE, ["haproxy", "-f", f"{world.directory}/haproxy.cfg", "-db"]), plain, tls)


def nginx(world, origin=None):
    plain, tls = free_port(), free_port()
    d = world.directory
    with open(f"{d}/nginx.conf", "w") as f:
        f.write(f"""daemon off; worker_processes 1; pid {d}/nginx.pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
  upstream o {{ server 127.0.0.1:{origin or world.origin_port}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2; ssl_certificate {d}/cert.pem;
    ssl_certificate_key {d}/key.pem; ssl_protocols TLSv1.3;
    location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}
""")
    return Proxy(world.spawn(PROXY_CORE, ["nginx", "-c", f"{d}/nginx.conf"]), plain, tls)


TYPES = "type.googleapis.com/envoy.extensions"


def envoy_config(world, plain, tls, origin, h3):
    def manager(codec="AUTO"):
        return {"name": "hcm", "typed_config": {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in", "codec_type": codec, "use_remote_address": True, "normalize_path": True,
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "o", "timeout": "0s",
                 "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2}}}]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}]}}

    common = lambda alpn: {
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}, "alpn_protocols": alpn,
        "tls_certificates": [{"certificate_chain": {"filename": f"{world.directory}/cert.pem"},
                              "private_key": {"filename": f"{world.directory}/key.pem"}}]}
    context = lambda alpn: {"@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                            "common_tls_context": common(alpn)}
    address = lambda port, udp=False: {"socket_address": {
        "protocol": "UDP" if udp else "TCP", "address": "127.0.0.1", "port_value": port}}
    listeners = [
        {"name": "p", "address": address(plain), "filter_chains": [{"filters": [manager()]}]},
        {"name": "t", "address": address(tls), "filter_chains": [{"filters": [manager()],
         "transport_socket": {"name": "tls", "typed_config": context(["h2", "http/1.1"])}}]}]
    if h3:
        quic = {"@type": f"{TYPES}.transport_sockets.quic.v3.QuicDownstreamTransport",
                "downstream_tls_context": {"common_tls_context": common(["h3"])}}
        listeners.append({"name": "q", "address": address(tls, True), "udp_listener_config": {"quic_options": {}},
                          "filter_chains": [{"filters": [manager("HTTP3")],
                                             "transport_socket": {"name": "quic", "typed_config": quic}}]})
    endless = {key: 4294967295 for key in ("max_connections", "max_pending_requests", "max_requests", "max_retries")}
    return {"static_resources": {"listeners": listeners, "clusters": [
        {"name": "o", "type": "STATIC", "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
         "circuit_breakers": {"thresholds": [endless]},
         "load_assignment": {"cluster_name": "o", "endpoints": [{"lb_endpoints": [
             {"endpoint": {"address": address(origin)}}]}]}}]}}
