"""Receipts of this machine on their way to a server: a queue on disk, and who empties it."""

from outweigh.ledger.pushing.queue import Batch, Counts, PushQueue, SetAside, queue_path
from outweigh.ledger.pushing.sending import Accepted, Pushed, Receiver, Refused, TooLarge, push

__all__ = [
    "Accepted",
    "Batch",
    "Counts",
    "PushQueue",
    "Pushed",
    "Receiver",
    "Refused",
    "SetAside",
    "TooLarge",
    "push",
    "queue_path",
]
