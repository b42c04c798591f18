#!/usr/bin/env bash
# Lists what is in the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: catalog.sh [--dry-run]

Lists each image in the registry $HPC_REGISTRY (192.168.56.1:5000): its tags, digest and size (as
it is sent). Exit code 1 if no registry answers.

    --dry-run   prints what it would ask, and does not
    --help      this text
Variables: HPC_REGISTRY; HPC_REGISTRY_USER and HPC_REGISTRY_PASSWORD if it wants a password.
TEXT
}

option() { return 1; }

options "$@"
settings
if [ -n "$dry" ]; then
    say "+ curl http://$HPC_REGISTRY/v2/_catalog, and the tags and manifests of each image"
    exit 0
fi
need_registry
url=$(registry_url)

# A request; the password goes by standard input, where nobody sees it. The certificate is checked
# if it is beside this script; without one of those, it is whatever the registry shows.
ask() {
    local login='' trust=(-k)
    [ -z "${HPC_REGISTRY_USER:-}" ] || login="user = \"$HPC_REGISTRY_USER:${HPC_REGISTRY_PASSWORD:-}\""
    [ ! -f "$registry_folder/certs/registry.crt" ] || trust=(--cacert "$registry_folder/certs/registry.crt")
    curl -s -f -m 20 "${trust[@]}" --config - "$@" <<<"$login"
}

# The strings of the array of that name in a JSON object on standard input, a line each.
strings() { tr -d '\n' | sed -n "s/.*\"$1\":\[\([^]]*\)\].*/\1/p" | tr ',' '\n' | tr -d '" '; }

manifest_type='Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json'

names=$(ask "$url/v2/_catalog?n=1000" | strings repositories) ||
    fail "$HPC_REGISTRY: does not tell: if it wants a password, give HPC_REGISTRY_USER and HPC_REGISTRY_PASSWORD"
printf '%-20s %-20s %-20s %10s\n' image tag digest size
for name in $names; do
    for tag in $(ask "$url/v2/$name/tags/list" | strings tags | sort); do
        [ "$tag" != null ] || continue # all of them were deleted
        manifest=$(ask -i -H "$manifest_type" "$url/v2/$name/manifests/$tag" | tr -d '\r')
        digest=$(sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: *//p' <<<"$manifest")
        size=$(grep -o '"size": *[0-9]*' <<<"$manifest" | awk '{ sum += $NF } END { printf "%.1f MB", sum / 1e6 }' FS=:)
        printf '%-20s %-20s %-20s %10s\n' "$name" "$tag" "${digest:0:19}…" "$size"
    done
done
