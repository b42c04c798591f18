"""The scripts of `registry/`, without an engine: what they say, what they call, how they fail."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from hpczmq._version import __version__
from tests.deploy.stubs import REGISTRY, Host
from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "registry"
#: What is sourced, and not run.
PARTS: Final = ("cluster.sh", "common.sh", "over-ssh.sh")
SCRIPTS: Final = sorted(path.name for path in FOLDER.glob("*.sh") if path.name not in PARTS)
#: What works on a registry, a file, or other machines, and needs no engine here.
NO_ENGINE: Final = ("catalog.sh", "trust.sh", "deploy-distributed.sh")
#: What some of them must be told.
GIVEN: Final = {"machine.sh": ["slave"]}
ROLES: Final = ("master", "slave", "memoria")
VERSIONED: Final = [f"{REGISTRY}/hpczmq-{role}:{__version__}" for role in ROLES]
#: A title, up to the first variable in it.
TITLE: Final = re.compile(r'"\[(\d)/(\d)\] ([^"$]*[^"$ ])')


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A checkout and programs that stand in for the real ones."""
    return Host(tmp_path)


def test_every_shell_script_of_the_repository_passes_shellcheck() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.sh"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert {f"registry/{name}" for name in SCRIPTS} <= set(listed)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [str(shellcheck), *listed], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


# --- What they all have -------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_tells_what_it_does(host: Host, script: str) -> None:
    ran = host.run(f"registry/{script}", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: {script} ")
    assert "--dry-run   prints what it would" in re.sub(" +(?=prints)", "   ", ran.out)
    assert not ran.called


@pytest.mark.parametrize("script", SCRIPTS)
def test_bad_usage_is_refused_before_anything_is_done(host: Host, script: str) -> None:
    ran = host.run(f"registry/{script}", "--nonsense")
    assert ran.code == 2
    assert ran.err.startswith("usage: ")
    assert f"{script}: --nonsense: is no option" in ran.err
    for name, value in (("HPC_REGISTRY", "host"), ("HPC_NET", "10.0"), ("HPC_SLAVES", "none")):
        ran = host.run(f"registry/{script}", *GIVEN.get(script, []), **{name: value})
        assert ran.code == 2, (name, ran)
        assert f"{script}: {name} = {value}: must be " in ran.err
        assert not ran.did


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_calls_nothing_that_changes_anything(host: Host, script: str) -> None:
    host.has_cluster()
    before = host.state()
    folder = {"HPC_FOLDER": str(host.root / "opt"), "HPC_DOCKER_CONFIG": str(host.root / "etc")}
    for more in ([], ["--distributed"]) if script == "update.sh" else ([],):
        ran = host.run(f"registry/{script}", *GIVEN.get(script, []), *more, "--dry-run", **folder)
        assert (ran.code, ran.did) == (0, []), ran
        assert host.state() == before
    assert not (host.root / "opt").exists()
    assert not (host.root / "etc").exists()
    assert not (host.root / "dockerfiles/.env").exists()


@pytest.mark.parametrize(
    "script", ["start.sh", "build-all-images.sh", "push.sh", "deploy-distributed.sh"]
)
def test_a_dry_run_prints_what_a_run_runs(host: Host, script: str) -> None:
    host.has_images(__version__)
    host.fails("machine.sh join$", says="token")
    dry = host.run(f"registry/{script}", "--dry-run")
    ran = host.run(f"registry/{script}")
    assert ran.code == 0, ran
    assert dry.said
    assert dry.said == ran.said
    did = [re.sub(r"  \[\d slaves\]$", "", line) for line in ran.did]
    assert [line for line in did if line in ran.said] == ran.said


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s not in NO_ENGINE])
def test_without_docker_the_remedy_is_said(host: Host, script: str) -> None:
    host.fails("^docker info")
    folder = {"HPC_FOLDER": str(host.root / "opt")}
    ran = host.run(f"registry/{script}", *GIVEN.get(script, []), **folder)
    assert ran.code == 1
    assert "docker: the engine does not answer: start it (systemctl start docker)" in ran.err
    (host.bin / "docker").unlink()
    ran = host.run(f"registry/{script}", *GIVEN.get(script, []), **folder)
    assert ran.code == 1
    assert "docker: not found: install it (Debian: apt-get install docker.io" in ran.err
    assert not ran.did


