"""The line of a node or a client to its master, which lasts longer than one connection.

libzmq dials again by itself after a connection has broken, and for ever; but not when the other end
did not want us, which may change: a key is added, the cluster gets its next key.
"""

from __future__ import annotations

from hpczmq import limits
from hpczmq.endpoint import Socket, Trouble
from hpczmq.keyfiles import NodeKeys
from hpczmq.membership import Membership
from hpczmq.messages import Access
from hpczmq.transport import Sockets


class Line:
    """The DEALER to a master, a new one when it has to be.

    Args:
        address: of the master's ROUTER.
        keys: those of this process; None: none.
    """

    def __init__(self, sockets: Sockets, address: str, keys: NodeKeys | None) -> None:
        self._sockets = sockets
        self.address = address
        self.keys = keys
        self.dealer: Socket = sockets.dealer(address)
        #: Why the last try to connect failed before a word was said; None: it did not.
        self.trouble: Trouble | None = None
        #: What the master said last of keys; None: nothing.
        self.access: Access | None = None
        self._dialled_s = self._failed_s = float("-inf")

    def look(self, membership: Membership, now: float) -> bool:
        """See what keeps us out, and dial anew if that may help; whether the master has said
        something new of keys.
        """
        failed = self.dealer.trouble()
        if failed is not None:
            self._failed_s = now
            if failed is not Trouble.HANDSHAKE or self.trouble is None:  # which says the least
                self.trouble = failed
        elif membership.heard_s > self._failed_s:
            self.trouble = None
        news = membership.access is not self.access
        self.access = membership.access
        if self.keys is None or self.access is None:
            news = False
        elif news:
            self.keys.learn(self.access.next_key)
        again = self.trouble is not None and now - self._dialled_s > limits.redial_s
        if self.keys is not None:
            misunderstood = failed is Trouble.HANDSHAKE
            again |= self.keys.tries_other(membership.joined, misunderstood, now)
        if again:
            self._dialled_s = now
            self.dealer = self._sockets.redialled(self.dealer, self.address)
        return news
