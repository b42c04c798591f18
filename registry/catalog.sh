#!/usr/bin/env bash
# Lists what is in the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: catalog.sh [--dry-run]

Lists each image in the registry $HPC_REGISTRY (192.168.56.1:5000): its tags, digest, size (as it
is sent) and age (since it was built). Exit code 1 if no registry answers.

    --dry-run   prints what it would ask, and does not
    --help      this text
Variables: HPC_REGISTRY; HPC_REGISTRY_USER and HPC_REGISTRY_PASSWORD if it wants a password.
TEXT
}

option() { return 1; }

options "$@"
settings
if [ -n "$dry" ]; then
    say "+ GET $HPC_REGISTRY/v2/_catalog, and the tags and manifests of each image"
    exit 0
fi
need_registry

manifests='application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json'
manifests="$manifests, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"

# What the registry says to a path, in body. Not by way of standard output: a fault ends it all.
ask() {
    local answer
    answer=$(http "$url/v2/$1" "${2:-}") || fail "$HPC_REGISTRY: does not answer any more"
    body=${answer%$'\n'*}
    case ${answer##*$'\n'} in
        200) ;;
        401) fail "$HPC_REGISTRY: wants a password, or another one: HPC_REGISTRY_USER, HPC_REGISTRY_PASSWORD" ;;
        404) return 1 ;; # deleted meanwhile
        *) fail "$HPC_REGISTRY: /v2/$1: answers ${answer##*$'\n'}: see its log" ;;
    esac
}

# Values of json_lines whose paths match.
values() { awk -F '\t' -v path="$1" '$1 ~ path { print $2 }'; }

# A list that comes in pages, in found: PATH NAME
all_of() {
    local last='' page
    found=''
    while ask "$1?n=100${last:+&last=$last}"; do
        page=$(json_lines <<<"$body" | values "^$2\\\\[")
        # An empty page is the end; of a registry that knows no pages it is the same one again.
        if [ -z "$page" ] || [ "${page##*$'\n'}" = "$last" ]; then break; fi
        found+=$page$'\n'
        last=${page##*$'\n'}
    done
}

# Seconds as people say them.
age() {
    local began seconds
    began=$(date -u -d "$1" +%s 2>/dev/null) || { echo "${1:0:10}" && return; }
    seconds=$(($(date +%s) - began))
    if [ $seconds -ge 172800 ]; then
        echo "$((seconds / 86400)) days"
    elif [ $seconds -ge 7200 ]; then
        echo "$((seconds / 3600)) hours"
    else
        echo "$((seconds / 60)) min"
    fi
}

printf '%-16s %-14s %-71s %9s  %s\n' image tag digest size age
all_of _catalog repositories
for name in $found; do
    all_of "$name/tags/list" tags
    tags=$(sort <<<"$found")
    for tag in $tags; do
        ask "$name/manifests/$tag" "$manifests" || continue
        digest=sha256:$(printf '%s' "$body" | sha256sum | cut -d ' ' -f 1)
        lines=$(json_lines <<<"$body")
        inner=$(values '^manifests\\[0\\].digest$' <<<"$lines")
        if [ -n "$inner" ]; then # an index: the first is the image, others say how it was made
            ask "$name/manifests/$inner" "$manifests" || continue
            lines=$(json_lines <<<"$body")
        fi
        size=$(values '^(config|layers\\[[0-9]+\\])\\.size$' <<<"$lines" | awk '{ sum += $1 } END { printf "%.1f MB", sum / 1e6 }')
        ask "$name/blobs/$(values '^config.digest$' <<<"$lines")" || continue
        made=$(json_lines <<<"$body" | values '^created$')
        printf '%-16s %-14s %-71s %9s  %s\n' "$name" "$tag" "$digest" "$size" "$(age "$made")"
    done
done
