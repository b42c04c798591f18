#!/usr/bin/env bash
# Puts hpczmq on a host without containers: /opt/hpczmq, its users, its systemd units.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
usage: install.sh [--from WHEEL|FOLDER] [--dry-run]
       install.sh uninstall [--purge] [--dry-run]

Installs, or brings up to date, as root:
    /opt/hpczmq                  a virtual environment with hpczmq and all that it needs
    /etc/systemd/system          hpczmq-master, hpczmq-slave, hpczmq-memoria@1 and @2
    /etc/sysusers.d              the users hpczmq and hpczmq-slave
    /etc/hpczmq/common.env       settings; a file that is there stays as it is
    /usr/local/bin               hpczmq, and hpczmq-admin for the master's machine
Nothing is started or stopped: it says what to do next. It needs Python 3.11 or newer with venv,
systemd 250 or newer, and pip's index or what PIP_FIND_LINKS names; a C compiler and Python's
headers make the fast kernel, without them the other ones are there.

    --from      what to install: a wheel of hpczmq, or its sources (this checkout unless named)
    uninstall   stops the nodes and takes all of that away but for settings, keys and histories
    --purge     … these too: /etc/hpczmq, /var/lib/hpczmq, /var/lib/hpczmq-slave, the users
    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: PYTHON (python3), and pip's own, like PIP_INDEX_URL, PIP_NO_INDEX, PIP_FIND_LINKS.
TEXT
}

fail() { echo "install.sh: $1" >&2; exit "${2:-1}"; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
action=install dry='' purge='' from=''
while [ $# -gt 0 ]; do
    case $1 in
        uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        --dry-run) dry=yes ;;
        --from)
            [ $# -gt 1 ] || fail "--from: must be followed by a wheel or a folder" 2
            from=$2
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "$1: is no option" 2 ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$action" = uninstall ] || fail "--purge: only with uninstall" 2
[ -z "$from" ] || [ "$action" = install ] || fail "--from: not with uninstall" 2

readonly prefix=/opt/hpczmq settings=/etc/hpczmq units=/etc/systemd/system bin=/usr/local/bin
python=${PYTHON:-python3}
scratch=''
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

say() { echo "${dry:+would: }$*"; }

# Says what is to be done, and does it.
step() {
    say "$1"
    shift
    [ -n "$dry" ] || "$@"
}

# A file, only where it is another one.
put() {
    if cmp -s "$1" "$2"; then say "$2: is there"; return; fi
    step "$2: writes it" install -D -m "$3" "$1" "$2"
}

has_systemd() { [ -d /run/systemd/system ]; }

# Nodes that run here, one a line.
running() {
    if has_systemd; then
        systemctl list-units --plain --no-legend --full --state=active 'hpczmq-*.service' |
            awk '{ print $1 }'
    fi
}

check() {
    [ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "must be run by root: sudo $0"
    if [ "$action" = uninstall ]; then return; fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python: must be Python 3.11 or newer: name another one with PYTHON=python3.12"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python: has no venv: apt-get install python3-venv (Debian, Ubuntu)"
    command -v systemd-sysusers >/dev/null ||
        fail "systemd-sysusers: not found: this is for hosts with systemd; docs/install.md has others"
    from=${from:-$(cd "$here/../.." && pwd)}
    case $from in
        *.whl) [ -f "$from" ] || fail "$from: is not there: name a wheel that is" ;;
        *) [ -f "$from/pyproject.toml" ] ||
            fail "$from: has no pyproject.toml: name a wheel, or the sources of hpczmq, with --from" ;;
    esac
    # The same versions as in the containers, by their hashes, where the list is at hand.
    constraints=$from/constraints-run.txt
    [ -f "$constraints" ] || constraints=$here/../../constraints-run.txt
    [ -f "$constraints" ] || constraints=''
}

pip() { "$prefix/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

install_package() {
    if ! "$prefix/bin/python" -m pip --version >/dev/null 2>&1; then
        step "$prefix: makes a virtual environment" "$python" -m venv --clear "$prefix"
    fi
    if [ -n "$constraints" ]; then
        step "$prefix: installs what constraints-run.txt lists" \
            pip --require-hashes --no-deps -r "$constraints"
    fi
    case $from in
        *.whl)
            step "$prefix: installs $from" \
                pip ${constraints:+--no-deps} --force-reinstall "$from" ;;
        *) step "$prefix: builds and installs $from" from_sources ;;
    esac
    [ -z "$dry" ] || return 0
    "$prefix/bin/hpczmq" --version || fail "$prefix: what was installed does not work, see above"
    "$prefix/bin/python" -c 'import hpczmq.kernels._julia' 2>/dev/null ||
        say "without the fast kernel: with a C compiler and Python's headers (Debian: gcc" \
            "python3-dev) run this again"
}

