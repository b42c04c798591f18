"""`registry/catalog.sh` on a registry that is played here."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.deploy.stubs import Host, Ran

#: How many names the played registry puts on a page, however many are asked for.
PAGE: Final = 2
LOGIN: Final = 'ana:se"c\\ret'
MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def contents(age: timedelta) -> dict[str, bytes]:
    """What a registry has, by path: three images, one of them behind an index."""
    made = {"created": (datetime.now(UTC) - age).isoformat(), "config": {"Labels": {"a.b": "c"}}}
    config = json.dumps(made).encode()
    image = json.dumps(
        {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"size": 1_000, "digest": digest(config)},
            "layers": [{"size": 70_000_000}, {"size": 7_399_000}],
        }, indent=3,
    ).encode()  # fmt: skip
    index = json.dumps({"manifests": [{"digest": digest(image), "size": 5}, {"size": 7}]}).encode()
    found = {"": b"{}"}
    for name in ("hpczmq-master", "hpczmq-memoria", "hpczmq-slave"):
        found[f"{name}/blobs/{digest(config)}"] = config
        found[f"{name}/manifests/latest"] = found[f"{name}/manifests/{digest(image)}"] = image
    found["hpczmq-slave/manifests/latest"] = index
    return found


@contextmanager
def registry(
    age: timedelta = timedelta(hours=5), login: str = "", paged: bool = True
) -> Iterator[str]:
    """A registry, which may know pages or say all of a list each time; gives its address."""
    files = contents(age)
    lists = {"_catalog": ("repositories", sorted({n.split("/")[0] for n in files if n}))}
    lists |= {f"{name}/tags/list": ("tags", ["latest"]) for name in lists["_catalog"][1]}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            path = asked.path.removeprefix("/v2/")
            known = "Basic " + base64.b64encode(login.encode()).decode()
            body, code = files.get(path, b"no such thing"), 200 if path in files else 404
            if path in lists:
                name, rows = lists[path]
                last = parse_qs(asked.query).get("last", [""])[0]
                page = [row for row in rows if row > last][:PAGE] if paged else rows
                body, code = json.dumps({name: page}).encode(), 200
            if "/manifests/" in path and MANIFEST not in self.headers["Accept"]:
                code = 406
            if login and self.headers["Authorization"] != known:
                body, code = b"who are you?", 401
            self.send_response(code)
            if code == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="hpczmq"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A checkout and programs that stand in for the real ones."""
    return Host(tmp_path)


def catalog(host: Host, address: str, login: str = "") -> Ran:
    user, _, password = login.partition(":")
    return host.run(
        "registry/catalog.sh", HPC_REGISTRY=address, HPC_REGISTRY_USER=user,
        HPC_REGISTRY_PASSWORD=password,
    )  # fmt: skip


def test_each_image_is_listed_with_its_digest_size_and_age(host: Host) -> None:
    with registry(timedelta(hours=5)) as address:
        ran = catalog(host, address)
    assert (ran.code, ran.err) == (0, "")
    title, *rows = ran.out.splitlines()
    assert title.split() == ["image", "tag", "digest", "size", "age"]
    assert [row.split()[0] for row in rows] == ["hpczmq-master", "hpczmq-memoria", "hpczmq-slave"]
    for row in rows:
        _, tag, sum_of, *size_and_age = row.split()
        assert (tag, size_and_age) == ("latest", ["77.4", "MB", "5", "hours"])
        assert sum_of.startswith("sha256:")
        assert len(sum_of) == len(digest(b""))
    assert len({row.split()[2] for row in rows}) == 2, "an index has a digest of its own"


def test_a_registry_that_knows_no_pages_is_listed_once(host: Host) -> None:
    with registry(paged=False) as address:
        ran = catalog(host, address)
    assert (ran.code, len(ran.out.splitlines())) == (0, 4)


def test_a_registry_with_a_password_is_asked_with_it(host: Host) -> None:
    with registry(login=LOGIN) as address:
        told = catalog(host, address, LOGIN)
        refused = catalog(host, address)
        wrong = catalog(host, address, "ana:wrong")
    assert told.code == 0
    assert "hpczmq-slave" in told.out
    for ran in (refused, wrong):
        assert ran.code == 1
        assert f"{address}/v2/: wants a password: give HPC_REGISTRY_USER" in ran.err


@pytest.mark.parametrize(
    ("age", "said"),
    [({"minutes": 3}, "3 min"), ({"hours": 47}, "47 hours"), ({"days": 12}, "12 days")],
)
def test_an_age_is_told_as_people_say_it(host: Host, age: dict[str, float], said: str) -> None:
    with registry(timedelta(**age)) as address:
        assert catalog(host, address).out.splitlines()[1].endswith(f"  {said}")
