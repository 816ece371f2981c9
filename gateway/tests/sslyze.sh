#!/usr/bin/env bash
# Whether sslyze (PyPI) finds our TLS "intermediate" as Mozilla defines it: with an RSA and an ECDSA
# certificate on one server, as the default is. Needs a virtual environment, because sslyze wants an
# older `cryptography` than the clients of the tests.
#
# usage: gateway/tests/sslyze.sh DIRECTORY_OF_BINARIES
set -euo pipefail
bin=$(realpath "$1")
venv=$bin/sslyze
[ -x "$venv/bin/sslyze" ] || { python3 -m venv "$venv"; "$venv/bin/pip" install --quiet sslyze; }

scratch=$(mktemp -d)
gateway=
trap '[ -z "$gateway" ] || kill "$gateway"; rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir config
printf 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n' >ca.ext
printf 'basicConstraints=CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:a.example\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >leaf.ext
openssl req -new -newkey rsa:2048 -nodes -keyout ca.key -out ca.csr -subj /CN=ca 2>/dev/null
openssl x509 -req -in ca.csr -signkey ca.key -days 90 -extfile ca.ext -out ca.crt 2>/dev/null
for kind in rsa ecdsa; do
    mkdir -p "credentials/$kind"
    key="credentials/$kind/tls.key"
    case $kind in
    rsa) openssl genrsa -out "$key" 2048 2>/dev/null ;;
    ecdsa) openssl ecparam -name prime256v1 -genkey -noout -out "$key" ;;
    esac
    chmod 600 "$key"
    openssl req -new -key "$key" -out "$kind.csr" -subj /CN=a.example
    openssl x509 -req -in "$kind.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 \
        -extfile leaf.ext -out "credentials/$kind/tls.crt" 2>/dev/null
done
cat >config/a.yaml <<'END'
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialNames: [ecdsa, rsa]}
    hosts: [a.example]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example]
  gateways: [istio-system/gw]
  http:
  - directResponse: {status: 200, body: {string: ok}}
END

"$bin/sallyport-gateway" --config config --credentials credentials --port-map 443=0 \
    --bind-address 127.0.0.1 --admin 127.0.0.1:0 --status 127.0.0.1:0 --metrics 127.0.0.1:0 \
    >ready 2>log &
gateway=$!
for _ in $(seq 200); do grep -q '^ready ' ready && break; sleep 0.05; done
port=$(sed -n 's/.*=127\.0\.0\.1:\([0-9]*\) driver=.*/\1/p' ready)

PYTHONWARNINGS=ignore "$venv/bin/sslyze" --mozilla_config=intermediate --certinfo_ca_file=ca.crt \
    --sni a.example "127.0.0.1:$port" | tee report
grep -q '^ *127.0.0.1:[0-9]*: OK - Compliant' report
