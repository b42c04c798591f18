"""What the images are made by, and compose.yaml, looked at without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from hpczmq import addresses
from hpczmq.config import Config
from hpczmq.nodes.launch import MEMORIA_ALERTS_PORT, MEMORIA_PORT
from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "dockerfiles"
ROLES: Final = ("master", "slave", "memoria")
#: From here on the Dockerfiles differ.
ROLE_LINE: Final = "# --- The role"
PORTS: Final = {
    "master": {addresses.DISPATCH_PORT, addresses.CONTROL_PORT},
    "slave": {addresses.SLAVE_PORT},
    "memoria": {first + n for first in (MEMORIA_PORT, MEMORIA_ALERTS_PORT) for n in (1, 2)},
}
#: The variables of the containers that stand for settings.
CONTAINERS_OWN: Final = {"MAESTRO_IP", "ESCLAVO", "MEMORIA_NODE"}
SETTINGS: Final = {f"HPCZMQ_{name.upper()}" for name in Config.__dataclass_fields__} | {
    "HPCZMQ_TOKEN_FILE", "HPCZMQ_FINGERPRINT_FILE",
}  # fmt: skip


def dockerfile(role: str) -> str:
    return (FOLDER / f"{role}.Dockerfile").read_text()


def compose() -> dict[str, Any]:
    """The services of compose.yaml."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def tool(*command: str) -> str:
    """What a checking program says; fails if it finds something."""
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(program), *command[1:]], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_dockerfiles_are_the_same_down_to_the_role() -> None:
    common = {dockerfile(role).partition(ROLE_LINE)[0] for role in ROLES}
    assert len(common) == 1, "or the engine builds the stages three times"


def test_the_dockerfiles_pass_hadolint() -> None:
    tool("hadolint", *[f"dockerfiles/{role}.Dockerfile" for role in ROLES])


@pytest.mark.parametrize("role", ROLES)
def test_an_image_exposes_the_ports_of_its_node(role: str) -> None:
    exposed = re.search(r"^EXPOSE (.*)$", dockerfile(role), re.MULTILINE)
    assert exposed is not None
    assert {int(port) for port in exposed[1].split()} == PORTS[role]


@pytest.mark.parametrize("role", ROLES)
def test_an_image_sets_only_what_is_a_setting(role: str) -> None:
    variables = set(re.findall(r"\b(HPCZMQ_[A-Z_]+)=", dockerfile(role)))
    assert variables
    assert variables <= SETTINGS


@pytest.mark.parametrize("role", ROLES)
def test_all_that_an_image_is_built_from_is_sent_to_the_engine(role: str) -> None:
    sent = (ROOT / ".dockerignore").read_text()
    copies = re.findall(r"^COPY (?!--from)(.*)$", dockerfile(role), re.MULTILINE)
    sources = [source for line in copies for source in line.split()[:-1]]
    assert "hpczmq" in sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"\n!{source}\n" in sent


def test_compose_fits_its_schema_and_reads_well() -> None:
    files = ["dockerfiles/compose.yaml", *map(str, sorted((ROOT / "registry").glob("compose*")))]
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
    tool("yamllint", "--strict", "-d", rules, *files, "registry/config.yml")


def test_each_service_is_locked_down_and_bounded() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert {"cpus", "mem_limit", "pids_limit"} <= set(service), name
        assert service["logging"]["options"]["max-size"], name


def test_each_service_is_given_settings_and_secrets_that_there_are() -> None:
    table = compose()
    for name, service in table["services"].items():
        given = set(service.get("environment", {}))
        assert given <= SETTINGS | CONTAINERS_OWN, name
        secrets = set(service.get("secrets", []))
        assert secrets <= set(table["secrets"]), name
        for variable in ("HPCZMQ_TOKEN_FILE", "HPCZMQ_FINGERPRINT_FILE"):
            if path := service.get("environment", {}).get(variable):
                assert path.removeprefix("/run/secrets/") in secrets, name


def test_a_virtual_machine_runs_what_one_host_runs() -> None:
    services = compose()["services"]
    profiles = {name: service["profiles"][0] for name, service in services.items()}
    here = {name for name, profile in profiles.items() if profile == "one-host"}
    there = {name.removeprefix("vm-") for name in profiles if name not in here}
    assert here == there == {"master", "memoria1", "memoria2", "slave"}
    for name in here:
        assert services[name]["image"] == services[f"vm-{name}"]["image"]
        assert services[f"vm-{name}"]["network_mode"] == "host"


def test_a_slave_has_left_before_it_is_killed() -> None:
    slave = compose()["services"]["slave"]
    grace_s = float(slave["environment"]["HPCZMQ_GRACE_S"])
    assert grace_s < float(slave["stop_grace_period"].removesuffix("s"))


def test_the_example_of_settings_has_each_of_them_and_no_other() -> None:
    named = set(re.findall(r"\$\{([A-Z_]+)", (FOLDER / "compose.yaml").read_text()))
    example = set(re.findall(r"^#?([A-Z_]+)=", (FOLDER / "env.example").read_text(), re.M))
    assert example == named | {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}


def test_the_example_of_settings_says_the_defaults() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (FOLDER / "env.example").read_text(), re.M))
    assert {name: example[name] for name in defaults} == defaults
