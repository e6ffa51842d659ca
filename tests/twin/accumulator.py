"""The accumulator: (tab, client, Type) -> Partial, in the order in which they first came."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from tests.twin import counter_group, gauge, percentile_group, unique_group
from tests.twin.batches import Entry, Section, divide
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PERCENTILE_GROUP, UNIQUE_GROUP
from tests.twin.protocol1 import Event
from tests.twin.states import AnyPartial


@define
class Accumulator:
    """The Partials of one commit."""

    partials: dict[tuple[str, str, str], AnyPartial] = Factory(dict)

    def merge(self, events: Iterable[Event], stamp: int) -> int:
        """Add events; those that are no numbers get the stamps from `stamp` on. Returns the first stamp not used."""
        for event in events:
            key = event.tab, event.client, event.type_name
            if isinstance(event.value, bytes):
                self._add_entry(key, event.kind, gauge.GaugeEntry(event.time, stamp, event.value))
                stamp += 1
            elif event.kind == UNIQUE_GROUP:
                self._add_hash(key, event.time, int(event.value))
            else:
                self._add_number(key, event.kind, event.time, event.value)
        return stamp

    def events(self) -> int:
        """How many events are held."""
        return sum(partial.events() for partial in self.partials.values())

    def encode(self, num_vbuckets: int) -> list[Section]:
        """One section per vbucket that has Partials; all in vbucket 0 when there are no vbuckets yet."""
        entries = [Entry(*key, partial.events(), partial.encode()) for key, partial in self.partials.items()]
        return divide(entries, num_vbuckets)

    def _add_entry(self, key: tuple[str, str, str], kind: int, entry: gauge.GaugeEntry) -> None:
        partial = self.partials.get(key)
        if isinstance(partial, gauge.Partial):
            partial.add(entry)
        elif isinstance(partial, gauge.RawPartial):
            partial.entries.append(entry)
        else:
            self.partials[key] = gauge.Partial(1, entry) if kind == GAUGE else gauge.RawPartial([entry])

    def _add_hash(self, key: tuple[str, str, str], time: float, value_hash: int) -> None:
        partial = self.partials.setdefault(key, unique_group.Partial())
        assert isinstance(partial, unique_group.Partial)
        partial.add(time, value_hash)

    def _add_number(self, key: tuple[str, str, str], kind: int, time: float, value: float) -> None:
        partial = self.partials.get(key)
        if partial is None:
            assert kind in (COUNTER_GROUP, PERCENTILE_GROUP)
            partial = counter_group.Partial() if kind == COUNTER_GROUP else percentile_group.Partial()
            self.partials[key] = partial
        assert isinstance(partial, counter_group.Partial | percentile_group.Partial)
        partial.add(time, value)
