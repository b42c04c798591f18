"""Settings in layers, and faults that say where they are, what was written and what to write."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from hpczmq import limits
from hpczmq.config import Config, default_name, load
from hpczmq.errors import ConfigError


def written(folder: Path, text: str) -> dict[str, str]:
    """An environment that names a file with this text."""
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return {"HPCZMQ_CONFIG": str(path)}


def faults(overrides: dict[str, Any], environ: dict[str, str]) -> list[str]:
    """Every fault that is reported, one a line."""
    with pytest.raises(ConfigError) as raised:
        load(overrides, environ)
    return str(raised.value).split("\n")


# --- Layers -------------------------------------------------------------------------------------


def test_without_anything_the_defaults_hold() -> None:
    assert load({}, {}) == Config()


def test_each_later_layer_wins(tmp_path: Path) -> None:
    environ = written(tmp_path, 'slots = 1\nname = "file"\nmaster = "file"\ncluster = "file"')
    environ |= {"HPCZMQ_SLOTS": "2", "HPCZMQ_NAME": "variable", "HPCZMQ_MASTER": "variable"}
    environ |= {"MAESTRO_IP": "container", "ESCLAVO": "container"}
    made = load({"slots": 3, "name": None, "bind": None}, environ)
    assert (made.slots, made.name, made.master, made.cluster) == (3, "variable", "variable", "file")


def test_the_containers_own_variables_count(tmp_path: Path) -> None:
    environ = {"MAESTRO_IP": "10.0.0.1", "ESCLAVO": "esclavo3", "MEMORIA_NODE": "memoria2"}
    made = load({}, environ)
    assert (made.master, made.name, made.number) == ("10.0.0.1", "esclavo3", 2)
    assert load({}, {"MEMORIA_NODE": "1", "MAESTRO_IP": "", "ESCLAVO": ""}) == Config()
    assert load({}, environ | {"HPCZMQ_NUMBER": "1"}).number == 1


def test_what_a_node_joins_by_may_stand_in_files(tmp_path: Path) -> None:
    token, fingerprint = tmp_path / "token", tmp_path / "fingerprint"
    token.write_text("abc\n")
    fingerprint.write_text("0" * 64 + "\n")
    environ = {
        "HPCZMQ_TOKEN_FILE": str(token), "HPCZMQ_FINGERPRINT_FILE": str(fingerprint),
    }  # fmt: skip
    made = load({}, environ)
    assert (made.token, made.fingerprint) == ("abc", "0" * 64)
    assert load({}, environ | {"HPCZMQ_TOKEN": "other"}).token == "other"
    assert load({}, {"HPCZMQ_TOKEN_FILE": ""}).token == ""
    absent = {"HPCZMQ_TOKEN_FILE": str(tmp_path / "absent")}
    assert load({}, {**absent, "HPCZMQ_TOKEN": "other"}).token == "other", "not even looked at"


def test_a_file_of_a_secret_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"HPCZMQ_TOKEN_FILE = .*absent: No such file"):
        load({}, {"HPCZMQ_TOKEN_FILE": str(tmp_path / "absent")})
    (tmp_path / "junk").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"junk: is not text: must name a file"):
        load({}, {"HPCZMQ_TOKEN_FILE": str(tmp_path / "junk")})
    (tmp_path / "short").write_text("64c8")
    with pytest.raises(ConfigError, match=r"FINGERPRINT_FILE \(.*short\) = 64c8: must be 64 hexa"):
        load({}, {"HPCZMQ_FINGERPRINT_FILE": str(tmp_path / "short")})


def test_the_file_is_looked_for_in_the_users_configuration(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "hpczmq"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("slots = 4")
    assert load({}, {"HOME": str(tmp_path)}).slots == 4
    assert load({}, {"XDG_CONFIG_HOME": str(tmp_path / ".config")}).slots == 4
    assert load({}, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}).slots == 0


def test_the_process_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCZMQ_CLUSTER", "lab")
    monkeypatch.setenv("XDG_CONFIG_HOME", os.devnull + "-not-there")
    assert load({}).cluster == "lab"


@pytest.mark.parametrize(
    ("text", "kind"),
    [("true", True), ("YES", True), ("1", True), ("on", True), ("0", False), ("", False)],
)
def test_truth_is_written_in_many_ways(text: str, kind: bool) -> None:
    assert load({}, {"HPCZMQ_INSECURE": text}).insecure is kind


def test_a_file_may_hold_every_setting(tmp_path: Path) -> None:
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for name, value in ((name, getattr(Config(), name)) for name in Config.__slots__)
    ]
    assert load({}, written(tmp_path, "\n".join(lines))) == Config()


def test_a_file_is_utf_8_whatever_the_machine_speaks(tmp_path: Path) -> None:
    assert load({}, written(tmp_path, 'name = "maître"')).name == "maître"


# --- Faults: the place, the value, the remedy ---------------------------------------------------

WRONG = [
    ("slots", "-1", "must be 0..1024"),
    ("slots", "1025", "must be 0..1024"),
    ("slots", "two", "must be a whole number"),
    ("slots", "1.5", "must be a whole number"),
    ("number", "3", "must be 1 or 2"),
    ("heartbeat_s", "0.001", "must be 0.05..60.0 s"),
    ("heartbeat_s", "nan", "must be 0.05..60.0 s"),
    ("heartbeat_s", "inf", "must be 0.05..60.0 s"),
    ("heartbeat_s", "often", "must be a number"),
    ("timeout_s", "0", f"must be above 0 and at most {limits.timeout_s_max:.0f}"),
    ("timeout_s", "1e+99", f"must be above 0 and at most {limits.timeout_s_max:.0f}"),
    ("policy", "random", "must be round-robin or least-loaded or resources"),
    ("weight_cpu", "-1", "must be 0..1000"),
    ("memory", "much", "must be like 512MiB or 8GiB"),
    ("labels", "gpu", "must be like gpu=a100,room=3"),
    ("weight_latency", "nan", "must be 0..1000"),
    ("spare_saturated", "often", "must be true or false"),
    ("log_level", "loud", "must be debug, info, warning, error"),
    ("insecure", "maybe", "must be true or false"),
    ("name", "n" * 129, "must be printable, at most 128 characters"),
    ("name", "a\x07b", "must be printable, at most 128 characters"),
    ("cluster", "c" * 129, "must be printable, at most 128 characters"),
]


@pytest.mark.parametrize(("key", "value", "remedy"), WRONG)
def test_a_wrong_variable_is_named(key: str, value: str, remedy: str) -> None:
    variable = f"HPCZMQ_{key.upper()}"
    (fault,) = faults({}, {variable: value})
    assert fault.startswith(f"{variable} = ")
    assert value[:50].replace("\x07", "\\x07") in fault
    assert fault.endswith(f": {remedy}")


@pytest.mark.parametrize(("key", "value", "remedy"), WRONG)
def test_a_wrong_option_is_named(key: str, value: str, remedy: str) -> None:
    (fault,) = faults({key: value}, {})
    assert fault.startswith(f"{key} = ")
    assert fault.endswith(f": {remedy}")


def test_a_wrong_line_of_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    environ = written(tmp_path, "slots = 5000")
    assert faults({}, environ) == [
        f"{environ['HPCZMQ_CONFIG']}: slots = 5000: must be 0..1024",
    ]


def test_every_fault_is_reported_and_not_only_the_first(tmp_path: Path) -> None:
    environ = written(tmp_path, 'slots = "two"\nspeed = 1\nheartbeat_s = 99')
    path = environ["HPCZMQ_CONFIG"]
    found = faults({"number": 7}, environ | {"HPCZMQ_POLICY": "none"})
    assert sorted(fault.split(" = ")[0] for fault in found) == sorted(
        [
            f"{path}: slots",
            f"{path}: speed",
            f"{path}: heartbeat_s",
            "number",
            "HPCZMQ_POLICY",
        ]
    )


def test_what_a_later_layer_replaces_is_not_looked_at_twice(tmp_path: Path) -> None:
    assert load({"slots": 3}, written(tmp_path, "slots = 5000")).slots == 3


def test_an_unknown_setting_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    (fault,) = faults({}, written(tmp_path, "slot = 2"))
    assert "slot = 2: is not a setting: use one of master, name" in fault
    (fault,) = faults({"slot": 2}, {})
    assert fault.startswith("slot = 2: is not a setting")


@pytest.mark.parametrize(
    "text", ["name = ['a']", "master = {}", "[bind]", "name = true", "name = 1"]
)
def test_what_is_no_text_is_not_taken_for_one(tmp_path: Path, text: str) -> None:
    (fault,) = faults({}, written(tmp_path, text))
    assert fault.endswith(": must be text")


@pytest.mark.parametrize("text", ["slots = ", "slots", "\x00", "slots = 1\nslots = 2"])
def test_a_file_that_is_no_toml_is_named_with_what_is_wrong(tmp_path: Path, text: str) -> None:
    environ = written(tmp_path, text)
    (fault,) = faults({}, environ)
    assert fault.startswith(f"{environ['HPCZMQ_CONFIG']}: ")
    assert "(at " in fault, "the line, or the end of the document"


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    (fault,) = faults({}, {"HPCZMQ_CONFIG": str(path)})
    assert fault == f"{path}: not there: HPCZMQ_CONFIG must name a file"
    (fault,) = faults({}, {"HPCZMQ_CONFIG": str(tmp_path)})
    assert fault.startswith(f"{tmp_path}: ")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'name = "\xff"')
    assert faults({}, {"HPCZMQ_CONFIG": str(path)})[0].startswith(f"{path}: ")


def test_a_config_that_is_made_directly_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="slots = -1: must be") as raised:
        Config(slots=-1, number=0)
    assert str(raised.value).count("\n") == 1


# --- Names --------------------------------------------------------------------------------------


def test_a_name_that_nobody_gave_says_which_host_and_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "lab7")
    assert default_name("slave") == f"lab7-{os.getpid()}"
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 500)
    name = default_name("slave")
    assert len(name) == limits.name_chars_max
    assert name.endswith(f"-{os.getpid()}"), "two on one host are told apart"
