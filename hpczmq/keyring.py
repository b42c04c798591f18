"""The cluster's keys, as a folder beside the master: its own pair, who may come, open tokens.

`hpczmq keys` changes the folder, and the master, which looks at it all the time, goes by it. What
both write is written under a lock. All of it is for the eyes of its owner:

    cluster.key    the cluster's pair, and the one after the next rotation
    members.json   each key that may come, or might once: name, role, public key
    tokens.json    what is left of each token: its hash, its role, until when, how often
    NAME.key       a node's own key file, as `keys add` made it, to be carried there
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpczmq import keyfiles, limits
from hpczmq.errors import ConfigError, LocalError, ParameterError, shown
from hpczmq.identity import KeyPair, KeyRole, Member, key_of, role_of
from hpczmq.keyfiles import KeyFile

#: Random bytes of a token.
_TOKEN_BYTES: Final = 20
_FILES: Final = ("cluster.key", "members.json", "tokens.json")
#: Names of files that are not a node's.
_TAKEN: Final = ("cluster",)


@dataclass(frozen=True, slots=True)
class Row:
    """A key that may come in, or that might once."""

    member: Member
    added_s: float
    #: When it was revoked, in seconds since the epoch; 0: it was not.
    revoked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """The cluster's own pair, and the next one, which serves from `next_s` on (seconds since the
    epoch)."""

    pair: KeyPair
    next_pair: KeyPair | None = None
    next_s: float = 0.0

    def at(self, now: float) -> KeyPair:
        """The pair that serves now."""
        due = self.next_pair is not None and now >= self.next_s
        return self.next_pair if due and self.next_pair is not None else self.pair

    def next_key(self, now: float) -> bytes:
        """The key that serves later; empty: this one goes on."""
        coming = self.next_pair
        return coming.public if coming is not None and now < self.next_s else b""


class Keyring:
    """The folder, and what it said when it was looked at last. Times are seconds since the epoch.

    Raises:
        ConfigError: it is not there, or its files are not what they should be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster: ClusterKey
        self.rows: list[Row] = []
        #: What is left of each token, by its hash: role, until when, how often.
        self._tokens: dict[str, dict[str, Any]] = {}
        self._stamp: tuple[Any, ...] = ()
        self.load()

    @staticmethod
    def init(folder: Path, now: float) -> Keyring:
        """Make the cluster's key and its first admin's.

        Raises:
            LocalError: there is one already.
            OutputError: it can't be written.
        """
        if (folder / "cluster.key").exists():
            raise LocalError(f"{folder}: a cluster's keys are there already: `hpczmq keys list`")
        with _locked(folder):
            pair = keyfiles.new_pair()
            _write_cluster(folder, ClusterKey(pair))
            keyfiles.write_private(folder / "members.json", {"members": []})
            keyfiles.write_private(folder / "tokens.json", {"tokens": {}})
        made = Keyring(folder)
        made.add("admin", KeyRole.ADMIN, now)
        return made

    # --- Reading ------------------------------------------------------------------------------

    def load(self) -> None:
        """Look at the files."""
        self._stamp = self._seen()
        table = keyfiles.read_private(self.folder / "cluster.key", "init")
        try:
            coming = keyfiles.pair_of(table, "next", "next_secret") if "next" in table else None
            pair = keyfiles.pair_of(table, "public", "secret")
            self.cluster = ClusterKey(pair, coming, float(table.get("next_from", 0.0)))
            members = keyfiles.read_private(self.folder / "members.json")["members"]
            self.rows = [_row(entry) for entry in members]
            self._tokens = dict(keyfiles.read_private(self.folder / "tokens.json")["tokens"])
        except (ParameterError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{self.folder}: its files are damaged: {error}") from None

    def changed(self) -> bool:
        """Whether the files are others than at the last look."""
        return self._seen() != self._stamp

    def _seen(self) -> tuple[Any, ...]:
        seen: list[Any] = []
        for name in _FILES:
            try:
                facts = os.stat(self.folder / name)
                seen.append((facts.st_mtime_ns, facts.st_size, facts.st_ino))
            except OSError:
                seen.append(None)
        return tuple(seen)

    def members(self) -> list[Member]:
        """Whose keys may come in."""
        return [row.member for row in self.rows if not row.revoked_s]

    def has_tokens(self, now: float) -> bool:
        """Whether somebody could join by a token."""
        return any(now < token["until"] and token["uses"] > 0 for token in self._tokens.values())

    # --- Changing -----------------------------------------------------------------------------

    def add(self, name: str, role: KeyRole, now: float) -> Path:
        """Make a key for a node or a person; the file to be carried there.

        Raises:
            ParameterError: there is one of this name, or it is no name of a file.
            OutputError: it can't be written.
        """
        _check_name(name)
        with _locked(self.folder):
            self.load()
            if name in {one.name for one in self.members()}:
                remedy = "is taken: revoke it first (`hpczmq keys revoke`), or choose another"
                raise ParameterError("name", name, remedy)
            pair, path = keyfiles.new_pair(), self.folder / f"{name}.key"
            key = self.cluster.at(now).public
            made = KeyFile(name, role.name.lower(), pair, key, self.cluster.next_key(now))
            keyfiles.write(path, made)
            self._enter(Row(Member(name, role, pair.public), now))
        return path

    def revoke(self, name: str, now: float) -> list[Member]:
        """Let the keys of this name in no more; gives back which.

        Raises:
            ParameterError: there is none, or it is the last admin's.
        """
        with _locked(self.folder):
            self.load()
            gone = [one for one in self.members() if one.name == name]
            if not gone:
                raise ParameterError("name", name, "has no key: see `hpczmq keys list`")
            left = [one for one in self.members() if one not in gone]
            if not any(one.role is KeyRole.ADMIN for one in left):
                raise ParameterError("name", name, "is the last admin: add another one first")
            self.rows = [
                Row(row.member, row.added_s, now) if row.member in gone else row
                for row in self.rows
            ]
            self._write_members()
        return gone

    def rotate(self, after_s: float, now: float) -> ClusterKey:
        """Have another cluster key serve after a while, in which all who are there learn of it.

        Raises:
            LocalError: a rotation is under way.
        """
        with _locked(self.folder):
            self.load()
            if self.cluster.next_key(now):
                raise LocalError(
                    f"{self.folder}: a rotation is under way, until"
                    f" {self.cluster.next_s - now:.0f} s from now: wait for its end"
                )
            pair, coming = self.cluster.at(now), keyfiles.new_pair()
            self.cluster = ClusterKey(pair, coming, now + after_s)
            _write_cluster(self.folder, self.cluster)
            for row in self.rows:  # those that are still here; the others learn of it by the wire
                path = self.folder / f"{row.member.name}.key"
                if path.exists() and not row.revoked_s:
                    file = keyfiles.read(path)
                    known = KeyFile(file.name, file.role, file.pair, pair.public, coming.public)
                    keyfiles.write(path, known)
            self._stamp = self._seen()
        return self.cluster

    def token(self, role: KeyRole, expires_s: float, uses: int, now: float) -> str:
        """Make a token with which so many nodes can join as this, until then.

        Raises:
            ParameterError: the role is not for tokens, or a number is out of its range.
        """
        if role is KeyRole.ADMIN:
            raise ParameterError("role", "admin", "must be made by `hpczmq keys add`, not a token")
        if not 1 <= uses <= limits.slaves_max:
            raise ParameterError("uses", uses, f"must be 1..{limits.slaves_max}")
        if not 0 < expires_s <= limits.token_s_max:
            raise ParameterError("expires", expires_s, f"must be up to {limits.token_s_max:.0f} s")
        secret = secrets.token_bytes(_TOKEN_BYTES)
        with _locked(self.folder):
            self.load()
            self._tokens = {key: one for key, one in self._tokens.items() if one["until"] > now}
            self._tokens[_hash(secret)] = {
                "role": role.name.lower(), "until": now + expires_s, "uses": uses,
            }  # fmt: skip
            self._write_tokens()
        return base64.b32encode(secret).decode().lower()

    def enrol(self, token: bytes, name: str, key: bytes, now: float) -> Member:
        """Make a key a member's, by a token. Said again, it is the same member.

        Raises:
            ParameterError: the token is not good (any more), or the name is none.
        """
        _check_name(name)
        with _locked(self.folder):
            self.load()
            known = [row for row in self.rows if row.member.key == key]
            left = self._tokens.get(_hash(token))
            if known and not known[0].revoked_s:
                return known[0].member
            if left is None or known or now >= left["until"] or left["uses"] < 1:
                remedy = "is used up, over, or none: have one made by `hpczmq keys token`"
                raise ParameterError("token", "…", remedy)
            left["uses"] -= 1
            self._write_tokens()
            member = Member(self._free_name(name), role_of(left["role"]), key)
            self._enter(Row(member, now))
        return member

    def _free_name(self, name: str) -> str:
        """The name, or with a number behind it if somebody has it."""
        taken, number, found = {one.name for one in self.members()}, 1, name
        while found in taken:
            number += 1
            found = f"{name[: limits.name_chars_max - 8]}-{number}"
        return found

    def _enter(self, row: Row) -> None:
        self.rows.append(row)
        self._write_members()

    def _write_members(self) -> None:
        table = [
            {"name": row.member.name, "role": row.member.role.name.lower(),
             "key": row.member.key.hex(), "added": row.added_s, "revoked": row.revoked_s}
            for row in self.rows
        ]  # fmt: skip
        keyfiles.write_private(self.folder / "members.json", {"members": table})

    def _write_tokens(self) -> None:
        keyfiles.write_private(self.folder / "tokens.json", {"tokens": self._tokens})


def token_of(text: str) -> bytes:
    """The bytes of a token.

    Raises:
        ParameterError: it is none; its value is not shown.
    """
    try:
        secret = base64.b32decode(text.strip().upper())
    except ValueError:
        secret = b""
    if len(secret) != _TOKEN_BYTES:
        raise ParameterError("token", "…", "must be what `hpczmq keys token` printed, all of it")
    return secret


def _hash(token: bytes) -> str:
    """What is kept of a token. It is as random as a key: no slow hash is needed."""
    return hashlib.sha256(token).hexdigest()


def _check_name(name: str) -> None:
    fits = name.isprintable() and 0 < len(name) <= limits.name_chars_max
    if not fits or name in _TAKEN or name.startswith(".") or set(name) & set("/\\#"):
        remedy = "must be printable, without / \\ and #, without a dot in front, and not “cluster”"
        raise ParameterError("name", name, remedy)


def _row(entry: dict[str, Any]) -> Row:
    member = Member(str(entry["name"]), role_of(entry["role"]), key_of(entry["key"], "key"))
    return Row(member, float(entry["added"]), float(entry["revoked"]))


def _write_cluster(folder: Path, cluster: ClusterKey) -> None:
    table = keyfiles.packed(cluster.pair, "public", "secret")
    if cluster.next_pair is not None:
        table |= keyfiles.packed(cluster.next_pair, "next", "next_secret")
        table["next_from"] = cluster.next_s
    keyfiles.write_private(folder / "cluster.key", table)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only one who changes the folder; it is made if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{shown(str(folder))}: {error.strerror}: choose --keys DIR") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
