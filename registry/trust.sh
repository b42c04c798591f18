#!/usr/bin/env bash
# Has the Docker of this machine trust the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: trust.sh [--dry-run]

Has the Docker of this machine pull from the registry $HPC_REGISTRY (192.168.56.1:5000): by its
certificate, if registry/certs/registry.crt is here (Docker then wants it in /etc/docker/certs.d),
and else as one without (insecure-registries in /etc/docker/daemon.json; what else is in it stays).
Takes root. A Docker that trusts it already is left alone; no container is restarted.

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY; HPC_DOCKER_CONFIG, the folder (/etc/docker); HPC_DOCKER_PID, dockerd's file
(/var/run/docker.pid).
TEXT
}

option() { return 1; }

options "$@"
settings
folder=${HPC_DOCKER_CONFIG:-/etc/docker}
certificate=$registry_folder/certs/registry.crt
file=$folder/daemon.json

if [ -f "$certificate" ]; then
    wanted=$folder/certs.d/$HPC_REGISTRY/ca.crt
    if cmp -s "$certificate" "$wanted"; then
        say "$wanted: is there already"
        exit 0
    fi
    run mkdir -p "$(dirname "$wanted")"
    run cp "$certificate" "$wanted" || fail "$wanted: can't be written: run this as root"
    exit 0
fi

case $HPC_REGISTRY in
    127.*)
        say "$HPC_REGISTRY: Docker trusts whatever is on this machine"
        exit 0
        ;;
esac

need python3 'Debian: apt-get install python3'
# The file as it must be, with the registry in its list; nothing, if it names it already.
new=$(
    python3 - "$file" "$HPC_REGISTRY" 2>/dev/null <<'PYTHON'
import json, pathlib, sys

path, registry = pathlib.Path(sys.argv[1]), sys.argv[2]
text = path.read_text() if path.exists() else ""
table = json.loads(text) if text.strip() else {}
known = table.setdefault("insecure-registries", [])
if registry not in known:
    known.append(registry)
    print(json.dumps(table, indent=4))
PYTHON
) || fail "$file: is no JSON object with a list insecure-registries: mend it, or move it away"
if [ -z "$new" ]; then
    say "$file: names $HPC_REGISTRY already"
    exit 0
fi
! pgrep -fa '(^|/)dockerd .*--insecure-registry' >/dev/null 2>&1 ||
    fail "dockerd is started with --insecure-registry, and does not start with the same in $file: add $HPC_REGISTRY there (systemctl cat docker), and restart it"

say "$file: insecure-registries gets $HPC_REGISTRY"
[ -z "$dry" ] || exit 0
{ mkdir -p "$folder" && printf '%s\n' "$new" >"$file.new" && mv "$file.new" "$file"; } ||
    fail "$file: can't be written: run this as root"

# Docker reads this part of its file again when it is told to; containers go on.
pid_file=${HPC_DOCKER_PID:-/var/run/docker.pid}
if [ -f "$pid_file" ]; then
    run kill -HUP "$(cat "$pid_file")" || fail "dockerd: can't be told: restart it, as root"
elif command -v systemctl >/dev/null && systemctl is-active --quiet docker 2>/dev/null; then
    run systemctl reload docker
else
    say "no Docker runs here yet; it will read the file when it starts"
fi
