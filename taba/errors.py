"""The exceptions of Taba.

Whatever a peer sends is either understood or raises `RemoteProtocolError`; whatever a store cannot do raises a
`StoreError`; what is wrong with a setting or a folder raises `StartError`, whose text says what to do. Facts stand in
attributes, not only in the text.
"""

from __future__ import annotations


class TabaError(Exception):
    """The root of all errors that Taba raises on purpose."""


class LocalProtocolError(TabaError):
    """Our own code broke a rule of its protocol: a defect."""


class RemoteProtocolError(TabaError):
    """A peer sent what its protocol does not allow."""


class BodySyntaxError(RemoteProtocolError):
    """The structure of a protocol 1 body is wrong; nothing of it counts."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class FrameError(RemoteProtocolError):
    """A protocol 2 frame, or the answer to one, is malformed."""


class ColumnsError(FrameError):
    """The frame of events in columns is malformed behind its first `place` bytes; nothing of it counts."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(f"byte {place}: {problem}")
        self.place = place
        self.problem = problem


class LimitReached(TabaError):
    """A limit of size was reached: `limit` names it, in the words of the settings."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"over the limit: {limit}")
        self.limit = limit


class CodecError(TabaError):
    """A State, Partial or batch cannot be decoded."""


class CorruptBlob(CodecError):
    """The bytes break the rules of their encoding."""


class WrongType(CodecError):
    """The bytes are of another Type, or a Partial where a State is due."""


class UnknownVersion(CodecError):
    """The bytes are of a version that this build does not know."""


class HandlerError(TabaError):
    """A Handler cannot do what it was asked for, for example reduce States of different Types."""


class StoreError(TabaError):
    """The store did not do what it was asked for."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or failed. What was asked may or may not have been done: ask again, or load again.
    """


class NotHere(StoreError):
    """The vbucket is not served by this store."""


class SpoolError(TabaError):
    """The spool cannot be written. What was to be committed is not durable."""


class SpoolFull(SpoolError):
    """The spool or the agent's memory is at its limit; nothing of the request was taken."""


class StartError(TabaError):
    """The process cannot start; the text says why and what to do."""


class FolderLocked(StartError):
    """Another process uses the folder."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is in use by another Taba process. Stop that one, or give this one a folder of its own "
            "(--data-dir for a server, --spool for an agent)."
        )
        self.path = path


class SettingsError(StartError):
    """A setting is unknown, missing or has a wrong value."""
