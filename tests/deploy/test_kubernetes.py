"""The manifests for Kubernetes: against its schemas, against each other, and against the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from hpczmq import addresses, limits, needs
from hpczmq._version import __version__
from hpczmq.cli import app
from hpczmq.config import Config, load
from hpczmq.nodes.launch import MEMORIA_ALERTS_PORT, MEMORIA_PORT
from tests.deploy.test_dockerfiles import CONTAINERS_OWN, ROLES, SETTINGS, tool
from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "deploy/kubernetes"
Manifest = dict[str, Any]
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
MASTERS: Final = {addresses.DISPATCH_PORT, addresses.CONTROL_PORT}
MEMORIAS: Final = {first + n for first in (MEMORIA_PORT, MEMORIA_ALERTS_PORT) for n in (1, 2)}
QUESTIONS: Final = {MEMORIA_PORT + n for n in (1, 2)}
COMMANDS: Final = {info.name for info in app.registered_commands} | {"keys"}
#: What a pod's name has behind its deployment's: the template's hash, and five characters.
POD_TAIL: Final = len("-0123456789-abcde")


def manifests(pattern: str = "*.yaml") -> list[Manifest]:
    """All of them, but for kustomize's own."""
    paths = [path for path in sorted(FOLDER.glob(pattern)) if path.name != "kustomization.yaml"]
    return [one for path in paths for one in yaml.safe_load_all(path.read_text())]


def kustomization() -> Manifest:
    found: Manifest = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return found


def of_kind(*kinds: str) -> list[Manifest]:
    found = [one for one in manifests() if one["kind"] in kinds]
    assert found
    return found


def workloads() -> list[Manifest]:
    return of_kind("Deployment", "StatefulSet")


def component(one: Manifest) -> str:
    name: str = one["metadata"]["labels"][COMPONENT]
    return name


def workload(name: str) -> Manifest:
    return next(one for one in workloads() if one["metadata"]["name"] == name)


def pod(one: Manifest) -> Manifest:
    spec: Manifest = one["spec"]["template"]["spec"]
    return spec


def container(one: Manifest) -> Manifest:
    (main,) = pod(one)["containers"]
    return dict(main)


def environment(one: Manifest) -> dict[str, str]:
    """Its variables, but for those that Kubernetes fills in."""
    given = container(one).get("env", [])
    return {entry["name"]: entry["value"] for entry in given if "value" in entry}


def probes(one: Manifest) -> dict[str, Manifest]:
    main = container(one)
    return {key: main[key] for key in main if key.endswith("Probe")}


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def pods(selector: Manifest) -> set[str]:
    """The components whose pods a selector takes."""
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in workloads()]
    labels.append({NAME: "hpczmq", COMPONENT: "client"})  # pods of users
    return {one[COMPONENT] for one in labels if matches(selector, one)}


def size(text: str) -> int:
    """Bytes of a quantity: 512Mi, 8Gi."""
    return needs.memory_bytes(f"{text}B", "")


# --- By themselves ------------------------------------------------------------------------------


def test_they_fit_their_schemas_and_read_well() -> None:
    paths = [str(path.relative_to(ROOT)) for path in sorted(FOLDER.rglob("*.yaml"))]
    checked = [path for path in paths if not path.endswith("kustomization.yaml")]
    tool("kubernetes-validate", "--strict", *checked)
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
    tool("yamllint", "--strict", "-d", rules, *paths)


def test_the_kustomization_has_each_of_them() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {
        *kustomization()["resources"], "kustomization.yaml",
    }  # fmt: skip


