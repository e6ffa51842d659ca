"""Types that others bring: found by entry points and the setting, and refused with a sentence when of no use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import SettingsError, StartError
from taba.handlers.buffer import Buffer
from taba.handlers.registry import Registry, builtin, check_installed, installed
from tests.handlers.types_of_others import Better, Longest, LongestAgain

HERE = "tests.handlers.types_of_others"


def entry(name: str, place: str | None = None) -> EntryPoint:
    """An entry point as an installed package has it."""
    return EntryPoint(name, place or f"{HERE}:{name}", "taba.handlers")


def found(entries: Sequence[EntryPoint] = (), additional: Mapping[str, str] | None = None) -> Registry:
    """The Types with these beside the built-in ones."""
    return installed(additional, entries=entries)


def class_of(handler: Any) -> type:
    """The class of a Handler, of one of others behind what looks at its answers."""
    return type(getattr(handler, "inner", handler))


class FindingTests(SynchronousTestCase):
    """Which Handler does which Type."""

    def test_nothing_else(self) -> None:
        """Without packages and settings there are the built-in Types."""
        self.assertEqual(set(found().handlers), set(builtin().handlers))

    def test_entry_point(self) -> None:
        """A class that a package names under the Type's name is its Handler; its events travel raw."""
        registry = found([entry("Longest")])
        self.assertIs(class_of(registry.get("Longest")), Longest)
        self.assertEqual(registry.kinds()["Longest"], native.RAW)
        self.assertEqual(len(registry.handlers), len(builtin().handlers) + 1)

    def test_setting(self) -> None:
        """ADDITIONAL_HANDLERS names a class with a colon or, as in the original, with a dot."""
        for place in (f"{HERE}:Longest", f"{HERE}.Longest"):
            self.assertIs(class_of(found(additional={"Longest": place}).get("Longest")), Longest)

    def test_setting_goes_before_packages(self) -> None:
        """The setting decides between packages, and against a package's Handler, which is not even loaded."""
        entries = [entry("Longest"), entry("Longest", "no.such.module:Class")]
        registry = found(entries, {"Longest": f"{HERE}:LongestAgain"})
        self.assertIs(class_of(registry.get("Longest")), LongestAgain)

    def test_setting_replaces_what_comes_with_taba(self) -> None:
        """A built-in Type gets another Handler by the setting only."""
        self.assertIs(class_of(found(additional={"CounterGroup": f"{HERE}:Better"}).get("CounterGroup")), Better)

    def test_payloads_of_a_shape(self) -> None:
        """A Handler's shape tells the agent which payloads to refuse."""
        self.assertEqual(found([entry("Latest")]).kinds()["Latest"], native.RAW_NUMBER)

    def test_lifetime_of_buffers(self) -> None:
        """BUFFER_SECONDS is for how long a Buffer shows a value that says no expiry."""
        registry = installed(buffer_seconds=60.0, entries=())
        self.assertEqual(registry.get("Buffer"), Buffer(60.0))

    def test_what_is_installed_here(self) -> None:
        """The entry points of this Python are read when none are given."""
        self.assertLessEqual(set(builtin().handlers), set(installed().handlers))


class RefusedTests(SynchronousTestCase):
    """Handlers that end the start: the sentence names the Type, where it was named, and what is wrong."""

    def _refused(self, name: str, *words: str, place: str | None = None) -> None:
        for given, told_by in (
            (([entry(name, place)], None), "installed package"),
            (([], {name: place or f"{HERE}:{name}"}), "ADDITIONAL_HANDLERS"),
        ):
            problem = str(self.assertRaises(StartError, found, *given))
            for each in (repr(name), place or HERE, told_by, *words):
                self.assertIn(each, problem)
            self.assertNotIn("\n", problem)
            self.assertFalse(problem.endswith(".."))

    def test_what_cannot_be_imported(self) -> None:
        """No such module, no such class, a module that fails, or no place at all."""
        self._refused("X", "cannot be imported", "No module named 'nowhere'", place="nowhere:X")
        self._refused("X", f"{HERE} has no Nobody", place=f"{HERE}:Nobody")
        self._refused("X", f"{HERE} has no Longest.Inner", place=f"{HERE}:Longest.Inner")
        self._refused("X", "is no package.module:Class", place="nowhere")
        self._refused("X", "is no package.module:Class", place="a b:c")

    def test_what_is_no_handler(self) -> None:
        """An object, a class that wants arguments, an abstract one, and classes that lack or mistake something."""
        self._refused("Longest", "is no class", place=f"{HERE}:NO_CLASS")
        self._refused("Choosy", "cannot be made without arguments", "taste")
        self._refused("Longest", "abstract", place="taba.handlers.custom:PythonHandler")
        self._refused("Halved", "lacks expired, merge, newest, reduce, render, running_aggregate, upgrade, version")
        self._refused("Misfit", "merge")
        self._refused("Mute", "no method newest", "5")

    def test_wrong_attributes(self) -> None:
        """Another name, kind, shape, version or running_aggregate than can be."""
        self._refused("Renamed", "is of the Type 'Other'")
        self._refused("Counting", "has kind 1")
        self._refused("Shapeless", "has shape 77")
        self._refused("Undecided", "running_aggregate None")
        self._refused("Unversioned", "version '1'")

    def test_wrong_names(self) -> None:
        """Names that are Taba's own, and such as no event can carry."""
        self._refused("taba.delete", "no Type may begin with 'taba.'", place=f"{HERE}:Reserved")
        for name in ("two words", "", "x" * 65, "grün"):
            self._refused(name, "no event can carry", place=f"{HERE}:Longest")

    def test_built_in_type_of_another_kind(self) -> None:
        """What takes the place of a built-in Type has to fold the Partials that agents make of it."""
        problem = self.assertRaises(StartError, found, (), {"Gauge": "taba.handlers.buffer:Buffer"})
        self.assertIn("is of the Type 'Buffer'", str(problem))
        problem = self.assertRaises(StartError, found, (), {"Gauge": f"{HERE}:Gauge"})
        self.assertIn("has no Gauge", str(problem))

    def test_package_in_the_place_of_a_built_in_type(self) -> None:
        """That a package is installed does not change what CounterGroup means: the setting has to say so."""
        problem = self.assertRaises(StartError, found, [entry("CounterGroup", f"{HERE}:Better")])
        self.assertIn("'CounterGroup' comes with Taba", str(problem))
        self.assertIn("ADDITIONAL_HANDLERS", str(problem))

    def test_settings_are_looked_at_before_the_start(self) -> None:
        """--check-config says the same, as a mistake in the settings."""
        problem = self.assertRaises(SettingsError, check_installed, {"X": "nowhere:X"})
        self.assertIn("'X'", str(problem))
        check_installed({"Longest": f"{HERE}:Longest"})
        self.assertEqual(set(installed(entries=()).handlers), set(builtin().handlers))

    def test_two_packages_with_one_type(self) -> None:
        """Which of two is meant nobody can know."""
        entries = [entry("Longest"), entry("Longest", f"{HERE}:LongestAgain")]
        problem = self.assertRaises(StartError, found, entries)
        self.assertIn("is named twice", str(problem))
        self.assertIn(f"{HERE}:LongestAgain", str(problem))
