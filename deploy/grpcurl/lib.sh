# Sourced by the scripts beside it. From the environment:
#   MUSTER_ADDRESS  host:port of the operators' port       (127.0.0.1:8445)
#   MUSTER_CERTS    folder with ca.crt, operator.crt and operator.key  (.)
#   GRPCURL         the program   (grpcurl, or the one that tools/install.sh put into .tools/bin)
#   MUSTER_MAX_TIME seconds after which a watch ends        (no limit)
set -eu
: "${MUSTER_ADDRESS:=127.0.0.1:8445}" "${MUSTER_CERTS:=.}"
if [ -z "${GRPCURL:-}" ]; then
    GRPCURL=grpcurl
    command -v grpcurl >/dev/null || GRPCURL=$(dirname "$0")/../../.tools/bin/grpcurl
    command -v "$GRPCURL" >/dev/null || { echo "no grpcurl: tools/install.sh installs one" >&2; exit 1; }
fi

grpc() {
    "$GRPCURL" -cacert "$MUSTER_CERTS/ca.crt" -cert "$MUSTER_CERTS/operator.crt" -key "$MUSTER_CERTS/operator.key" \
        ${MUSTER_MAX_TIME:+-max-time "$MUSTER_MAX_TIME"} "$@"
}

# call METHOD: sends the request body that stands on standard input.
call() { grpc -d @ "$MUSTER_ADDRESS" "$1"; }

# quote TEXT: a JSON string.
quote() { printf '%s' "$1" | awk 'BEGIN { RS = "\001" } { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\n/, "\\n"); gsub(/\t/, "\\t"); printf "\"%s\"", $0 } END { if (NR == 0) printf "\"\"" }'; }

# quotes TEXT...: JSON strings with commas between them.
quotes() {
    comma=
    for text; do
        printf '%s%s' "$comma" "$(quote "$text")"
        comma=', '
    done
}

# bundle_assignment NAME SELECTOR BUNDLE [VERSION [PRIORITY [EXCLUSION...]]]: a request with it.
bundle_assignment() {
    name=$1 selector=$2 bundle=$3 version=${4:-0} priority=${5:-0}
    if [ $# -gt 5 ]; then shift 5; else set --; fi
    cat <<EOF
{
  "assignment": {
    "name": $(quote "$name"),
    "selector": $(quote "$selector"),
    "exclusions": [$(quotes "$@")],
    "bundle": {"name": $(quote "$bundle"), "version": $version},
    "priority": $priority
  }
}
EOF
}

# file_base64 FILE: the bytes of a file, as JSON carries bytes.
file_base64() { base64 <"$1" | tr -d '\n'; }

# hex_base64: bytes in hexadecimal digits on standard input, as JSON carries bytes.
hex_base64() {
    fold -w 2 | while read -r byte || [ -n "$byte" ]; do
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf '%03o' "0x$byte")"
    done | base64 | tr -d '\n'
}

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
