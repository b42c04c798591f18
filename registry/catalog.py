"""What is in the registry, as a table; `catalog.sh` runs it. Only Python itself is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

#: Of the registry, if it has one beside this file.
CERTIFICATE: Final = Path(__file__).parent / "certs" / "registry.crt"
TIMEOUT_S: Final = 20.0
PAGE: Final = 100
MANIFESTS: Final = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2", "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1", "oci.image.index.v1",
    )
)  # fmt: skip


class Registry:
    """Who is asked.

    Args:
        address: HOST:PORT.
        login: NAME:PASSWORD; empty: nobody in particular.
    """

    def __init__(self, address: str, login: str) -> None:
        self.url = f"{'https' if CERTIFICATE.exists() else 'http'}://{address}/v2/"
        self.headers = {"Accept": MANIFESTS}
        if login:
            told = base64.b64encode(login.encode()).decode()
            self.headers["Authorization"] = f"Basic {told}"

    def get(self, path: str) -> bytes:
        """What it answers.

        Raises:
            SystemExit: it does not, or not to us; says the remedy.
        """
        request = urllib.request.Request(self.url + path, headers=self.headers)  # noqa: S310 (http, https)
        known = ssl.create_default_context(cafile=CERTIFICATE) if CERTIFICATE.exists() else None
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=known) as answer:  # noqa: S310
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code == 401:
                remedy = "wants a password: give HPC_REGISTRY_USER and HPC_REGISTRY_PASSWORD"
                sys.exit(f"catalog.sh: {self.url}: {remedy}")
            sys.exit(f"catalog.sh: {self.url}{path}: answers {error.code}: see its log")
        except OSError as error:
            sys.exit(f"catalog.sh: {self.url}: does not answer ({error}): registry/start.sh")

    def all_of(self, path: str, key: str) -> Iterator[str]:
        """A list that comes in pages, perhaps smaller ones than were asked for. A registry that
        knows none says all of it each time.
        """
        last = ""
        while page := json.loads(self.get(f"{path}?n={PAGE}{last and f'&last={last}'}"))[key]:
            if page[-1] == last:
                return
            yield from page
            last = page[-1]

    def row(self, name: str, tag: str) -> tuple[str, ...]:
        """An image in a line: name, tag, digest, size as it is sent, age since it was built."""
        body = self.get(f"{name}/manifests/{tag}")
        manifest: dict[str, Any] = json.loads(body)
        if "manifests" in manifest:  # for several machines: the first of them
            manifest = json.loads(
                self.get(f"{name}/manifests/{manifest['manifests'][0]['digest']}")
            )
        size = sum(part["size"] for part in (manifest["config"], *manifest["layers"]))
        config = json.loads(self.get(f"{name}/blobs/{manifest['config']['digest']}"))
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return name, tag, digest, f"{size / 1e6:.1f} MB", age(config["created"])


def age(created: str) -> str:
    """How long ago a moment was, as people say it."""
    began = datetime.fromisoformat(created[:19]).replace(tzinfo=UTC)
    minutes = int((datetime.now(UTC) - began).total_seconds() // 60)
    if minutes >= 2 * 24 * 60:
        return f"{minutes // (24 * 60)} days"
    return f"{minutes // 60} hours" if minutes >= 120 else f"{minutes} min"


def main() -> None:
    """Print the table."""
    user, password = (os.environ.get(f"HPC_REGISTRY_{one}", "") for one in ("USER", "PASSWORD"))
    registry = Registry(os.environ["HPC_REGISTRY"], f"{user}:{password}" if user else "")
    rows: list[tuple[str, ...]] = [("image", "tag", "digest", "size", "age")]
    for name in registry.all_of("_catalog", "repositories"):
        rows += [
            registry.row(name, tag) for tag in sorted(registry.all_of(f"{name}/tags/list", "tags"))
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # who reads has seen enough (head); what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
