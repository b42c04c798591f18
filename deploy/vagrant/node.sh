#!/usr/bin/env bash
# On a machine, as root: its part of the cluster. node.sh master | slave
set -euo pipefail

role=$1
brought=${HPC_BROUGHT:-/tmp/hpczmq-deploy}
folder=${HPC_FOLDER:-/opt/hpczmq}
wait_s=${HPC_WAIT_S:-600}

fail() {
    echo "node.sh: $1" >&2
    exit 1
}

# Out of /tmp: what root runs later must be nobody else's, and outlive a restart.
if [ -d "$brought" ]; then
    (umask 022 && mkdir -p "$folder")
    rm -rf "$folder/deploy.new"
    cp -r --no-preserve=mode,ownership "$brought" "$folder/deploy.new"
    rm -rf "$folder/deploy" "$brought"
    mv "$folder/deploy.new" "$folder/deploy"
    chmod +x "$folder"/deploy/*/*.sh
fi
[ -f "$folder/deploy/registry/machine.sh" ] || fail "$folder/deploy: is not here: run vagrant provision"

# http or https, with a password or without.
answers() {
    local scheme code
    for scheme in http https; do
        code=$(curl -s -k -o /dev/null -m 5 -w '%{http_code}' "$scheme://$HPC_REGISTRY/v2/") || continue
        case $code in 200 | 401) return 0 ;; esac
    done
    return 1
}

end=$((SECONDS + wait_s)) told=''
until answers; do
    [ $SECONDS -lt $end ] ||
        fail "$HPC_REGISTRY: no registry answers there after $wait_s s: on the host run registry/start.sh, or name it with HPC_REGISTRY; then vagrant provision"
    [ -n "$told" ] || echo "waits up to $wait_s s for the registry $HPC_REGISTRY: on the host, registry/start.sh starts it"
    told=yes
    sleep 2
done

# A slave has its token already.
exec bash "$folder/deploy/registry/machine.sh" "$role" </dev/null
