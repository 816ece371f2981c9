"""The ends of a run: directory, certificates, origins."""
import os, subprocess
from .process import LOAD_CORE, CannotRun, Processes, free_port, wait_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST = "bench.example.com"
SPIFFE = "spiffe://cluster.local/ns/default/sa"
BUILT = f"{ROOT}/target/{os.environ.get('PROFILE', 'release')}"
TOOL = f"{BUILT}/sallyport-bench"


class World(Processes):
    """What all proxies of a run share."""

    def __init__(self, directory, seconds, rounds):
        super().__init__(directory)
        self.seconds, self.rounds = seconds, rounds
        self.certificate()
        self.origin_port = self.origin(1024)

    def origin(self, body, count=1):
        """An origin that answers bodies of so many bytes, at so many addresses from 127.0.0.1 on; its port."""
        port = free_port()
        self.spawn(LOAD_CORE, [TOOL, "origin", f"127.0.0.1:{port}", str(body), str(count)])
        wait_port(port)
        return port

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.directory)

    def certificate(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "30", "-subj", f"/CN={HOST}", "-addext",
                     f"subjectAltName=DNS:{HOST},DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem")
        with open(f"{self.directory}/both.pem", "w") as out:
            for name in ("cert.pem", "key.pem"):
                out.write(open(f"{self.directory}/{name}").read())

    def mesh_certificates(self):
        """A mesh CA, and identities of the gateway (`identity/`) and of a workload (`workload/`)."""
        if os.path.exists(f"{self.directory}/identity"):
            return
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *curve, "-days", "30", "-subj", "/O=cluster.local", "-addext",
                     "keyUsage=critical,keyCertSign", "-keyout", "root-key.pem", "-out", "root-cert.pem")
        for directory, account in (("identity", "gateway"), ("workload", "origin")):
            os.mkdir(f"{self.directory}/{directory}")
            with open(f"{self.directory}/{directory}/ext", "w") as f:
                f.write(f"subjectAltName=critical,URI:{SPIFFE}/{account}\nextendedKeyUsage=serverAuth,clientAuth\n")
            self.openssl("req", *curve, "-subj", "/", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/csr.pem")
            self.openssl("x509", "-req", "-in", f"{directory}/csr.pem", "-CA", "root-cert.pem", "-CAkey", "root-key.pem",
                         "-CAcreateserial", "-days", "30", "-extfile", f"{directory}/ext", "-out", f"{directory}/cert-chain.pem")
            subprocess.run(["cp", "root-cert.pem", f"{directory}/root-cert.pem"], cwd=self.directory, check=True)

    def mesh_origin(self):
        """The origin behind a TLS server that asks for mesh certificates, as a sidecar would; its port."""
        self.mesh_certificates()
        port = free_port()
        d = self.directory
        with open(f"{d}/mesh.conf", "w") as f:
            f.write(f"""daemon off; worker_processes 1; pid {d}/mesh.pid; error_log /dev/null;
events {{ worker_connections 4000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
  server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {d}/workload/cert-chain.pem;
    ssl_certificate_key {d}/workload/key.pem; ssl_client_certificate {d}/root-cert.pem; ssl_verify_client on;
    location / {{ return 200 "{'x' * 1024}"; }} }}
  server {{ listen 127.0.0.1:{port + 1}; location / {{ return 200 "{'x' * 1024}"; }} }} }}
""")
        self.spawn(LOAD_CORE, ["nginx", "-c", f"{d}/mesh.conf"])
        wait_port(port)
        return port


def require(path, how):
    if not os.path.exists(path):
        raise CannotRun(f"{path} is missing: {how}")
