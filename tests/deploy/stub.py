"""One program that is all the stand-ins of `stubs`: `stub.py NAME ARGUMENTS…`.

A script calls a hundred of them, so that each must begin at once: what takes time to import is
imported where it is needed.
"""

from __future__ import annotations

import marshal
import os
import sys
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

FILE = os.environ["STUB_STATE"]
#: Which image a service of Compose runs.
ROLES = {"master": "master", "memoria1": "memoria", "memoria2": "memoria", "slave": "slave"}


def main(name: str, arguments: list[str]) -> int:
    """Note the call, then do what the real one would."""
    line = " ".join([name, *arguments]).replace("\n", " ")
    with open(FILE, "rb") as file:
        state = marshal.load(file)
    with open(os.environ["STUB_LOG"], "a") as log:
        running = sum(one["service"] == "slave" for one in state["containers"])
        log.write(f"{line}  [{running} slaves]\n" if name == "docker" else f"{line}\n")
    for pattern, text in state["fails"].items():
        import re

        if re.search(pattern, line):
            print(text or f"{name}: it went wrong", file=sys.stdout if text else sys.stderr)
            return 0 if text else 1
    code = {
        "docker": docker, "docker-compose": compose, "hpczmq": hpczmq, "curl": curl,
    }.get(name, nothing)(state, arguments)  # fmt: skip
    save(state)
    return code


def save(state: dict[str, Any]) -> None:
    """Keep what is known for the next one."""
    with open(FILE, "wb") as file:
        marshal.dump(state, file)


def nothing(state: dict[str, Any], arguments: list[str]) -> int:
    """Succeed."""
    return 0


def curl(state: dict[str, Any], arguments: list[str]) -> int:
    """A registry answers."""
    print("200")
    return 0


# --- Docker -------------------------------------------------------------------------------------


def docker(state: dict[str, Any], arguments: list[str]) -> int:
    """The engine."""
    images, containers = state["images"], state["containers"]
    last = arguments[-1]
    match arguments:
        case ["compose", *_]:
            return 1
        case ["build", *_]:
            tags = [tag for flag, tag in pairwise(arguments)
                    if flag == "--tag"]  # fmt: skip
            for tag in tags:
                images[tag] = tags[0].rpartition("hpczmq-")[2].replace(":", " ")
        case ["tag", known, new]:
            images[new] = images[known]
        case ["image", "inspect", *rest]:
            names = {*images, *images.values()}
            if last not in names:
                return 1
            found = images.get(last, last)
            print(found if "{{.Id}}" in rest else f"{found} (…)")
        case ["inspect", "-f", what, *ids]:
            for one in containers:
                if one["id"] in ids:
                    host = "Hostname" in what
                    print(one["id"] if host else "healthy" if "Health" in what else one["image"])
        case ["ps", *_]:
            asked = [one.partition(".service=")[2] for one in arguments if ".service=" in one]
            for one in containers:
                if one["service"] in (asked or [one["service"]]) and "status" not in str(arguments):
                    print(one["id"])
        case ["rm", *_]:
            state["containers"] = [one for one in containers if one["id"] != last]
        case ["stop", *_]:
            state["slaves"].pop(f"{last}-7", None)
        case ["exec", *rest]:
            inside(state, rest[1:])
        case ["run", *rest]:
            print(state.get("protocol", 6))
    return 0


def compose(state: dict[str, Any], arguments: list[str]) -> int:
    """Containers as compose.yaml has them; those of the registry are nobody's here."""
    if "registry/compose.yaml" in " ".join(arguments):
        return 0
    rest = arguments[arguments.index("-p") + 2 :]
    if rest[0] == "--profile":
        rest = rest[2:]
    match rest:
        case ["exec", "-T", service, "hpczmq", "ping", _]:
            return 0 if any(one["service"] == service for one in state["containers"]) else 1
        case ["exec", "-T", _, *command]:
            inside(state, command)
        case ["up", "-d", *rest]:
            up(state, rest)
    return 0


def up(state: dict[str, Any], rest: list[str]) -> None:
    """Start what is not there, and replace what runs another image, unless told not to."""
    registry, version = os.environ["HPC_REGISTRY"], os.environ["HPC_VERSION"]
    named = [one for one in rest if one in ROLES]
    scale = next((int(one[6:]) for one in rest if one.startswith("slave=")), 0)
    for service in named or ROLES:
        wanted = state["images"][f"{registry}/hpczmq-{ROLES[service]}:{version}"]
        there = [one for one in state["containers"] if one["service"] == service]
        if "--no-recreate" not in rest:
            for one in there:
                one["image"] = wanted
        for _ in range(len(there), scale if service == "slave" else 1):
            state["made"] += 1
            id = f"c{state['made']}"
            state["containers"].append({"id": id, "service": service, "image": wanted})
            if service == "slave" and not wanted.endswith("broken"):
                state["slaves"][f"{id}-7"] = {"state": "ready", "leases": 0}


def inside(state: dict[str, Any], command: list[str]) -> NoReturn:
    """A command in a container: here, with the stand-in of hpczmq."""
    if command[:2] == ["python3", "-c"]:
        print(6)
        sys.exit(0)
    save(state)
    sys.stdout.flush()
    os.execvp(command[0], command)


# --- hpczmq -------------------------------------------------------------------------------------


def hpczmq(state: dict[str, Any], arguments: list[str]) -> int:
    """The cluster; a slave that gets nothing new has a lease less each time that one looks."""
    import json

    slaves = state["slaves"]
    match arguments:
        case ["slaves", "--json"]:
            rows = [{"name": name, "silent_s": 0.1, **one} for name, one in slaves.items()]
            print(json.dumps(rows))
            for one in slaves.values():
                if one["state"] == "draining" and one["leases"]:
                    one["leases"] -= 1
        case ["jobs", "--json"]:
            print(json.dumps(state["jobs"]))
        case ["drain", name]:
            slaves[name]["state"] = "draining"
        case ["status"]:
            print("cluster   hpczmq")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