@pytest.mark.parametrize(
    "script", ["push.sh", "catalog.sh", "update.sh", "deploy-distributed.sh", "start.sh"]
)
def test_a_registry_that_does_not_answer_is_named(host: Host, script: str) -> None:
    host.has_cluster()
    host.fails("^curl")
    ran = host.run(f"registry/{script}")
    assert ran.code == 1
    assert REGISTRY in ran.err
    assert "registry/start.sh" in ran.err or "not in 0 s" in ran.err
    assert not [line for line in ran.did if " push " in line or line.startswith("ssh")]


@pytest.mark.parametrize("program", ["curl", "python3"])
def test_a_program_that_the_catalog_needs_is_named(host: Host, program: str) -> None:
    (host.bin / program).unlink()
    ran = host.run("registry/catalog.sh")
    assert ran.code == 1
    assert f"{program}: not found: install it (Debian: apt-get install {program})" in ran.err


# --- One after the other ------------------------------------------------------------------------


def test_images_are_built_with_their_labels_and_tags(host: Host) -> None:
    ran = host.run("registry/build-all-images.sh", HPC_BASE="my-base:1")
    assert ran.code == 0, ran
    assert len(ran.did) == len(ROLES)
    for role, line in zip(ROLES, ran.did, strict=True):
        assert f"--file {host.root}/dockerfiles/{role}.Dockerfile" in line
        assert f"--build-arg BASE=my-base:1 --build-arg VERSION={__version__}" in line
        assert "--build-arg REVISION=unknown" in line, "there is no git here"
        assert f"--tag {REGISTRY}/hpczmq-{role}:{__version__}" in line
        assert f"--tag {REGISTRY}/hpczmq-{role}:latest" in line


def test_a_build_that_fails_says_so(host: Host) -> None:
    host.fails("build .*slave.Dockerfile")
    ran = host.run("registry/build-all-images.sh")
    assert ran.code == 1
    assert f"hpczmq-slave:{__version__}: is not built" in ran.err
    assert "HPC_BASE" in ran.err


def test_both_tags_are_pushed_and_mean_the_same_image(host: Host) -> None:
    host.has_images(__version__)
    host.has_images("9", "of a later build")
    ran = host.run("registry/push.sh")
    pushed = [line.split()[2] for line in ran.did if line.startswith("docker push")]
    assert len(pushed) == 2 * len(ROLES)
    images = host.state()["images"]
    for name in VERSIONED:
        latest = f"{name.rpartition(':')[0]}:latest"
        assert {name, latest} <= set(pushed)
        assert images[latest] == images[name]


def test_an_image_that_is_not_there_is_not_pushed(host: Host) -> None:
    ran = host.run("registry/push.sh")
    assert (ran.code, ran.did) == (1, [])
    assert f"hpczmq-master:{__version__}: is not here: build it first (registry/build" in ran.err
    host.has_images(__version__)
    host.fails("docker push .*slave")
    ran = host.run("registry/push.sh")
    assert ran.code == 1
    assert "is not pushed: if Docker speaks of HTTPS, have it trust the registry" in ran.err


def test_a_whole_cluster_comes_up_in_its_order_and_a_second_run_changes_nothing(
    host: Host,
) -> None:
    first = host.run("registry/full-deploy.sh", HPC_SLAVES="3")
    assert first.code == 0, first
    steps = ["registry/compose.yaml", "docker build", "docker push", "keys.sh", "pull --quiet",
             "up -d --scale slave=3"]  # fmt: skip
    places = [next(i for i, line in enumerate(first.did) if step in line) for step in steps]
    assert places == sorted(places), first.did
    assert "hpczmq status" in first.called[-1]
    assert len(host.running("slave")) == 3
    kept = (host.root / "dockerfiles/.env").read_text()
    assert {f"HPC_REGISTRY={REGISTRY}", "COMPOSE_PROFILES=one-host"} <= set(kept.splitlines())
    before = host.state()
    second = host.run("registry/full-deploy.sh", HPC_SLAVES="3")
    assert second.code == 0
    assert host.state() == before
    assert (host.root / "dockerfiles/.env").read_text() == kept


