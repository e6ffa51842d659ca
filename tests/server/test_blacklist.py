"""Which tabs and clients are not taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError
from taba.server.blacklist import Blacklist, Patterns


class BlacklistTests(SynchronousTestCase):
    """The lists of the settings."""

    def test_matched_at_the_start(self) -> None:
        """As in the original, a pattern stands for all names that begin with what it matches."""
        lists = Blacklist.of(["debug_", "tmp[0-9]+$"], ["laptop"])
        for tab, client, refused in (
            ("debug_x", "c", True), ("debug_", "c", True), ("a_debug_", "c", False), ("Debug_x", "c", False),
            ("tmp12", "c", True), ("tmp12x", "c", False), ("a", "laptop-3", True), ("a", "my-laptop", False),
        ):  # fmt: skip
            self.assertEqual(lists.refuses(tab, client), refused, (tab, client))

    def test_empty(self) -> None:
        """Without patterns everything is taken."""
        self.assertFalse(Blacklist.of().refuses("tab", "client"))

    def test_not_for_re2(self) -> None:
        """What RE2 cannot do is refused with the setting, its place and the pattern."""
        for names, clients, words in (
            (["a", "(?<=x)y"], [], "NAME_BLACKLIST[1]: '(?<=x)y' is not a regular expression that RE2 takes"),
            ([], ["["], "CLIENT_BLACKLIST[0]: '['"),
            ([r"(\w)\1"], [], r"NAME_BLACKLIST[0]: '(\\w)\\1'"),
        ):
            self.assertIn(words, str(self.assertRaises(SettingsError, Blacklist.of, names, clients)))

    @given(st.lists(st.text("ab", max_size=3), max_size=40), st.lists(st.sampled_from(["a", "ab", "b+$"]), max_size=3))
    def test_remembering_changes_nothing(self, names: list[str], patterns: list[str]) -> None:
        """However many names come, and come again, each gets the answer that it would get alone."""
        remembering = Patterns.of(patterns, "X")
        remembering.most_remembered = 4
        for name in names:
            self.assertEqual(remembering.match(name), Patterns.of(patterns, "X").match(name))