# Out of a copy: building leaves files beside the sources, and they may not be ours.
from_sources() {
    local part
    scratch=$(mktemp -d)
    for part in pyproject.toml setup.py MANIFEST.in README.md LICENSE cli.py hpczmq kernels nodes; do
        cp -a "$from/$part" "$scratch/"
    done
    rm -f "$scratch"/kernels/*.so "$scratch"/kernels/_julia.c
    if [ -n "$constraints" ]; then
        pip --no-deps --no-build-isolation --force-reinstall "$scratch"
    else
        pip --force-reinstall "$scratch"
    fi
}

install_units() {
    local file
    put "$here/sysusers.conf" /etc/sysusers.d/hpczmq.conf 0644
    step "users hpczmq and hpczmq-slave: makes them, if they are not there" \
        systemd-sysusers /etc/sysusers.d/hpczmq.conf
    for file in hpczmq hpczmq-slave; do
        [ -d "/var/lib/$file" ] || step "/var/lib/$file: makes it, for $file alone" \
            install -d -o "$file" -g "$file" -m 0700 "/var/lib/$file"
    done
    for file in "$here"/hpczmq-*.service; do
        put "$file" "$units/$(basename "$file")" 0644
    done
    if [ -e "$settings/common.env" ]; then
        say "$settings/common.env: stays as it is"
    else
        put "$here/common.env" "$settings/common.env" 0644
    fi
    put "$here/hpczmq-admin" "$bin/hpczmq-admin" 0755
    [ -e "$bin/hpczmq" ] ||
        step "$bin/hpczmq: links it" ln -s "$prefix/bin/hpczmq" "$bin/hpczmq"
    if has_systemd; then
        step "systemd: has it read its units anew" systemctl daemon-reload
    fi
}

what_next() {
    local nodes
    nodes=$(running | tr '\n' ' ')
    if [ -n "$nodes" ]; then
        echo "next: these run what was there before, so: systemctl restart $nodes"
        case $nodes in *master*) echo "      (the master's jobs end with it: hpczmq-admin status)" ;; esac
        return
    fi
    cat <<'TEXT'
next, on the master's machine:
    hpczmq-admin keys init
    systemctl enable --now hpczmq-master
    hpczmq-admin keys token --role slave --expires 7d --uses 10
    … into /etc/hpczmq/slave.token of the slaves, and the fingerprint into /etc/hpczmq/fingerprint
and on a slave's:
    MAESTRO_IP=… in /etc/hpczmq/common.env
    systemctl enable --now hpczmq-slave
docs/install.md has all of it.
TEXT
}

uninstall() {
    local nodes file
    nodes=$(running | tr '\n' ' ')
    if has_systemd; then
        # shellcheck disable=SC2086 # a list
        step "stops and disables: hpczmq-slave hpczmq-memoria@1 hpczmq-memoria@2 hpczmq-master $nodes" \
            stop hpczmq-slave.service hpczmq-memoria@1.service hpczmq-memoria@2.service \
            hpczmq-master.service $nodes
    fi
    for file in "$units"/hpczmq-{master,slave,memoria@}.service /etc/sysusers.d/hpczmq.conf \
        "$bin/hpczmq-admin"; do
        [ ! -e "$file" ] || step "$file: takes it away" rm -f "$file"
    done
    if [ "$(readlink "$bin/hpczmq")" = "$prefix/bin/hpczmq" ]; then
        step "$bin/hpczmq: takes it away" rm -f "$bin/hpczmq"
    fi
    [ ! -d "$prefix" ] || step "$prefix: takes it away" rm -rf "$prefix"
    if has_systemd; then
        step "systemd: has it read its units anew" systemctl daemon-reload
    fi
    if [ -z "$purge" ]; then
        say "$settings, /var/lib/hpczmq, /var/lib/hpczmq-slave and the users stay: --purge takes them too"
        return
    fi
    for file in "$settings" /var/lib/hpczmq /var/lib/hpczmq-slave "$units"/hpczmq-*.service.d; do
        [ ! -e "$file" ] || step "$file: takes it away, with all that is in it" rm -rf "$file"
    done
    for file in hpczmq hpczmq-slave; do
        if id "$file" >/dev/null 2>&1; then step "user $file: takes it away" userdel "$file"; fi
    done
}

# Where a unit is not there, there is nothing to stop.
stop() {
    local unit
    for unit in "$@"; do
        systemctl disable --quiet --now "$unit" 2>/dev/null || systemctl stop "$unit" 2>/dev/null || true
    done
}

check
if [ "$action" = uninstall ]; then
    uninstall
else
    install_package
    install_units
    what_next
fi
