"""The images: what is in them, what is not, what they say of themselves."""

from __future__ import annotations

import subprocess

import pytest

from hpczmq._version import __version__
from tests.containers.cluster import ROLES, Site
from tests.containers.engine import BUILD_S, docker, facts, run

#: A slave's image, unpacked.
SIZE_BYTES_MAX = 250_000_000


@pytest.mark.parametrize("role", ROLES)
def test_an_image_is_small_and_says_what_it_is(site: Site, role: str) -> None:
    image = facts("image", site.image(role))
    assert image["Size"] < SIZE_BYTES_MAX, f"{image['Size'] / 1e6:.0f} MB"
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][-1].endswith(("ping", "5001", "5002", "#memoria}))"))
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"hpczmq-{role}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"].startswith(site.revision)


@pytest.mark.parametrize("role", ROLES)
def test_an_image_runs_on_a_root_that_nobody_can_write(site: Site, role: str) -> None:
    locked = (
        "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges",
    )  # fmt: skip
    said = docker(*locked, site.image(role), "render", "--width", "64", "--height", "36",
                  "-o", "/tmp/julia.png")  # fmt: skip
    assert "julia.png" in said
    assert docker(*locked, site.image(role), "--version") == f"hpczmq {__version__}"
    look = docker(
        *locked, "--entrypoint", "sh", site.image(role), "-c",
        "id -u; for name in gcc cc ld; do command -v $name; done; ls /opt/hpczmq/bin/pip*;"
        " for folder in / /opt /etc /usr; do touch $folder/x && echo $folder; done; true",
    )  # fmt: skip
    assert look == "10001", "no root, no compiler, no pip, nothing to write to"


def test_two_builds_of_a_commit_have_the_same_labels(site: Site) -> None:
    before = facts("image", site.image("master"))["Config"]["Labels"]
    site.script("registry/build-all-images.sh", timeout_s=BUILD_S)
    after = facts("image", site.image("master"))["Config"]["Labels"]
    assert after == before or run("git", "rev-parse", "HEAD") != site.revision


def test_a_node_without_keys_says_what_it_lacks(site: Site) -> None:
    ran = subprocess.run(
        ["docker", "run", "--rm", site.image("master")], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "hpczmq keys init" in ran.stderr
    assert "Traceback" not in ran.stderr
