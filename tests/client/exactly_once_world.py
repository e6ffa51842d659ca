"""Clients, one agent and what is under way between them, with the law that they keep: see `test_exactly_once`."""

from __future__ import annotations

import copy
from collections import Counter

from taba.client.recorder import Recorder
from taba.client.sender import Answer, Post, Sender
from tests.client.model_agent import ModelAgent, read

ROOM = 20_000


class ClientProcess:
    """A process that records, with its Sender."""

    def __init__(self, sender_class: type[Sender]) -> None:
        self.recorder = Recorder(lambda: 1.7e9, ROOM)
        self.sender = sender_class(self.recorder, "client", jitter=lambda: 0.5, max_batch_events=30)
        self.sender.open(lambda: None)
        self.post: Post | None = None
        self.recorded = 0

    def fork(self, sender_class: type[Sender]) -> ClientProcess:
        """A child: the memory of the parent, and then what the library does after a fork."""
        child = ClientProcess(sender_class)
        memory = {name: copy.copy(value) for name, value in vars(self.sender).items() if name != "_recorder"}
        vars(child.sender).update(memory)
        child.sender.restart()
        child.sender.open(lambda: None)
        return child


class World:
    """Clients, one agent, the requests under way, and what was acknowledged."""

    def __init__(self, sender_class: type[Sender] = Sender, agent: ModelAgent | None = None) -> None:
        self.sender_class = sender_class
        self.agent = agent or ModelAgent()
        self.clients = [ClientProcess(sender_class)]
        self.network: list[tuple[ClientProcess, Post]] = []
        self.acknowledged: set[object] = set()
        self.last = 0
        self.now = 0.0

    @property
    def client(self) -> ClientProcess:
        return self.clients[0]

    def record(self, count: int = 1, client: ClientProcess | None = None) -> None:
        """Record events that can be told from each other."""
        client = client or self.client
        for _ in range(count):
            self.last += 1
            client.recorder.counter(f"tab{self.last % 3}", self.last)
            client.recorded += 1

    def fork(self) -> ClientProcess:
        self.clients.append(self.client.fork(self.sender_class))
        return self.clients[-1]

    def send(self, client: ClientProcess | None = None) -> Post | None:
        """Let a client do what it does next, time passing until it does; None if it only waits for the next flush."""
        client = client or self.client
        for turn in range(100):
            action = client.sender.next_action(self.now)
            if isinstance(action, Post):
                client.post = action
                self.network.append((client, action))
                return action
            if turn > 2 and not client.sender.status()["buffered_events"]:
                break
            self.now += action.seconds
        return None

    def deliver(self, entry: tuple[ClientProcess, Post]) -> Answer:
        """Let the agent have a request; its answer is on its way."""
        return self.agent.take(entry[1])

    def answer(self, entry: tuple[ClientProcess, Post], answer: Answer) -> None:
        """Let the client have an answer."""
        client, post = entry
        if answer.status == 200 and client.post is post:
            self.acknowledged.update(read(post).payloads)
        client.sender.answered(post, answer, self.now)

    def exchange(self, client: ClientProcess | None = None) -> Post | None:
        """A request and its answer, with nothing in between."""
        post = self.send(client)
        if post is not None:
            entry = self.network.pop()
            self.answer(entry, self.deliver(entry))
        return post

    def time_out(self, client: ClientProcess | None = None) -> None:
        client = client or self.client
        if client.post is not None:
            client.sender.failed(client.post, "timed out", self.now)

    def settle(self) -> None:
        """The faults end, and everybody sends what there is."""
        for client in self.clients:
            for _ in range(200):
                if self.exchange(client) is None:
                    break

    def violation(self) -> str | None:
        """The law: no event is counted twice, and none that was acknowledged is missing."""
        counted = Counter(event.payload for event in self.agent.events)
        twice = [value for value, times in counted.items() if times > 1]
        missing = sorted(self.acknowledged - set(counted), key=repr)
        return f"twice: {twice}" if twice else f"acknowledged and missing: {missing}" if missing else None

    def account(self) -> str | None:
        """Once all is settled: each recorded event is acknowledged, or under the reason why not."""
        for client in self.clients:
            status = client.sender.status()
            known = sum(status[name] for name in ("acknowledged", "refused", "unknown", "full"))
            if known != client.recorded or status["buffered_events"]:
                return f"recorded {client.recorded}, accounted for {known}: {status}"
        lost = self.last - len({event.payload for event in self.agent.events})
        why = sum(c.sender.status()[name] for c in self.clients for name in ("refused", "unknown", "full"))
        return f"{lost} are not counted, {why} are said to be" if lost > why else None