def test_a_cluster_that_does_not_become_ready_is_a_fault(host: Host) -> None:
    host.fails("^hpczmq slaves", says="[]")
    ran = host.run("registry/full-deploy.sh")
    assert ran.code == 1
    assert "2 slaves are ready: not in 0 s: see the logs" in ran.err


# --- PowerShell ---------------------------------------------------------------------------------


def faults(source: str) -> list[str]:
    """What of a PowerShell script can't be parsed."""
    tree = Parser(Language(tree_sitter_powershell.language())).parse(source.encode())
    found, left = [], [tree.root_node]
    while left:
        node: Node = left.pop()
        if node.type == "ERROR" or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: {node.type}")
        left += node.children
    return found


def powershell() -> str:
    return (FOLDER / "deploy-distributed.ps1").read_text()


def test_the_powershell_script_parses() -> None:
    assert not faults(powershell())
    assert powershell().isascii(), "PowerShell 5.1 reads it in the code page of the machine"


@pytest.mark.parametrize(
    ("good", "broken"), [("foreach (", "foreach "), ("param(", "param"), ("$true", "$(")]
)
def test_a_broken_powershell_script_is_found(good: str, broken: str) -> None:
    text = f"{powershell()}\n$Last = $true\n"
    assert not faults(text)
    assert faults(broken.join(text.rsplit(good, 1)))


def test_the_powershell_script_says_what_it_does_and_stops_at_errors() -> None:
    text = powershell()
    for part in (".SYNOPSIS", ".DESCRIPTION", ".EXAMPLE", "[CmdletBinding()]", "[switch]$DryRun"):
        assert part in text
    assert '$ErrorActionPreference = "Stop"' in text
    parameters = re.search(r"\nparam\((.*?)\n\)", text, re.DOTALL)
    assert parameters is not None
    for name in re.findall(r"\]\$(\w+)", parameters[1]):
        assert f".PARAMETER {name}\n" in text


def test_after_each_program_powershell_looks_at_its_exit_code() -> None:
    lines = [line.strip() for line in powershell().splitlines()]
    calls = [i for i, line in enumerate(lines) if re.search(r"(^|\(|\| )& (ssh|\$Program)", line)]
    assert calls
    for number in calls:
        assert any("$LASTEXITCODE" in line for line in lines[number + 1 : number + 9]), number


def test_the_steps_of_both_deployments_are_the_same() -> None:
    shell = (FOLDER / "deploy-distributed.sh").read_text()
    titles = TITLE.findall(shell)
    assert [int(number) for number, _, _ in titles] == list(range(1, len(titles) + 1))
    assert {int(of) for _, of, _ in titles} == {len(titles)}
    assert TITLE.findall(powershell()) == titles


def test_both_deployments_bring_the_same_files_to_the_same_place(host: Host) -> None:
    ran = host.run("registry/deploy-distributed.sh", "--dry-run")
    brought = set(re.findall(r"scp .*?/checkout/(\S+) ", ran.out))
    named = re.search(r"\$Files = (.*?)\nforeach", powershell(), re.DOTALL)
    assert named is not None
    assert brought == set(re.findall(r'"(\w[^"]*\.\w+)"', named[1])) - {
        "registry/certs/registry.crt"
    }
    assert "\nbundle=hpczmq-deploy\n" in (FOLDER / "over-ssh.sh").read_text()
    assert '\n$Bundle = "hpczmq-deploy"\n' in powershell()


# --- Machines over ssh --------------------------------------------------------------------------


