"""Handlers of anybody: found by name, made, and looked at before the process starts. What cannot be used ends the start
with a sentence that names the Type and what is wrong with it.

A Handler is a class without arguments of its constructor, named by an entry point of the group `taba.handlers` (whose
name is the Type) or by the setting ADDITIONAL_HANDLERS (Type -> where the class is). It does not have to say that it
implements `IHandler`; it has to do so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint
from inspect import isclass
from typing import Any, Final

from attrs import frozen
from zope.interface.exceptions import Invalid
from zope.interface.interfaces import IMethod
from zope.interface.verify import verifyObject

from taba import native
from taba.errors import StartError
from taba.interfaces import IHandler

ENTRY_POINTS: Final = "taba.handlers"
"""The group of entry points."""
RESERVED: Final = "taba."
"""What no Type's name begins with: Types of that name carry Taba's own operations."""
MAX_NAME: Final = 64
"""Characters of a Type's name."""
SHAPES: Final = (native.RAW, native.RAW_NUMBER, native.RAW_EXPIRING)
"""What payloads a Type of the kind RAW may ask for, by the attribute `shape`."""

_NAME: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_NAME}}}")
_PLACE: Final = re.compile(r"[A-Za-z_][\w.]*[:.][A-Za-z_][\w.]*")


class Unusable(Exception):
    """Why a Handler cannot be used, as the end of a sentence."""


@frozen
class Source:
    """Where the Handler of a Type is to be found."""

    type: str
    place: str
    """`package.module:Class`, or `package.module.Class`."""
    said_by: str
    """Who says so, for the sentence."""

    @classmethod
    def of_entry_point(cls, entry: EntryPoint) -> Source:
        """As an installed package says."""
        dist = getattr(entry, "dist", None)
        return cls(entry.name, entry.value, f"the package {dist.name}" if dist is not None else "an installed package")

    def load(self, kind: int) -> IHandler:
        """The Handler, made and looked at; StartError when it cannot be used. `kind` is how events of the Type travel:
        agents that do not have the Handler must know it, too.
        """
        try:
            check_name(self.type)
            return checked(self.type, kind, _made(_found(self.place)))
        except Unusable as problem:
            raise StartError(
                f"The Type {self.type!r} cannot be used. Its Handler {self.place}, named by {self.said_by}, {problem}."
            )


def sources(entries: Sequence[EntryPoint], additional: Mapping[str, str], builtin: Sequence[str]) -> list[Source]:
    """Where the Types beside the built-in ones, or in their place, are to be found. A setting goes before a package.

    StartError for a Type that two packages name, and for a package that names a built-in one: only who runs the process
    may say that.
    """
    found: dict[str, Source] = {}
    for entry in entries:
        source = Source.of_entry_point(entry)
        if source.type in additional:
            continue
        if source.type in builtin:
            raise StartError(
                f"The Type {source.type!r} comes with Taba, and {source.said_by} brings another Handler of it "
                f"({source.place}). If it is to be used, say so in ADDITIONAL_HANDLERS; if not, uninstall the package."
            )
        other = found.get(source.type)
        if other is not None:
            raise StartError(
                f"The Type {source.type!r} is named twice: by {other.said_by} ({other.place}) and by {source.said_by} "
                f"({source.place}). Uninstall one, or say in ADDITIONAL_HANDLERS which it is to be."
            )
        found[source.type] = source
    for type, place in additional.items():
        found[type] = Source(type, place, "ADDITIONAL_HANDLERS")
    return list(found.values())


def check_name(type: str) -> None:
    """Unusable for a name that no custom Type may have."""
    if type.startswith(RESERVED):
        raise Unusable(f"has a name that is Taba's own: no Type may begin with {RESERVED!r}")
    if _NAME.fullmatch(type) is None:
        raise Unusable(f"has a name that no event can carry: 1 to {MAX_NAME} letters, digits and any of . _ : -")


def checked(type: str, kind: int, handler: Any) -> IHandler:
    """The Handler itself; Unusable when it lacks something, or is of another name or kind."""
    lacking = [name for name in IHandler if not hasattr(handler, name)]
    if lacking:
        raise Unusable(f"lacks {', '.join(sorted(lacking))} (see taba.interfaces.IHandler)")
    for name, member in IHandler.namesAndDescriptions():
        if IMethod.providedBy(member) and not callable(getattr(handler, name)):
            raise Unusable(f"has no method {name}, but {getattr(handler, name)!r}")
    try:
        verifyObject(IHandler, handler, tentative=True)
    except Invalid as problem:
        raise Unusable(f"does not fit taba.interfaces.IHandler: {_one_line(problem)}")
    _check_attributes(type, kind, handler)
    made: IHandler = handler
    return made


def _check_attributes(type: str, kind: int, handler: Any) -> None:
    if handler.name != type:
        raise Unusable(f"is of the Type {handler.name!r}, as its attribute `name` says")
    if handler.running_aggregate not in (True, False):
        raise Unusable(f"has running_aggregate {handler.running_aggregate!r}, which is neither True nor False")
    version = handler.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Unusable(f"has version {version!r}, which is no whole number from 1 on")
    if handler.kind != kind:
        raise Unusable(f"has kind {handler.kind!r}, but agents send the events of this Type as kind {kind}")
    if getattr(handler, "shape", kind) not in (SHAPES if kind == native.RAW else (kind,)):
        raise Unusable(f"has shape {handler.shape!r}, which is none of native.RAW, RAW_NUMBER and RAW_EXPIRING")


def _found(place: str) -> Any:
    """The object that `place` names."""
    if _PLACE.fullmatch(place) is None:
        raise Unusable("is no package.module:Class")
    module, _, attributes = place.partition(":") if ":" in place else place.rpartition(".")
    try:
        found = import_module(module)
    except Exception as problem:  # anybody's code
        raise Unusable(f"cannot be imported: {_told(problem)}")
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise Unusable(f"is not there: {module} has no {attributes}")
    return found


def _made(found: Any) -> Any:
    if not isclass(found):
        raise Unusable(f"is no class, but {found!r}")
    try:
        return found()
    except Exception as problem:  # anybody's code
        raise Unusable(f"cannot be made without arguments: {_told(problem)}")


def _told(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {_one_line(problem)}"


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()).rstrip(".")
