"""The rules of the client that exactly once rests on, switched off, and the tests that must see it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_SCRIPTS = "tests.cluster.test_scripts."
_CLIENT = "tests.client.test_exactly_once.RuleTests."

CLIENT_MUTANTS: Sequence[Mutant] = (
    Mutant(
        "sent_is_unknown",
        "after 409 a batch sent once is sent again under the new instance",
        _SCRIPTS + "ClientTests.test_sent_is_unknown",
        (
            (
                "client/sender.py",
                "        self._failures += 1\n        self._count_unknown(batch)\n",
                "        self._failures += 1\n        batch.number = None\n",
            ),
            ("client/exchange.py", "        self.blocks = ()\n", ""),
        ),
    ),
    Mutant(
        "fork_starts_empty",
        "a forked client keeps the instance and the numbers of its parent",
        _CLIENT + "test_fork_starts_empty",
        (
            (
                "client/sender.py",
                "        self._instance: str | None = None\n        self._number = 0  # the last one",
                "        self._instance: str | None = getattr(self, '_instance', None)\n"
                "        self._number = getattr(self, '_number', 0)  # the last one",
            ),
        ),
    ),
    Mutant(
        "numbers_not_reused",
        "a batch that is repeated takes along what was recorded meanwhile, under its old number",
        _CLIENT + "test_numbers_not_reused",
        (
            (
                "client/sender.py",
                "        if batch.number is None:\n            self._number += 1\n",
                "        if batch.number is None:\n"
                "            self._kept = list(batch.blocks)\n"
                "        else:\n"
                "            from taba.client.encoding import encode_frame\n"
                "            more = self._recorder.collect()\n"
                "            self._kept += more\n"
                "            batch.events += sum(block.events for block in more)\n"
                "            batch.body = encode_frame(self._client_id, batch.instance, batch.number, self._kept)\n"
                "        if batch.number is None:\n            self._number += 1\n",
            ),
        ),
    ),
    Mutant(
        "two_protocols_one_number",
        "an agent that does not know protocol 2 gets a batch that was sent as columns under another number",
        _CLIENT + "test_two_protocols_one_number",
        (
            ("client/sender.py", "        batch.fall_back()\n", "        batch.number = None\n"),
            ("client/exchange.py", "        self.blocks = ()\n", ""),
        ),
    ),
    Mutant(
        "agent_names_instance",
        "the client draws the name of its instance",
        _CLIENT + "test_agent_names_instance",
        (
            (
                "client/exchange.py",
                "        return dict(FRAME), encode_frame(client_id, None, 0)\n",
                "        return {'Taba-Batch': 'c' * 32 + '/0'}, b''\n",
            ),
        ),
    ),
)
