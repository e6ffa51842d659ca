"""The rules that exactly once rests on, between one client and its agent, with a network that does its worst.

A `World` has clients, one agent and what is under way between them, and says whether the law holds. Hypothesis looks
for a schedule that breaks it; and for each rule of the Sender a schedule by hand shows that without the rule it breaks.
"""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from taba.client.sender import INSTANCE_IDLE, Answer, Sender
from tests.client.exactly_once_mutants import (
    AgentOfNamedInstances,
    ForkKeepsAll,
    NamesItsInstance,
    NumberForMoreEvents,
    RefusedIsRefused,
    SentIsSentAgain,
    StaysIdle,
    TextUnderANewNumber,
)
from tests.client.exactly_once_world import ROOM, ClientProcess, World


class RuleTests(SynchronousTestCase):
    """Each schedule with the rule, and without it."""

    def sent_is_unknown(self, world: World) -> None:
        """The batch is counted, its answer lost, then the agent's disk."""
        world.record()
        world.exchange()
        world.send()
        world.deliver(world.network.pop())
        world.agent.lose_disk()
        world.time_out()
        world.settle()

    def test_sent_is_unknown(self) -> None:
        """A batch that an agent may have counted before it lost its disk is not sent again."""
        world = World()
        self.sent_is_unknown(world)
        self.assertEqual((world.violation(), world.account()), (None, None))
        self.assertEqual(world.client.sender.status()["unknown"], 1)

    def test_without_sent_is_unknown(self) -> None:
        """If it were, it would count twice."""
        world = World(SentIsSentAgain)
        self.sent_is_unknown(world)
        self.assertEqual(world.violation(), "twice: [1.0]")

    def numbers_not_reused(self, world: World) -> None:
        """The batch is counted, its answer lost; more is recorded before it is repeated."""
        world.record()
        world.exchange()
        world.send()
        world.deliver(world.network.pop())
        world.time_out()
        world.record(2)
        world.exchange()
        world.settle()

    def test_numbers_not_reused(self) -> None:
        """What is recorded while a batch waits for its answer goes under the next number."""
        world = World()
        self.numbers_not_reused(world)
        self.assertEqual((world.violation(), world.account()), (None, None))
        self.assertEqual(len(world.agent.events), 3)

    def test_without_numbers_not_reused(self) -> None:
        """If it went with the batch, the agent would take all of it for a duplicate."""
        world = World(NumberForMoreEvents)
        self.numbers_not_reused(world)
        self.assertEqual(world.violation(), "acknowledged and missing: [2.0, 3.0]")

    def two_protocols_one_number(self, world: World) -> None:
        """The batch is counted as columns, its answer lost; an agent of before protocol 2 takes over the spool."""
        world.record()
        world.exchange()
        world.send()
        world.deliver(world.network.pop())
        world.time_out()
        world.agent.columns = False
        world.record()
        world.settle()

    def test_two_protocols_one_number(self) -> None:
        """A batch that is sent in both protocols has one number in both, and counts once."""
        world = World()
        self.two_protocols_one_number(world)
        self.assertEqual((world.violation(), world.account()), (None, None))
        self.assertEqual((world.client.sender.status()["protocol"], len(world.agent.events)), (1, 2))

    def test_without_two_protocols_one_number(self) -> None:
        """Under another number it would count twice."""
        world = World(TextUnderANewNumber)
        self.two_protocols_one_number(world)
        self.assertEqual(world.violation(), "twice: [1.0]")

    def agent_names_instance(self, world: World) -> None:
        """Batch 0 and batch 1 are answered; the disk is lost; late copies of both arrive at the new one."""
        world.record()
        world.send()
        opening = world.network[-1]
        world.answer(opening, world.deliver(opening))
        world.send()
        first = world.network[-1]
        world.answer(first, world.deliver(first))
        world.agent.lose_disk()
        world.deliver(opening)
        world.deliver(first)
        world.settle()

    def test_agent_names_instance(self) -> None:
        """The client never invents an instance: a late batch 0 opens one that nobody uses."""
        world = World()
        self.agent_names_instance(world)
        self.assertEqual((world.violation(), world.account()), (None, None))

    def test_without_agent_names_instance(self) -> None:
        """If it did, the late batch 0 would open the old one again, and the late batch 1 would count again."""
        world = World(NamesItsInstance, AgentOfNamedInstances())
        self.agent_names_instance(world)
        self.assertEqual(world.violation(), "twice: [1.0]")

    def fork_starts_empty(self, world: World) -> None:
        """The process forks while a batch of its is on its way."""
        world.record()
        world.exchange()
        world.send()
        child = world.fork()
        world.record(1, child)
        world.settle()

    def test_fork_starts_empty(self) -> None:
        """A forked child has an instance of its own and nothing of its parent's."""
        world = World()
        self.fork_starts_empty(world)
        self.assertEqual((world.violation(), world.account()), (None, None))
        self.assertEqual(len({body.split("/")[0] for body in world.agent.numbers}), 2)

    def test_without_fork_starts_empty(self) -> None:
        """If it kept them, parent and child would give one number to different events."""
        world = World(ForkKeepsAll)
        self.fork_starts_empty(world)
        world.record(1)
        world.settle()
        self.assertIn("acknowledged and missing", str(world.violation()))

    def refused_late(self, world: World) -> None:
        """The batch is counted and its answer lost; the agent starts again with a lower limit and refuses it."""
        world.record()
        world.exchange()
        world.send()
        world.deliver(world.network.pop())
        world.time_out()
        world.send()
        world.answer(world.network.pop(), Answer(413, {}, "too large"))

    def test_refused_late(self) -> None:
        """What is counted as refused is not counted by the agent."""
        world = World()
        self.refused_late(world)
        self.assertEqual([world.client.sender.status()[name] for name in ("refused", "unknown")], [0, 1])

    def test_without_refused_late(self) -> None:
        """Without the rule it may be."""
        world = World(RefusedIsRefused)
        self.refused_late(world)
        self.assertEqual((world.client.sender.status()["refused"], len(world.agent.events)), (1, 1))

    def idle(self, world: World) -> None:
        """The client is idle until the agent has forgotten its instance."""
        world.record()
        world.exchange()
        world.exchange()
        world.now += 2.1 * INSTANCE_IDLE
        world.agent.lose_disk()
        world.record()
        world.settle()

    def test_idle(self) -> None:
        """A client that was idle for days loses nothing."""
        world = World()
        self.idle(world)
        self.assertEqual((len(world.agent.events), world.client.sender.status()["unknown"]), (2, 0))

    def test_without_idle(self) -> None:
        """Without the rule it would send a batch that nobody knows what became of."""
        world = World(StaysIdle)
        self.idle(world)
        self.assertEqual((len(world.agent.events), world.client.sender.status()["unknown"]), (1, 1))