def test_kubectl_puts_them_together() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("not found: kubectl; apt-get install kubernetes-client has an old one")
    done = subprocess.run(
        [kubectl, "kustomize", str(FOLDER)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    made = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in made} == {"hpczmq"}
    images = set(re.findall(r"image: (\S+)", done.stdout))
    assert images == {f"192.168.56.1:5000/hpczmq-{role}:{__version__}" for role in ROLES}


def test_images_are_those_that_are_pushed() -> None:
    given = {entry["name"]: entry for entry in kustomization()["images"]}
    used = {
        one["image"] for load_ in workloads() for kind in ("initContainers", "containers")
        for one in pod(load_).get(kind, [])
    }  # fmt: skip
    assert used == set(given) == {f"hpczmq-{role}" for role in ROLES}
    assert {entry["newTag"] for entry in given.values()} == {__version__}
    common = (ROOT / "registry/common.sh").read_text()
    assert all(entry["newName"].rpartition("/")[0] in common for entry in given.values())


# --- Against each other -------------------------------------------------------------------------


def test_selectors_take_the_pods_that_they_are_for() -> None:
    for one in workloads():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert matches(one["spec"]["selector"], labels), one["metadata"]["name"]
        for spread in pod(one).get("topologySpreadConstraints", []):
            assert pods(spread["labelSelector"]) == {component(one)}
    for one in of_kind("PodDisruptionBudget"):
        assert pods(one["spec"]["selector"]) == {component(one)}
    for one in of_kind("Service"):
        assert pods({"matchLabels": one["spec"]["selector"]}) == {"master"}
    chosen = [one["spec"]["selector"] for one in workloads()]
    for one in workloads():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert sum(matches(selector, labels) for selector in chosen) == 1, "no pod has two owners"


def test_ports_are_those_of_the_nodes() -> None:
    (service,) = of_kind("Service")
    ports = {entry["name"]: entry["containerPort"] for entry in
             container(workload("hpczmq-master"))["ports"]}  # fmt: skip
    assert set(ports.values()) == MASTERS
    for entry in service["spec"]["ports"]:
        assert entry["port"] == ports[entry["targetPort"]], "the master tells its own one"
    for number in (1, 2):
        given = container(workload(f"hpczmq-memoria{number}"))["ports"]
        assert {entry["containerPort"] for entry in given} == {
            MEMORIA_PORT + number, MEMORIA_ALERTS_PORT + number,
        }  # fmt: skip
    assert "ports" not in container(workload("hpczmq-slave")), "nobody dials it"


def test_nodes_dial_the_service_of_the_master() -> None:
    (service,) = of_kind("Service")
    address = f"{service['metadata']['name']}:{addresses.DISPATCH_PORT}"
    for one in workloads():
        if component(one) != "master":
            assert environment(one)["HPCZMQ_MASTER"] == address


def test_what_is_mounted_is_there() -> None:
    secrets = set(re.findall(r"name: (hpczmq-\S+)", (FOLDER / "secrets.sh").read_text()))
    assert secrets == {"hpczmq-$role"}
    claims = {one["metadata"]["name"] for one in of_kind("PersistentVolumeClaim")}
    for one in workloads():
        volumes = {volume["name"]: volume for volume in pod(one)["volumes"]}
        templates = one["spec"].get("volumeClaimTemplates", [])
        names = set(volumes) | {claim["metadata"]["name"] for claim in templates}
        for main in [*pod(one).get("initContainers", []), container(one)]:
            assert {mount["name"] for mount in main["volumeMounts"]} == names
        for volume in volumes.values():
            if "secret" in volume:
                assert volume["secret"]["secretName"] == f"hpczmq-{component(one)}"
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_what_a_node_joins_by_is_where_the_secret_is() -> None:
    for one in workloads():
        given = {key: text for key, text in environment(one).items() if key.endswith("_FILE")}
        mounts = {mount["name"]: mount for mount in container(one)["volumeMounts"]}
        if component(one) == "master":
            assert not given
            continue
        assert mounts["join"]["readOnly"] is True
        where = mounts["join"]["mountPath"]
        assert given == {
            "HPCZMQ_TOKEN_FILE": f"{where}/token",
            "HPCZMQ_FINGERPRINT_FILE": f"{where}/fingerprint",
        }


# --- Against the code ---------------------------------------------------------------------------


def test_every_variable_is_a_setting_and_fits() -> None:
    for one in workloads():
        names = {entry["name"] for entry in container(one).get("env", [])}
        assert names <= SETTINGS | CONTAINERS_OWN | {"TMPDIR"}, one["metadata"]["name"]
        given = {key: text for key, text in environment(one).items() if not key.endswith("_FILE")}
        assert isinstance(load({}, given), Config)


def test_every_command_is_one_of_hpczmq() -> None:
    for one in workloads():
        assert container(one)["args"] == [component(one)]
        asked = [probe["exec"]["command"] for probe in probes(one).values()]
        asked += [first["command"] for first in pod(one).get("initContainers", [])]
        for command in asked:
            told = re.findall(r"\bhpczmq ([a-z]+)", " ".join(command))
            assert told, command
            assert set(told) <= COMMANDS, command


def test_probes_ask_the_node_itself_and_wait_longer_than_it_takes() -> None:
    ports = {"hpczmq-master": addresses.DISPATCH_PORT, "hpczmq-slave": addresses.SLAVE_PORT}
    ports |= {f"hpczmq-memoria{n}": MEMORIA_PORT + n for n in (1, 2)}
    for one in workloads():
        for probe in probes(one).values():
            asked = " ".join(probe["exec"]["command"])
            assert asked.endswith(f"hpczmq ping 127.0.0.1:{ports[one['metadata']['name']]}")
            assert probe["timeoutSeconds"] > Config().timeout_s


def test_a_node_whose_master_is_away_is_not_killed_for_that() -> None:
    for one in workloads():
        if component(one) == "master":
            continue
        assert "readinessProbe" not in probes(one)
        # It answers nothing before it has joined, which takes a master: a day of patience, and
        # nothing is started as long as there is no key.
        startup = probes(one)["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 86_400
        assert 'test -e "$HPCZMQ_KEY" &&' in startup["exec"]["command"][-1]


def test_a_slave_has_left_before_it_is_killed() -> None:
    one = workload("hpczmq-slave")
    grace_s = float(environment(one)["HPCZMQ_GRACE_S"]) + limits.farewell_s + limits.worker_end_s
    assert grace_s < pod(one)["terminationGracePeriodSeconds"]


def test_a_pod_s_name_is_a_slave_s() -> None:
    one = workload("hpczmq-slave")
    named = next(entry for entry in container(one)["env"] if entry["name"] == "HPCZMQ_NAME")
    assert named["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    longest = len(one["metadata"]["name"]) + POD_TAIL
    assert longest <= min(limits.name_chars_max, 63)
    assert "replicas" not in one["spec"], "or applying it again would undo what was scaled"


def test_each_pod_is_locked_down_and_bounded() -> None:
    for one in workloads():
        spec, name = pod(one), one["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False, name
        # Variables of services begin with their names: HPCZMQ_MASTER_PORT is no setting of ours.
        assert spec["enableServiceLinks"] is False, name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] == context["runAsGroup"] == 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        # Volumes that are given to the group each time would open the keys to it.
        assert ("fsGroup" in context) == (context.get("fsGroupChangePolicy") == "OnRootMismatch")
        for main in [*spec.get("initContainers", []), container(one)]:
            assert main["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= main["resources"]["limits"].keys(), name
            assert {"cpu", "memory"} <= main["resources"]["requests"].keys(), name
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_results_fit_where_they_wait() -> None:
    one = workload("hpczmq-master")
    (tmp,) = [volume for volume in pod(one)["volumes"] if volume["name"] == "tmp"]
    results = needs.memory_bytes(environment(one)["HPCZMQ_RESULTS"], "")
    most = size(container(one)["resources"]["limits"]["ephemeral-storage"])
    assert results < size(tmp["emptyDir"]["sizeLimit"]) < most


# --- Who may speak to whom ----------------------------------------------------------------------


def allowed(name: str, way: str) -> dict[str, set[int]]:
    """By component the ports to or from which a node's pods may connect; "names" is DNS."""
    found: dict[str, set[int]] = {}
    for policy in of_kind("NetworkPolicy"):
        if name not in pods(policy["spec"]["podSelector"]):
            continue
        for rule in policy["spec"].get(way, []):
            ports = {entry["port"] for entry in rule["ports"]}
            for peer in rule["from" if way == "ingress" else "to"]:
                others = {"names"} if "namespaceSelector" in peer else pods(peer["podSelector"])
                for other in others:
                    found[other] = found.get(other, set()) | ports
    return found


def test_nothing_is_open_that_is_not_needed() -> None:
    (first,) = [
        one for one in of_kind("NetworkPolicy") if one["metadata"]["name"] == "hpczmq-nothing"
    ]
    assert pods(first["spec"]["podSelector"]) == {"master", "memoria", "slave", "client"}
    assert first["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not first["spec"].keys() & {"ingress", "egress"}
    assert allowed("slave", "egress") == {"names": {53}, "master": MASTERS}
    assert allowed("slave", "ingress") == {}
    assert allowed("master", "ingress") == dict.fromkeys(("slave", "memoria", "client"), MASTERS)
    assert allowed("memoria", "egress") == {
        "names": {53}, "master": MASTERS, "memoria": QUESTIONS,
    }  # fmt: skip


def test_who_may_dial_is_let_in() -> None:
    for name in ("master", "memoria", "slave", "client"):
        for other, ports in allowed(name, "egress").items():
            if other != "names":
                assert ports <= allowed(other, "ingress").get(name, set()), f"{name} → {other}"


def test_the_autoscaler_is_for_the_slaves() -> None:
    (one,) = manifests("optional/*.yaml")
    assert one["spec"]["scaleTargetRef"]["name"] == workload("hpczmq-slave")["metadata"]["name"]
    assert one["metadata"]["namespace"] == kustomization()["namespace"]


# --- secrets.sh ---------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A kubectl that answers as a cluster would, and writes down what it is told."""
    fake = tmp_path / "kubectl"
    fake.write_text(
        '#!/bin/sh\necho "$@" >>"$0.log"\ncase "$*" in\n'
        "*'keys show'*) echo name cluster; echo \"fingerprint  " + "ab" * 32 + '";;\n'
        '*token*) echo thetoken; echo "there: HPCZMQ_TOKEN=thetoken";;\n'
        '*apply*) cat >>"$0.applied"; echo --- >>"$0.applied";;\nesac\n'
    )
    fake.chmod(0o755)
    return fake


def secrets(kubectl: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FOLDER / "secrets.sh"), *arguments], check=False, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "KUBECTL": str(kubectl)},
    )  # fmt: skip


def test_the_script_passes_shellcheck() -> None:
    tool("shellcheck", "deploy/kubernetes/secrets.sh")


def test_the_script_makes_what_the_pods_mount(cluster: Path) -> None:
    done = secrets(cluster, "--expires", "2h", "--uses", "5")
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.safe_load_all(Path(f"{cluster}.applied").read_text()) if one]
    assert [one["metadata"]["name"] for one in made] == ["hpczmq-slave", "hpczmq-memoria"]
    for one in made:
        assert one["stringData"] == {"token": "thetoken", "fingerprint": "ab" * 32}
    told = Path(f"{cluster}.log").read_text()
    assert "hpczmq keys token --role slave --expires 2h --uses 5" in told
    assert "thetoken" not in told, "what stands on a command line, everybody can read"


def test_the_script_makes_one_alone(cluster: Path) -> None:
    assert secrets(cluster, "--role", "memoria").returncode == 0
    assert "hpczmq-slave" not in Path(f"{cluster}.applied").read_text()


def test_the_script_says_what_it_would_do(cluster: Path) -> None:
    done = secrets(cluster, "--dry-run")
    assert done.returncode == 0
    assert all(line.startswith("would: ") for line in done.stdout.splitlines())
    assert not Path(f"{cluster}.log").exists()


def test_the_script_names_the_remedy(cluster: Path) -> None:
    assert "must be slave or memoria" in secrets(cluster, "--role", "admin").stderr
    assert "is no option" in secrets(cluster, "--bad").stderr
    missing = secrets(cluster.with_name("nowhere")).stderr
    assert "not found: install it, or name it with KUBECTL" in missing
    cluster.write_text("#!/bin/sh\nexit 1\n")
    assert "is not ready: see" in secrets(cluster).stderr
