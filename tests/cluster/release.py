"""The previous release of Taba, loaded beside the present one in the same process, so that a simulated cluster can have
processes of both.

Which commit that is says `tests.processes.versions.previous`; TABA_RELEASE may name a folder with its source and its
built native module instead. Its package is imported under the name `taba_before`: every import of `taba` that one of
its modules makes, at its top or in a function, is an import of `taba_before`, because its modules have an `__import__`
of their own among their builtins. So the two share no module, no class and no state, and its native module is its own,
too: what one release makes, the other meets as bytes only, as over a network. What is shared: zope, attrs and Twisted;
the functions in Redis, of which a cluster has one version only, the newest; and files that a module asks
`importlib.resources` for are the present ones.

Where the machinery of the simulation looks into a process, it does so by the names of attributes.
"""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import attr
from attrs import define, field

from tests.processes.surroundings import REPOSITORY
from tests.processes.versions import NotToBeHad, previous

ALIAS = "taba_before"
FOLDER = "TABA_RELEASE"
"""The variable that names a folder with the source and the native module of a release."""
_PRESENT = "taba"
_NATIVE = "taba._native"


def release_folder() -> Path:
    """The folder of the previous release, built there if nobody has yet; NotToBeHad says why there is none."""
    given = os.environ.get(FOLDER, "")
    if given:
        return Path(given)
    commit = previous()
    folder = Path(tempfile.gettempdir()) / f"taba-release-{os.getuid()}-{commit[:12]}"
    if not _is_built(folder):
        _build(commit, folder)
    return folder


def _is_built(folder: Path) -> bool:
    return (folder / "built").exists() and any((folder / _PRESENT).glob("_native.*"))


def _build(commit: str, folder: Path) -> None:
    """Take the source of a commit from the repository, and build its native module; the folder appears as a whole."""
    with tempfile.TemporaryDirectory(prefix="taba-release-", dir=folder.parent) as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], capture_output=True, check=False)
        if archive.returncode:
            raise NotToBeHad(archive.stderr.decode(errors="replace").strip())
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
        built = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=source, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if built.returncode:
            raise NotToBeHad(f"{commit} cannot be built: {built.stderr[-2000:]}")
        (source / "built").touch()
        if not folder.exists():
            source.rename(folder)


class _Loader(SourceFileLoader):
    """Runs a module of the release with builtins that import the release."""

    def exec_module(self, module: ModuleType) -> None:
        """See `Loader`."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        exec(self.get_code(module.__name__), module.__dict__)  # type: ignore[arg-type]


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    if level == 0 and (name == _PRESENT or name.startswith(f"{_PRESENT}.")):
        name = ALIAS + name.removeprefix(_PRESENT)
    return builtins.__import__(name, globals, locals, fromlist, level)


@define
class _Finder(MetaPathFinder):
    """Finds the modules of the release, in its folder."""

    _folder: Path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        if fullname != ALIAS and not fullname.startswith(f"{ALIAS}."):
            return None
        place = self._folder.joinpath(_PRESENT, *fullname.split(".")[1:])
        if place.is_dir():
            file = str(place / "__init__.py")
            return spec_from_file_location(
                fullname, file, loader=_Loader(fullname, file), submodule_search_locations=[str(place)]
            )
        if place.with_suffix(".py").exists():
            file = str(place.with_suffix(".py"))
            return spec_from_file_location(fullname, file, loader=_Loader(fullname, file))
        native = sorted(place.parent.glob(f"{place.name}.*so"))
        if native:
            return spec_from_file_location(fullname, native[0], loader=ExtensionFileLoader(fullname, str(native[0])))
        return None


@define
class Release:
    """A release that is loaded."""

    _modules: dict[str, ModuleType] = field(factory=dict, init=False)

    def module(self, name: str) -> ModuleType:
        """One of its modules, by the name that it has in `taba`."""
        if name not in self._modules:
            self._modules[name] = import_module(f"{ALIAS}.{name}")
        return self._modules[name]

    def settings(self, present: Any) -> Any:
        """Settings of the present release as this one has them: what it does not know is left out, and what is at the
        present default is at its own.
        """
        if isinstance(present, tuple):
            return tuple(self.settings(each) for each in present)
        if not attr.has(type(present)):
            return present
        place = type(present).__module__.removeprefix(f"{_PRESENT}.")
        own = self._settings_class(place, type(present).__name__)
        known = {each.name: each.alias for each in attr.fields(own) if each.init}
        given = {each.name: getattr(present, each.name) for each in attr.fields(type(present)) if each.init}
        defaults = {each.name: _default_of(each) for each in attr.fields(type(present))}
        values = {known[name]: value for name, value in given.items() if name in known and value != defaults[name]}
        return own(**{alias: self.settings(value) for alias, value in values.items()})

    def _settings_class(self, place: str, name: str) -> Any:
        """A class of settings, wherever the release keeps it."""
        own = getattr(self.module("settings"), name, None)
        return own if own is not None else getattr(self.module(place), name)


def _default_of(attribute: Any) -> Any:
    default = attribute.default
    made = isinstance(default, attr.Factory) and not default.takes_self  # type: ignore[arg-type]
    return default.factory() if made else default


def load(folder: Path) -> Release:
    """Load the release in a folder; once for a process."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder(folder))
        # Its native module names itself as the present one does, and would become one with it.
        own = {name: sys.modules.pop(name) for name in (_NATIVE, f"{_NATIVE}.lib") if name in sys.modules}
        try:
            import_module(f"{ALIAS}._native")
        finally:
            for name in (_NATIVE, f"{_NATIVE}.lib"):
                sys.modules.pop(name, None)
            sys.modules.update(own)
    return Release()
