"""Keys on disk: who may read them, what becomes of them, and what is never shown."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from hpczmq import credentials, keyfiles
from hpczmq.config import Config
from hpczmq.errors import ConfigError, LocalError, ParameterError
from hpczmq.identity import KeyRole, key_of
from hpczmq.keyfiles import KeyFile, NodeKeys
from hpczmq.keyring import Keyring, token_of

NOW = 1_000_000.0


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring.init(tmp_path / "keys", NOW)


def test_a_new_cluster_has_its_key_and_an_admin(ring: Keyring) -> None:
    assert [(one.name, one.role) for one in ring.members()] == [("admin", KeyRole.ADMIN)]
    file = keyfiles.read(ring.folder / "admin.key")
    assert file.cluster == ring.cluster.pair.public
    assert file.pair.public == ring.members()[0].key
    with pytest.raises(LocalError, match="are there already"):
        Keyring.init(ring.folder, NOW)
    assert Keyring(ring.folder).cluster == ring.cluster


def test_all_files_are_for_their_owner_alone(ring: Keyring) -> None:
    ring.add("uno", KeyRole.SLAVE, NOW)
    ring.token(KeyRole.SLAVE, 60, 1, NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in ring.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert ring.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["cluster.key", "members.json", "tokens.json"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(ring: Keyring, name: str, mode: int) -> None:
    (ring.folder / name).chmod(mode)
    with pytest.raises(ConfigError, match=f"{name}: its mode is {mode:04o}.*chmod 600"):
        Keyring(ring.folder)


def test_the_nodes_own_file_is_refused_too(ring: Keyring) -> None:
    path = ring.add("uno", KeyRole.SLAVE, NOW)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        keyfiles.read(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, "\udcff", '{"name": "x"}', "secret = 1"]
)
def test_what_is_no_key_file_is_said_without_what_is_in_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"x\.key") as raised:
        keyfiles.read(path)
    assert raised.value.__cause__ is None


def test_a_damaged_secret_is_not_shown(ring: Keyring) -> None:
    path = ring.folder / "admin.key"
    table = json.loads(path.read_text())
    table["secret"] = table["secret"][:-2] + "zz"
    keyfiles.write_private(path, table)
    with pytest.raises(ConfigError) as raised:
        keyfiles.read(path)
    assert table["secret"][:8] not in str(raised.value)


def test_a_secret_is_not_in_what_is_printed_of_a_pair(ring: Keyring) -> None:
    file = keyfiles.read(ring.folder / "admin.key")
    assert file.pair.secret.hex() not in repr(file)
    assert repr(file.pair.secret) not in repr(file)
    assert "geheim" not in repr(Config(token="geheim"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "cluster", "a\nb", "x" * 200, "a#b"])
def test_a_name_that_is_none_makes_no_file(ring: Keyring, name: str) -> None:
    with pytest.raises(ParameterError):
        ring.add(name, KeyRole.SLAVE, NOW)
    assert len(ring.members()) == 1


def test_a_name_is_given_once(ring: Keyring) -> None:
    ring.add("uno", KeyRole.SLAVE, NOW)
    with pytest.raises(ParameterError, match="is taken: revoke it first"):
        ring.add("uno", KeyRole.SLAVE, NOW)
    (gone,) = ring.revoke("uno", NOW)
    assert gone.name == "uno"
    ring.add("uno", KeyRole.VIEWER, NOW)
    assert [one.role for one in ring.members()] == [KeyRole.ADMIN, KeyRole.VIEWER]
    assert len(ring.rows) == 3


def test_the_last_admin_stays(ring: Keyring) -> None:
    with pytest.raises(ParameterError, match="is the last admin"):
        ring.revoke("admin", NOW)
    with pytest.raises(ParameterError, match="has no key"):
        ring.revoke("nobody", NOW)


def test_a_change_by_another_process_is_seen(ring: Keyring) -> None:
    other = Keyring(ring.folder)
    assert not other.changed()
    ring.add("uno", KeyRole.SLAVE, NOW)
    assert other.changed()
    other.load()
    assert not other.changed()
    assert other.members() == ring.members()


# --- Tokens -------------------------------------------------------------------------------------


def test_a_token_is_good_so_often_and_so_long(ring: Keyring) -> None:
    token = token_of(ring.token(KeyRole.SLAVE, 60, 2, NOW))
    assert ring.has_tokens(NOW + 59)
    assert not ring.has_tokens(NOW + 60)
    first = ring.enrol(token, "uno", b"1" * 32, NOW)
    assert (first.name, first.role) == ("uno", KeyRole.SLAVE)
    assert ring.enrol(token, "uno", b"1" * 32, NOW) == first  # its answer was lost: no use of it
    assert ring.enrol(token, "uno", b"2" * 32, NOW).name == "uno-2"
    assert not ring.has_tokens(NOW)
    with pytest.raises(ParameterError, match="is used up, over, or none"):
        ring.enrol(token, "tres", b"3" * 32, NOW)
    assert {one.name for one in Keyring(ring.folder).members()} == {"admin", "uno", "uno-2"}


def test_a_token_that_is_over_is_none(ring: Keyring) -> None:
    token = token_of(ring.token(KeyRole.VIEWER, 60, 1, NOW))
    with pytest.raises(ParameterError, match="is used up, over, or none"):
        ring.enrol(token, "uno", b"1" * 32, NOW + 61)


def test_a_key_that_was_revoked_does_not_come_back_by_a_token(ring: Keyring) -> None:
    token = token_of(ring.token(KeyRole.SLAVE, 60, 5, NOW))
    ring.enrol(token, "uno", b"1" * 32, NOW)
    ring.revoke("uno", NOW)
    with pytest.raises(ParameterError):
        ring.enrol(token, "uno", b"1" * 32, NOW)


def test_of_a_token_only_its_hash_is_kept(ring: Keyring) -> None:
    text = ring.token(KeyRole.SLAVE, 60, 1, NOW)
    kept = (ring.folder / "tokens.json").read_text()
    assert text not in kept
    assert token_of(text).hex() not in kept


@pytest.mark.parametrize("text", ["", "abc", "a" * 31, "1" * 32, "ä" * 32])
def test_what_is_no_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ParameterError, match="token = …: must be what"):
        token_of(text)


def test_no_admin_is_made_by_a_token(ring: Keyring) -> None:
    with pytest.raises(ParameterError, match="must be made by `hpczmq keys add`"):
        ring.token(KeyRole.ADMIN, 60, 1, NOW)
    for expires, uses in ((0, 1), (60, 0), (1e12, 1), (float("nan"), 1)):
        with pytest.raises(ParameterError):
            ring.token(KeyRole.SLAVE, expires, uses, NOW)


# --- Rotation -----------------------------------------------------------------------------------


def test_a_rotation_is_announced_and_then_serves(ring: Keyring) -> None:
    before = ring.cluster.pair
    ring.rotate(60, NOW)
    coming = Keyring(ring.folder).cluster
    assert coming.at(NOW + 59) == before
    assert coming.next_key(NOW + 59) == coming.at(NOW + 60).public != before.public
    assert coming.next_key(NOW + 60) == b""
    with pytest.raises(LocalError, match="a rotation is under way"):
        ring.rotate(60, NOW + 30)
    assert ring.rotate(60, NOW + 61).pair == coming.at(NOW + 60)


def test_who_joins_during_a_rotation_knows_both_keys(ring: Keyring) -> None:
    old = ring.cluster.pair.public
    coming = ring.rotate(60, NOW).next_key(NOW)
    for path in (ring.add("uno", KeyRole.SLAVE, NOW), ring.folder / "admin.key"):
        file = keyfiles.read(path)
        assert (file.cluster, file.next_key) == (old, coming)


def test_a_node_tries_the_other_key_until_one_serves(tmp_path: Path) -> None:
    pair = keyfiles.new_pair()
    path = tmp_path / "uno.key"
    keys = NodeKeys(KeyFile("uno", "slave", pair, b"o" * 32), path)
    assert not keys.tries_other(False, True, 100.0)  # there is no other one
    keys.learn(b"n" * 32)
    assert keyfiles.read(path).next_key == b"n" * 32
    assert not keys.tries_other(True, False, 200.0)
    assert not keys.tries_other(False, False, 201.0)
    times = (204.0, 208.0, 212.0)
    tried = [keys.keys.server for now in times if keys.tries_other(False, False, now)]
    assert tried == [b"n" * 32, b"o" * 32, b"n" * 32]
    assert keys.tries_other(True, True, 213.0)  # it does not understand: at once
    assert keys.tries_other(True, True, 214.0)
    assert keys.keys.server == b"n" * 32
    keys.learn(b"")  # welcome, with the new one
    assert keyfiles.read(path) == KeyFile("uno", "slave", pair, b"n" * 32)


def test_a_file_that_can_not_be_kept_up_to_date_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = NodeKeys(
        KeyFile("uno", "slave", keyfiles.new_pair(), b"o" * 32), tmp_path / "none" / "uno.key"
    )
    with caplog.at_level(logging.WARNING):
        keys.learn(b"n" * 32)
    assert "is known, but not kept" in caplog.text
    assert keys.file.next_key == b"n" * 32


# --- Which key a process takes ------------------------------------------------------------------


def test_a_node_takes_the_key_of_its_name_then_of_its_role(ring: Keyring) -> None:
    ring.add("uno", KeyRole.SLAVE, NOW)
    ring.add("slave", KeyRole.SLAVE, NOW)
    settings = Config(keys=str(ring.folder), name="uno")
    for name, found in (("uno", "uno"), ("otro", "slave"), ("", "slave")):
        keys = credentials.of_node(Config(keys=settings.keys, name=name), "slave")
        assert keys is not None
        assert keys.file.name == found
    assert credentials.of_node(Config(keys=settings.keys), "memoria") is None


def test_keys_are_off_when_that_was_said(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(ring.folder.parent))
    for settings in (Config(keys="off"), Config(keys=str(ring.folder), insecure=True)):
        assert credentials.of_master(settings) is None
        assert credentials.of_client(settings, "tcp://10.0.0.1:5001") is None


def test_a_cluster_of_ones_own_is_asked_without_keys(ring: Keyring) -> None:
    settings = Config(keys=str(ring.folder))
    assert credentials.of_client(settings, "tcp://127.0.0.1:7001") is not None
    credentials.own_cluster("tcp://127.0.0.1:7001")
    assert credentials.of_client(settings, "tcp://127.0.0.1:7001") is None


def test_a_folder_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.key: No such file .*`hpczmq keys init`"):
        credentials.of_master(Config(keys=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"x\.key: No such file .*`hpczmq keys add`"):
        credentials.of_client(Config(key=str(tmp_path / "x.key")), "tcp://10.0.0.1:5001")


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_a_fingerprint_is_all_of_the_key(text: str) -> None:
    with pytest.raises(ParameterError, match="64 hexadecimal digits"):
        key_of(text)
    assert key_of("AB" * 32) == b"\xab" * 32