class Faults(RuleBasedStateMachine):
    """Every schedule of the verbs below."""

    sender_class: type[Sender] = Sender

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.sender_class)

    def chosen(self, number: int) -> ClientProcess:
        return self.world.clients[number % len(self.world.clients)]

    @rule(number=st.integers(0, 2), count=st.integers(1, 40))
    def record(self, number: int, count: int) -> None:
        self.world.record(count, self.chosen(number))

    @rule()
    def record_very_much(self) -> None:
        self.world.record(500)

    @rule(number=st.integers(0, 2))
    def send(self, number: int) -> None:
        client = self.chosen(number)
        if client.post is None:
            self.world.send(client)

    @rule(number=st.integers(0, 2))
    def exchange(self, number: int) -> None:
        client = self.chosen(number)
        self.world.exchange(client)
        client.post = None

    @rule(number=st.integers(0, 2))
    def time_out(self, number: int) -> None:
        client = self.chosen(number)
        self.world.time_out(client)
        client.post = None

    @rule(number=st.integers(0, 9), again=st.booleans(), answered=st.sampled_from([True, True, False]))
    def deliver(self, number: int, again: bool, answered: bool) -> None:
        """A request arrives, and perhaps once more later; its answer arrives or is lost."""
        if self.world.network:
            number %= len(self.world.network)
            entry = self.world.network[number] if again else self.world.network.pop(number)
            answer = self.world.deliver(entry)
            if answered:
                self.world.answer(entry, answer)
                if entry[0].post is entry[1]:
                    entry[0].post = None

    @rule(number=st.integers(0, 9), status=st.sampled_from([400, 404, 413, 500, 502, 503]))
    def turn_away(self, number: int, status: int) -> None:
        """The agent, or something before it, does not take a request."""
        if self.world.network:
            entry = self.world.network.pop(number % len(self.world.network))
            self.world.answer(entry, Answer(status, {}, ""))
            if entry[0].post is entry[1]:
                entry[0].post = None

    @rule(number=st.integers(0, 2), after=st.sampled_from(["the same", "an empty disk", "an older one", "a newer one"]))
    def lose_answer(self, number: int, after: str) -> None:
        """The agent takes a batch and crashes before it answers; what comes after it has the spool, or has lost it."""
        client = self.chosen(number)
        if self.world.send(client) is not None:
            self.world.deliver(self.world.network.pop())
            self.world.time_out(client)
        client.post = None
        if after == "an empty disk":
            self.world.agent.lose_disk()
        elif after != "the same":
            self.world.agent.columns = after == "a newer one"

    @rule()
    def lose_disk(self) -> None:
        self.world.agent.lose_disk()

    @rule()
    def fork(self) -> None:
        if len(self.world.clients) < 3:
            self.world.fork()

    @rule(days=st.sampled_from([0.1, 0.6, 1.1]))
    def sleep(self, days: float) -> None:
        self.world.now += days * 86_400

    @invariant()
    def law(self) -> None:
        assert self.world.violation() is None, self.world.violation()

    @invariant()
    def bounded(self) -> None:
        for client in self.world.clients:
            # A batch takes more room as text, for an older agent.
            assert client.sender.status()["buffered_bytes"] < ROOM + 3000 + 5 * 16 * 2000

    def teardown(self) -> None:
        """All heals: late requests arrive, and the clients send what they have."""
        for client in self.world.clients:
            self.world.time_out(client)
        self.world.settle()
        for entry in self.world.network:
            self.world.deliver(entry)
        self.law()
        assert self.world.account() is None, self.world.account()


class ScheduleTests(SynchronousTestCase):
    """Schedules that Hypothesis draws."""

    def test_every_schedule(self) -> None:
        """Whatever gets lost, late, doubled, refused or forked: each event is counted once, or accounted for."""
        run_state_machine_as_test(Faults, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))

    def test_finds_what_is_wrong(self) -> None:
        """The search is good enough to find Senders without one of the rules."""
        for wrong in (SentIsSentAgain, NumberForMoreEvents, TextUnderANewNumber, ForkKeepsAll):

            class FaultyFaults(Faults):
                sender_class = wrong

            search = settings(
                max_examples=500, stateful_step_count=40, deadline=None, derandomize=True, phases=[Phase.generate]
            )
            with self.assertRaises(AssertionError):
                run_state_machine_as_test(FaultyFaults, settings=search)