def test_machines_are_deployed_in_order_and_the_token_goes_by_standard_input(host: Host) -> None:
    host.fails("machine.sh join", says="the-token\nthe-fingerprint")
    ran = host.run("registry/deploy-distributed.sh", HPC_SLAVES="2", HPC_SSH_USER="ana",
                   HPC_SSH_OPTIONS="-i key")  # fmt: skip
    assert ran.code == 0, ran
    made = [re.sub(r".*(ana@\S+).* ESCLAVO=(\S*) bash \S+ (.*)", r"\1 \2 \3", line)
            for line in ran.did if "machine.sh" in line and line.startswith("ssh")]  # fmt: skip
    assert made == [
        "ana@192.168.56.10 maestro master", "ana@192.168.56.10 maestro join",
        "ana@192.168.56.11 esclavo1 slave", "ana@192.168.56.12 esclavo2 slave",
        "ana@192.168.56.10 esclavo1 ready", "ana@192.168.56.10 esclavo2 ready",
        "ana@192.168.56.10 maestro status",
    ]  # fmt: skip
    assert all(" -i key " in line for line in ran.did if line.startswith(("ssh", "scp")))
    assert "the-token" not in "\n".join(ran.called) + ran.out, "who lists processes would see it"
    key = host.root / "dockerfiles/secrets/admin-192.168.56.10.key"
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("ssh .*@192.168.56.11 .*docker info", "192.168.56.11: can't be used: let vagrant in by"),
        ("scp .*192.168.56.10", "192.168.56.10: registry/common.sh can't be brought there"),
        ("machine.sh master", "192.168.56.10: what went wrong stands above"),
        ("machine.sh join", "192.168.56.10: does not tell what slaves join by"),
        ("machine.sh slave", "192.168.56.11: what went wrong stands above"),
        ("machine.sh ready", "esclavo1 is ready: not in 0 s"),
        ("admin.key", "192.168.56.10: does not give the admin's key"),
    ],
)
def test_a_deployment_that_fails_says_where_and_stops(host: Host, pattern: str, told: str) -> None:
    host.fails(pattern)
    ran = host.run("registry/deploy-distributed.sh")
    assert ran.code == 1
    assert told in ran.err
    assert not [line for line in ran.did if line.endswith(" status")]


# --- Trust --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        None, "", " \n", "{}", "{ }\n", '{"debug": true}', '{"insecure-registries": []}',
        '{\n  "log-opts": {"max-size": "1\\"0m"},\n  "insecure-registries" : ["x:1",\n"y"]\n}\n',
        '{"insecure-registries": ["x:1"], "b": {"insecure-registries": ["10.0.0.1:5000"]}}',
        '{"label": "\N{LATIN SMALL LETTER N WITH TILDE}", "insecure-registries": [ ]}',
    ],
)  # fmt: skip
def test_a_docker_comes_to_trust_the_registry_and_keeps_all_else(
    host: Host, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "etc" / "daemon.json"
    if text is not None:
        file.parent.mkdir()
        file.write_text(text)
    given = {"HPC_REGISTRY": "10.0.0.1:5000", "HPC_DOCKER_CONFIG": str(file.parent),
             "HPC_DOCKER_PID": str(tmp_path / "pid")}  # fmt: skip
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as engine:
        (tmp_path / "pid").write_text(f"{engine.pid}\n")
        ran = host.run("registry/trust.sh", **given)
        assert ran.code == 0, ran
        assert engine.wait(10) == -signal.SIGHUP, "it is told to read the file again"
    was = json.loads(text) if text and text.strip() else {}
    new = json.loads(file.read_text())
    trusted = new.pop("insecure-registries")
    assert sorted(trusted) == sorted([*was.pop("insecure-registries", []), "10.0.0.1:5000"])
    assert new == was
    before = file.read_bytes()
    ran = host.run("registry/trust.sh", **given)
    assert (ran.code, ran.did, file.read_bytes()) == (0, [], before)
    assert "names 10.0.0.1:5000 already" in ran.out


@pytest.mark.parametrize("text", ["[]", '"x"', "{", '{"insecure-registries": "x"}', "{} {}"])
def test_a_configuration_that_is_none_is_left_alone(host: Host, tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    ran = host.run(
        "registry/trust.sh", HPC_REGISTRY="10.0.0.1:5000", HPC_DOCKER_CONFIG=str(tmp_path)
    )
    assert ran.code == 1
    assert "daemon.json: " in ran.err
    assert "mend it" in ran.err
    assert (tmp_path / "daemon.json").read_text() == text


def test_a_certificate_is_put_where_docker_looks_for_it(host: Host, tmp_path: Path) -> None:
    (host.root / "registry/certs").mkdir()
    (host.root / "registry/certs/registry.crt").write_text("certificate")
    for said in ("+ cp", "is there already"):
        ran = host.run("registry/trust.sh", HPC_DOCKER_CONFIG=str(tmp_path))
        assert ran.code == 0
        assert said in ran.out
    assert (tmp_path / f"certs.d/{REGISTRY}/ca.crt").read_text() == "certificate"
    assert not (tmp_path / "daemon.json").exists()
