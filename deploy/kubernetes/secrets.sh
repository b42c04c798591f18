#!/usr/bin/env bash
# Makes the Secrets by which slaves and memorias join, of tokens that the master's pod makes.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: secrets.sh [--expires TIME] [--uses N] [--role slave|memoria] [--dry-run]

Has the master's pod make a token for slaves and one for memorias, and puts each with the cluster's
fingerprint into a Secret: hpczmq-slave and hpczmq-memoria. Say it again when tokens are over, or
used up: each pod of a slave takes one use, and those that have joined need it no more.

    --expires TIME   how long a token is good (7d); a year at most
    --uses N         for how many pods (1000)
    --role ROLE      only this one
    --dry-run        prints what it would do, and does nothing
    --help           this text
Variables: HPC_NAMESPACE (hpczmq), KUBECTL (kubectl).
TEXT
}

fail() { echo "secrets.sh: $1" >&2; exit "${2:-1}"; }

expires=7d uses=1000 roles='slave memoria' dry=''
while [ $# -gt 0 ]; do
    case $1 in
        --expires | --uses | --role)
            [ $# -gt 1 ] || fail "$1: must be followed by a value" 2
            case $1 in
                --expires) expires=$2 ;;
                --uses) uses=$2 ;;
                --role)
                    case $2 in
                        slave | memoria) roles=$2 ;;
                        *) fail "--role $2: must be slave or memoria" 2 ;;
                    esac
                    ;;
            esac
            shift
            ;;
        --dry-run) dry=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "$1: is no option" 2 ;;
    esac
    shift
done

namespace=${HPC_NAMESPACE:-hpczmq}
kubectl=${KUBECTL:-kubectl}
command -v "$kubectl" >/dev/null || fail "$kubectl: not found: install it, or name it with KUBECTL"

there() { "$kubectl" -n "$namespace" "$@"; }
in_master() { there exec hpczmq-master-0 -c master -- hpczmq keys "$@"; }

if [ -n "$dry" ]; then
    for role in $roles; do
        echo "would: hpczmq keys token --role $role --expires $expires --uses $uses, in hpczmq-master-0"
        echo "would: Secret hpczmq-$role in the namespace $namespace: token, fingerprint"
    done
    exit 0
fi

there wait --for=condition=Ready pod/hpczmq-master-0 --timeout=120s >/dev/null ||
    fail "hpczmq-master-0: is not ready: see $kubectl -n $namespace describe pod hpczmq-master-0"
fingerprint=$(in_master show cluster | awk '$1 == "fingerprint" { print $2 }')
[ -n "$fingerprint" ] || fail "hpczmq-master-0: tells no fingerprint: hpczmq keys show cluster"

for role in $roles; do
    token=$(in_master token --role "$role" --expires "$expires" --uses "$uses" | sed -n 1p)
    [ -n "$token" ] || fail "hpczmq-master-0: makes no token for a $role"
    # By its standard input: what stands on a command line, everybody on this machine can read.
    there apply -f - <<TEXT
apiVersion: v1
kind: Secret
metadata:
  name: hpczmq-$role
  labels: {app.kubernetes.io/name: hpczmq}
type: Opaque
stringData:
  token: "$token"
  fingerprint: "$fingerprint"
TEXT
done
