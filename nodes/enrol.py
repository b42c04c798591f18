"""How a node without a key joins: by a token, and the fingerprint of the cluster that it is for.

It makes a pair of its own and speaks with that to the master, whose key it knows by the
fingerprint; so the token is said to nobody else. The secret half never leaves this machine.
"""

from __future__ import annotations

import logging
import os

from hpczmq import credentials, keyfiles, keyring, limits, wire
from hpczmq.clock import Clock
from hpczmq.config import Config, default_name
from hpczmq.endpoint import Sent, Socket, Trouble
from hpczmq.errors import ConfigError, NotAllowed, OutputError, ProtocolError
from hpczmq.identity import key_of
from hpczmq.keyfiles import KeyFile, NodeKeys
from hpczmq.messages import Enrol, Enrolled, Reject
from hpczmq.transport import Keys, Sockets

log = logging.getLogger(__name__)

#: Seconds until it is said again.
_AGAIN_S = 2.0


def keys_of(config: Config, role: str) -> NodeKeys | None:
    """The keys of a node: those that it has, or else those that it gets by its token.

    Waits for the master as long as it takes.

    Raises:
        ConfigError: the settings don't go together, or a key can't be used.
        NotAllowed: the token is none, or not good any more.
    """
    if config.insecure or config.keys == credentials.OFF:
        return None
    path = credentials.file_of(config, role)
    if not config.token or os.path.lexists(path):
        return credentials.of_node(config, role)
    if not config.fingerprint:
        raise ConfigError(
            "fingerprint: must be given with a token, so that it is said to the right master only:"
            " `hpczmq keys show cluster` prints it"
        )
    server, token = key_of(config.fingerprint), keyring.token_of(config.token)
    pair = keyfiles.new_pair()
    sockets = Sockets(Keys(pair, server))
    try:
        told = _joined(config, sockets, Enrol(1, token, config.name or default_name(role)))
    finally:
        sockets.close()
    file = KeyFile(told.name, told.role.name.lower(), pair, server)
    log.info("joined as %s", keyfiles.described(file.role, file.name))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyfiles.write(path, file)
    except (OSError, OutputError) as error:
        log.warning("the new key is not kept, and a restart needs another token: %s", error)
        return NodeKeys(file, None)
    return NodeKeys(file, path)


def _joined(config: Config, sockets: Sockets, enrol: Enrol) -> Enrolled:
    """Ask until there is an answer."""
    dealer, clock = sockets.dealer(config.master), Clock()
    sent_s, warned = float("-inf"), False
    log.info("joins %s by its token", config.master)
    while True:
        now = clock.now()
        if now - sent_s > _AGAIN_S and dealer.send(wire.encode(enrol)) is Sent.YES:
            sent_s = now
        sockets.poll(limits.tick_s)
        answer = _answer(dealer)
        if isinstance(answer, Enrolled):
            return answer
        if isinstance(answer, Reject) and answer.code != "flood":
            raise NotAllowed(answer.code, f"{config.master}: {answer.reason}")
        trouble = dealer.trouble()
        if trouble is Trouble.KEY:
            remedy = "no token is open there: have one made by `hpczmq keys token`"
            raise NotAllowed("token", f"{config.master}: {remedy}")
        if trouble is not None and not warned:
            warned = True
            log.warning("%s: %s: is the fingerprint right?", config.master, trouble.value)


def _answer(dealer: Socket) -> object:
    for frames in dealer.receive(1):
        try:
            return wire.decode(frames)[0]
        except ProtocolError as error:
            log.warning("dropped a message of the master: %s", error)
    return None
