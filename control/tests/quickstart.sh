#!/usr/bin/env bash
# Starts the quickstart as a user would, tries every line it prints with curl, and stops it.
set -euo pipefail
bin="${1:-target/debug}"
log="$(mktemp)"
failed=0
"$bin/sallyctl" quickstart >"$log" 2>&1 &
quickstart=$!
trap 'kill -INT $quickstart 2>/dev/null || true; wait $quickstart 2>/dev/null || true; rm -f "$log"' EXIT

for _ in $(seq 200); do # at most 20 s
    grep -q 'Ctrl-C stops everything' "$log" && break
    kill -0 $quickstart 2>/dev/null || { cat "$log"; echo "quickstart ended early"; exit 1; }
    sleep 0.1
done

# The printed line whose last URL ends in the second argument, run; its output must contain each
# of the remaining arguments.
try() {
    local name="$1" ending="$2" line output want
    shift 2
    line="$(grep -E "^  curl .*$ending'?\$" "$log" | head -n 1)"
    [ -n "$line" ] || { echo "FAIL $name: no such line was printed"; failed=1; return; }
    output="$(eval "$line" 2>/dev/null | tr -d '\r')"
    for want in "$@"; do
        if ! grep -qF -- "$want" <<<"$output"; then
            echo "FAIL $name: no '$want' in:"; echo "$output"; failed=1; return
        fi
    done
    echo "ok   $name"
}

try "/v2/ is rewritten and reaches api-v2" ':[0-9]+/v2/x' '"service": "api-v2"' '"path": "/x"'
try "/v1/ reaches api-v1 as it is" '/v1/x' '"service": "api-v1"' '"path": "/v1/x"'
try "the workload knows the gateway" '/v1/x' '"caller": "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"'
try "a path asks for a token" '/v1/private' 'HTTP/2 403'
try "a token opens it" '/v1/private/x' '"service": "api-v1"' '"path": "/v1/private/x"'
try "anything else reaches api-v2" '/other' '"service": "api-v2"' '"path": "/other"'
try "HTTP is redirected to HTTPS" '127.0.0.1:[0-9]+/v2/x' 'HTTP/1.1 301' 'location: https://api.example.com'
try "an unknown host is 404" 'app.example.com:[0-9]+/' 'HTTP/2 404'
try "explain names the rule" 'api.example.com/v2/x' 'spec.http[0].match[0]'

directory="$(sed -nE 's/^Configuration: (.*)\/config .*/\1/p' "$log")"
kill -INT $quickstart
wait $quickstart && echo "ok   it stops when interrupted" || { echo "FAIL exit status $?"; failed=1; }
grep -q ' 404 NR route_not_found ' "$log" && echo "ok   the log says NR" || { echo "FAIL no NR in the log"; cat "$log"; failed=1; }
[ ! -e "$directory" ] && echo "ok   nothing is left behind" || { echo "FAIL $directory is left"; failed=1; }
exit $failed
