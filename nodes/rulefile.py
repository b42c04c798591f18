"""The file with the rules of alerts: read for masters and memorias, or the built-in ones."""

from __future__ import annotations

from pathlib import Path

from hpczmq import rules
from hpczmq.alerts import Rule
from hpczmq.config import Config
from hpczmq.errors import ConfigError


def rules_of(config: Config) -> tuple[Rule, ...]:
    """The rules that hold.

    Raises:
        ConfigError: the file can't be read, or has faults; a line for each.
    """
    if not config.rules:
        return rules.RULES
    try:
        text = Path(config.rules).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "must be a text file of rules; `hpczmq alerts rules` prints one"
        raise ConfigError(f"rules = {config.rules}: {error}: {remedy}") from None
    return rules.parse(text, config.rules)
