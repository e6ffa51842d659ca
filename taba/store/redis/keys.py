"""The keys of the Redis store: which key of a shard holds what.

Everything of a vbucket lives on one shard, so that whatever a failover rolls back, it rolls back to one moment. `v`
is the number of a vbucket; before every key goes the prefix of the settings.

    meta       hash    who the shard belongs to: cluster, vbuckets, format, state, durability, shard, home, writes
    moves      hash    vbucket -> `moving:SHARD`, `undoing:SHARD` or `gone:SHARD`; see placing.py
    coming     hash    vbucket -> token of the mover that brings it here
    O:v        string  marker `A:EPOCH` (active), `S:EPOCH` (sealed) or `I:EPOCH` (importing); checked by every append
    L:v        stream  the log: ids 0-1, 0-2, ... without gaps; fields `t` (time of append), `n` (events), `b` (batch)
    M:v        list    for each entry of L:v, in order: `TIME:SIZE:SUM:EVENTS:SUM`, where each SUM grows by what is
                       before it (older versions wrote the first three)
    D:v        hash    incarnation -> the lane's dedup row, `LAST:CHECKSUM:EVENTS:TOUCHED`
    E:v        string  the lease, `OWNER:EPOCH`; expires
    Q:v        string  the position, `FOLDED:COMMITS:EPOCH`; EPOCH is the highest that was granted
    T:v        hash    tab -> Type; "" for a tab that has a State or an Aggregate and no Type
    H:v:TAB    hash    client -> State; the field of one blank is the retired State
    A:v        hash    tab -> running Aggregate
    N:v        hash    client -> number of its States in this vbucket
    C:v        hash    the ledger: `row` (be's lines, JSON), `lost` and `flushed` (the store's own lines)
    X          stream  Partials set aside by vbuckets of this shard, bounded; fields r, t, c, y, n, p, and v (vbucket)
                       and l (digits of the lineage), which older versions did not write
    XM         list    for each entry of X, in order: `SIZE:ID` (older versions: `SIZE`)
    P          hash    name -> `EXPIRES:MILLISECONDS:FACTS` of each process that published itself; on the shard of
                       vbucket 0 only
"""

from __future__ import annotations

from attrs import define

MARKERS = "O"
LOG = "L"
ENTRIES = "M"
LANES = "D"
LEASE = "E"
POSITION = "Q"
TYPES = "T"
STATES = "H"
AGGREGATES = "A"
CLIENTS = "N"
LEDGER = "C"


@define(frozen=True)
class Keys:
    """The keys under one prefix, as bytes."""

    prefix: str = ""

    def of(self, letter: str, vbucket: int) -> bytes:
        """The key of a vbucket, by its letter above."""
        return f"{self.prefix}{letter}:{vbucket}".encode()

    def states(self, vbucket: int, tab: str) -> bytes:
        """The States of a tab."""
        return f"{self.prefix}{STATES}:{vbucket}:{tab}".encode()

    @property
    def meta(self) -> bytes:
        """Who the shard belongs to."""
        return f"{self.prefix}meta".encode()

    @property
    def moves(self) -> bytes:
        """The vbuckets that leave this shard, or have left it."""
        return f"{self.prefix}moves".encode()

    @property
    def coming(self) -> bytes:
        """The vbuckets that are being brought here."""
        return f"{self.prefix}coming".encode()

    @property
    def aside(self) -> tuple[bytes, bytes]:
        """What is set aside, and the sizes of it."""
        return f"{self.prefix}X".encode(), f"{self.prefix}XM".encode()

    @property
    def members(self) -> bytes:
        """The processes that published themselves."""
        return f"{self.prefix}P".encode()
