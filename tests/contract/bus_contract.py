"""What every Bus adapter must show. A suite derives from `BusContract` and says how its bus is opened.

`bus_machine` makes the same promise against an obvious model, for whatever order of calls hypothesis thinks of.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from gim.ports.bus import Bus, Message, Subscription
from tests.contract.processes import program_until_ready, run_program

OpenBus = Callable[[], Bus]
PATIENT_SECONDS = 90.0  # for what must come


def publish(bus: Bus, *keys_and_values: str, topic: str = "t") -> None:
    """Publish and flush "key:value" words."""
    for word in keys_and_values:
        key, _, value = word.partition(":")
        bus.publish(topic, key, value.encode())
    bus.flush()


def take(subscription: Subscription) -> Message:
    message = subscription.poll(PATIENT_SECONDS)
    assert message is not None, "nothing came"
    return message


def word_of(message: Message) -> str:
    return f"{message.key}:{message.value.decode()}"


def take_all(subscription: Subscription) -> list[str]:
    """Acknowledge everything until nothing is left; "key:value" words in the order of delivery."""
    words = []
    while subscription.lag():
        message = take(subscription)
        words.append(word_of(message))
        subscription.ack(message)
    return words


class BusContract:
    """Derive, and define the fixtures `open_bus` (every call a new handle on the same bus) and `bus_program` (Python
    source that binds `bus` to one more handle). The topics t, u, v and their dead letters are there and empty."""

    brief_seconds = 0.3  # for what must not come: longer than it would take to come

    @pytest.fixture
    def open_bus(self) -> Iterator[OpenBus]:
        raise NotImplementedError

    @pytest.fixture
    def bus_program(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def bus(self, open_bus: OpenBus) -> Bus:
        return open_bus()

    def test_message_arrives_with_key_bytes_headers_and_offset(self, bus: Bus, open_bus: OpenBus) -> None:
        bus.publish("t", "clé/1", b"\0\xff", {"gim-type": "x", "note": "naïve"})
        bus.publish("t", "clé/1", b"")
        bus.flush()
        subscription = open_bus().subscribe(["t"], "g")
        first = take(subscription)
        assert (first.topic, first.key, first.value) == ("t", "clé/1", b"\0\xff")
        assert dict(first.headers) == {"gim-type": "x", "note": "naïve"}
        subscription.ack(first)
        second = take(subscription)
        assert (second.value, dict(second.headers)) == (b"", {})
        assert second.offset > first.offset

    def test_order_is_kept_per_key(self, bus: Bus) -> None:
        words = [f"{key}:{number}" for number in range(20) for key in "abc"]
        publish(bus, *words)
        received = take_all(bus.subscribe(["t"], "g"))
        for key in "abc":
            assert [word for word in received if word[0] == key] == [f"{key}:{number}" for number in range(20)]

    def test_near_is_a_wish_and_no_condition(self, bus: Bus) -> None:
        words = ["ab/1:1", "b/1:2", "a/1:3", "b/1:4", "a/2:5"]
        publish(bus, *words)
        subscription = bus.subscribe(["t", "u"], "g")
        received = []
        while subscription.lag():
            message = subscription.poll(PATIENT_SECONDS, near="a/")
            assert message is not None
            received.append(f"{message.key}:{message.value.decode()}")
            subscription.ack(message)
        assert sorted(received) == sorted(words)
        assert received.index("b/1:2") < received.index("b/1:4")

    def test_groups_are_independent_and_start_at_the_earliest_message(self, bus: Bus, open_bus: OpenBus) -> None:
        first = bus.subscribe(["t"], "g1")
        publish(bus, "a:1", "b:2")
        assert sorted(take_all(first)) == ["a:1", "b:2"]
        second = open_bus().subscribe(["t"], "g2")
        publish(bus, "a:3")
        assert sorted(take_all(second)) == ["a:1", "a:3", "b:2"]
        assert take_all(first) == ["a:3"]

    def test_subscription_takes_its_topics_only(self, bus: Bus) -> None:
        subscription = bus.subscribe(["t", "u"], "g")
        for topic in "tuv":
            publish(bus, f"k:{topic}", topic=topic)
        assert subscription.lag() == 2
        assert sorted(take_all(subscription)) == ["k:t", "k:u"]

    def test_published_before_a_crash_is_there_after_flush(self, bus: Bus, bus_program: str) -> None:
        program = f"{bus_program}\nbus.publish('t', 'k', b'kept')\nbus.flush()\nprint('ready', flush=True)\ninput()"
        with program_until_ready(program):
            pass
        assert take(bus.subscribe(["t"], "g")).value == b"kept"

    def test_published_by_another_process_arrives(self, bus: Bus, bus_program: str) -> None:
        subscription = bus.subscribe(["t"], "g")
        run_program(f"{bus_program}\nbus.publish('t', 'k', b'hello')\nbus.close()")
        assert take(subscription).value == b"hello"

    def test_close_flushes(self, open_bus: OpenBus) -> None:
        closing = open_bus()
        closing.publish("t", "k", b"1")
        closing.close()
        assert take_all(open_bus().subscribe(["t"], "g")) == ["k:1"]

    def test_acknowledged_does_not_come_back(self, open_bus: OpenBus) -> None:
        bus = open_bus()
        publish(bus, "a:1", "b:2")
        subscription = bus.subscribe(["t"], "g")
        subscription.ack(take(subscription))
        bus.close()
        assert len(take_all(open_bus().subscribe(["t"], "g"))) == 1

    def test_unacknowledged_comes_back_in_order_after_close(self, bus: Bus, open_bus: OpenBus) -> None:
        publish(bus, "a:1", "a:2")
        subscription = open_bus().subscribe(["t"], "g")
        assert take(subscription).attempt == 1
        subscription.close()
        other = bus.subscribe(["t"], "g")
        again = take(other)
        assert (again.value, again.attempt) == (b"1", 2)
        other.ack(again)
        assert take(other).value == b"2"

    def test_unacknowledged_and_its_attempts_survive_the_processes_that_it_kills(
        self, bus: Bus, bus_program: str
    ) -> None:
        publish(bus, "a:1", "a:2")
        take_and_wait = "m = bus.subscribe(['t'], 'g').poll(90)\nprint(m.value, m.attempt, flush=True)\ninput()"
        with program_until_ready(f"{bus_program}\n{take_and_wait}"):
            subscription = bus.subscribe(["t"], "g")
            assert subscription.poll(self.brief_seconds) is None
        subscription.close()
        with program_until_ready(f"{bus_program}\n{take_and_wait}") as second:
            second.kill()
        subscription = bus.subscribe(["t"], "g")
        message = take(subscription)
        assert (message.value, message.attempt) == (b"1", 3)
        subscription.ack(message)
        message = take(subscription)
        assert (message.value, message.attempt) == (b"2", 1)

    def test_one_consumer_holds_a_key_at_a_time(self, bus: Bus, open_bus: OpenBus) -> None:
        publish(bus, "a:1", "a:2")
        first, second = bus.subscribe(["t"], "g"), open_bus().subscribe(["t"], "g")
        in_hand = take(first)
        assert second.poll(self.brief_seconds) is None
        first.ack(in_hand)
        first.close()
        assert take(second).value == b"2"

    def test_ack_takes_the_message_in_hand_and_no_other(self, bus: Bus) -> None:
        publish(bus, "a:1", "a:2")
        subscription = bus.subscribe(["t"], "g")
        first = take(subscription)
        with pytest.raises(ValueError, match="in hand"):
            subscription.poll(0.0)
        subscription.ack(first)
        for refused in (lambda: subscription.ack(first), lambda: subscription.dead_letter(first, {})):
            with pytest.raises(ValueError, match="not in hand"):
                refused()
        assert take(subscription).value == b"2"

    def test_empty_poll_returns_within_its_timeout_and_costs_no_processor_time(self, bus: Bus) -> None:
        subscription = bus.subscribe(["t"], "g")
        assert subscription.poll(0.0) is None
        assert subscription.poll(self.brief_seconds) is None
        started, busy = time.monotonic(), time.process_time()
        assert subscription.poll(1.0) is None
        waited = time.monotonic() - started
        assert 0.9 < waited < 5.0
        assert time.process_time() - busy < 0.3 * waited

    def test_waiting_poll_wakes_for_a_message(self, bus: Bus, open_bus: OpenBus) -> None:
        subscription = bus.subscribe(["t"], "g")
        publisher = open_bus()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(subscription.poll, 30.0)
            time.sleep(0.2)
            started = time.monotonic()
            publish(publisher, "k:1")
            message = waiting.result()
        assert message is not None
        assert time.monotonic() - started < 10.0

    def test_dead_letter_keeps_bytes_headers_and_order_and_the_rest_flows_on(self, bus: Bus) -> None:
        for number in range(4):
            bus.publish("t", "k", bytes([number]), {"gim-type": "x", "error": "none"})
        bus.flush()
        subscription = bus.subscribe(["t"], "g")
        for number in range(4):
            message = take(subscription)
            if number in (1, 2):
                subscription.dead_letter(message, {"error": "Poison", "stack": "line 1\nline 2"})
            else:
                subscription.ack(message)
        assert subscription.lag() == 0
        morgue = bus.subscribe(["t.dead"], "person")
        for number in (1, 2):
            letter = take(morgue)
            assert (letter.topic, letter.key, letter.value) == ("t.dead", "k", bytes([number]))
            assert dict(letter.headers) == {"gim-type": "x", "error": "Poison", "stack": "line 1\nline 2"}
            morgue.ack(letter)

    def test_dead_letter_can_name_the_message_it_was(self, bus: Bus) -> None:
        publish(bus, "a:1", "b:2", "a:3", "c:4")
        subscription = bus.subscribe(["t"], "g")
        while subscription.lag():
            message = take(subscription)
            source = {"source-partition": str(message.partition), "source-offset": str(message.offset)}
            subscription.dead_letter(message, source)
        held = {(str(message.partition), str(message.offset)): message.value for message in bus.read("t")}
        letters = list(bus.read("t.dead"))
        assert len(held) == len(letters) == 4
        for letter in letters:
            assert held[letter.headers["source-partition"], letter.headers["source-offset"]] == letter.value

    def test_read_gives_all_there_is_by_now_in_order_and_disturbs_nobody(self, bus: Bus, open_bus: OpenBus) -> None:
        assert list(bus.read("t")) == []
        words = [f"{key}:{number}" for number in range(10) for key in "abc"]
        publish(bus, *words)
        publish(bus, "d:0", topic="u")
        subscription = bus.subscribe(["t"], "g")
        in_hand = take(subscription)
        reading = open_bus().read("t")
        publish(bus, "a:late")
        received = list(reading)
        assert sorted(map(word_of, received)) == sorted(words)
        for key in "abc":
            assert [message.value for message in received if message.key == key] == [b"%d" % n for n in range(10)]
        assert in_hand in [message for message in received if message.attempt == 1]
        assert subscription.lag() == len(words) + 1
        subscription.ack(in_hand)

    def test_read_for_a_group_gives_what_it_has_not_acknowledged(self, bus: Bus, open_bus: OpenBus) -> None:
        words = [f"{key}:{number}" for number in range(4) for key in "abc"]
        publish(bus, *words)
        assert sorted(word_of(message) for message in bus.read("t", "g")) == sorted(words)
        subscription = open_bus().subscribe(["t"], "g")
        done = []
        for _ in range(7):
            message = take(subscription)
            subscription.ack(message)
            done.append(word_of(message))
        in_hand = take(subscription)
        left = list(bus.read("t", "g"))
        assert sorted(done + [word_of(message) for message in left]) == sorted(words)
        assert word_of(in_hand) in [word_of(message) for message in left]
        assert len(left) == bus.lag("t", "g")
        for key in "abc":
            ours = [message.value for message in left if message.key == key]
            assert ours == sorted(ours)
        assert len(list(bus.read("t", "another"))) == len(words)
        subscription.ack(in_hand)

    def test_reading_may_end_early(self, open_bus: OpenBus) -> None:
        bus = open_bus()
        publish(bus, "a:1", "a:2", "a:3")
        reading = bus.read("t")
        assert next(reading).value == b"1"
        bus.close()

    def test_lag_of_a_group_is_told_to_anybody(self, bus: Bus, open_bus: OpenBus) -> None:
        assert bus.lag("t", "g") == 0
        publish(bus, "a:1", "b:2", "c:3")
        publish(bus, "a:4", topic="u")
        assert bus.lag("t", "g") == 3
        subscription = open_bus().subscribe(["t", "u"], "g")
        while bus.lag("t", "g") > 1:
            subscription.ack(take(subscription))
        assert bus.lag("t", "g") + bus.lag("u", "g") == subscription.lag()
        in_hand = take(subscription)
        assert bus.lag("t", "g") + bus.lag("u", "g") == subscription.lag()
        subscription.ack(in_hand)
        left = subscription.lag()
        subscription.close()
        assert bus.lag("t", "g") + bus.lag("u", "g") == left
        assert bus.lag("t", "another") == 3

    def test_lag_counts_what_is_not_acknowledged(self, bus: Bus) -> None:
        subscription = bus.subscribe(["t"], "g")
        assert subscription.lag() == 0
        publish(bus, "a:1", "b:2", "c:3")
        assert subscription.lag() == 3
        message = take(subscription)
        assert subscription.lag() == 3
        subscription.ack(message)
        assert subscription.lag() == 2

    def test_keep_alive_from_another_thread_leaves_the_message_in_hand(self, bus: Bus) -> None:
        publish(bus, "a:1")
        subscription = bus.subscribe(["t"], "g")
        message = take(subscription)
        thread = threading.Thread(target=subscription.keep_alive)
        thread.start()
        thread.join()
        subscription.ack(message)
        subscription.keep_alive()
        assert subscription.lag() == 0

    def test_threads_publish_at_once_and_nothing_is_lost(self, bus: Bus) -> None:
        def publish_many(thread: int) -> None:
            for number in range(50):
                bus.publish("t", f"k{thread}", str(number).encode())
                if number % 10 == 0:
                    bus.flush()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(publish_many, range(4)))
        bus.flush()
        received = take_all(bus.subscribe(["t"], "g"))
        for thread in range(4):
            assert [word for word in received if word.startswith(f"k{thread}:")] == [
                f"k{thread}:{n}" for n in range(50)
            ]

    def test_consumers_share_the_work_without_overlap(self, bus: Bus, open_bus: OpenBus) -> None:
        publish(bus, *(f"k{number % 7}:{number}" for number in range(140)))
        busy_keys, guard, received = set[str](), threading.Lock(), list[Message]()

        def consume(subscription: Subscription) -> None:
            while subscription.lag():
                message = subscription.poll(0.05)
                if message is None:
                    continue
                with guard:
                    assert message.key not in busy_keys
                    busy_keys.add(message.key)
                    received.append(message)
                with guard:
                    busy_keys.remove(message.key)
                subscription.ack(message)

        subscriptions = [open_bus().subscribe(["t"], "g") for _ in range(3)]
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(consume, subscriptions))
        assert sorted(int(message.value) for message in received) == list(range(140))
        for key in {message.key for message in received}:
            numbers = [int(message.value) for message in received if message.key == key]
            assert numbers == sorted(numbers)


def bus_machine(  # noqa: C901 - a class, in fact
    open_in: Callable[[Path], Bus], *, examples: int = 25, steps: int = 40, poll_seconds: float = 0.0
) -> type[RuleBasedStateMachine]:
    """A machine of two groups with two consumers each that publishes, takes, acknowledges, buries, and reopens.

    The model is a list of unacknowledged values per group and key. A delivered message must be the first of its key,
    and its key in nobody else's hand; in the end all that is left comes, in order.
    """

    consumers = st.sampled_from([("g1", 0), ("g1", 1), ("g2", 0), ("g2", 1)])

    class BusMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = TemporaryDirectory()
            self.buses = [open_in(Path(self.folder.name)) for _ in range(2)]
            self.subscriptions: dict[tuple[str, int], Subscription] = {}
            self.in_hand: dict[tuple[str, int], Message] = {}
            self.unflushed: list[tuple[str, bytes]] = []
            self.left: dict[str, dict[str, list[bytes]]] = {group: defaultdict(list) for group in ("g1", "g2")}
            self.dead: list[bytes] = []
            self.count = 0
            for group in self.left:
                for index in range(2):
                    self.subscribe((group, index))

        def subscribe(self, consumer: tuple[str, int]) -> None:
            self.subscriptions[consumer] = self.buses[consumer[1]].subscribe(["t"], consumer[0])

        @rule(key=st.sampled_from("ab"))
        def publish(self, key: str) -> None:
            self.count += 1
            self.buses[0].publish("t", key, str(self.count).encode())
            self.unflushed.append((key, str(self.count).encode()))

        @rule()
        def flush(self) -> None:
            self.buses[0].flush()
            for key, value in self.unflushed:
                for keys in self.left.values():
                    keys[key].append(value)
            self.unflushed.clear()

        @rule(consumer=consumers)
        def poll(self, consumer: tuple[str, int]) -> None:
            if consumer in self.in_hand:
                return
            message = self.subscriptions[consumer].poll(poll_seconds)
            if message is None:
                return
            held = {other.key for (group, _), other in self.in_hand.items() if group == consumer[0]}
            assert message.key not in held
            assert message.value == self.left[consumer[0]][message.key][0]
            self.in_hand[consumer] = message

        @precondition(lambda self: self.in_hand)
        @rule(data=st.data(), dies=st.booleans())
        def finish(self, data: st.DataObject, dies: bool) -> None:
            consumer = data.draw(st.sampled_from(sorted(self.in_hand)))
            message = self.in_hand.pop(consumer)
            assert self.left[consumer[0]][message.key].pop(0) == message.value
            if dies:
                self.subscriptions[consumer].dead_letter(message, {"group": consumer[0]})
                self.dead.append(message.value)
            else:
                self.subscriptions[consumer].ack(message)

        @rule(consumer=consumers)
        def leave_and_join(self, consumer: tuple[str, int]) -> None:
            self.in_hand.pop(consumer, None)
            self.subscriptions[consumer].close()
            self.subscribe(consumer)

        @rule()
        def reopen_second_bus(self) -> None:
            self.buses[1].close()
            self.buses[1] = open_in(Path(self.folder.name))
            for consumer in [consumer for consumer in self.subscriptions if consumer[1] == 1]:
                self.in_hand.pop(consumer, None)
                self.subscribe(consumer)

        @rule(consumer=consumers)
        def lag(self, consumer: tuple[str, int]) -> None:
            expected = sum(len(values) for values in self.left[consumer[0]].values())
            assert self.subscriptions[consumer].lag() == expected

        @rule(consumer=consumers)
        def read(self, consumer: tuple[str, int]) -> None:
            found = defaultdict(list)
            for message in self.buses[consumer[1]].read("t", consumer[0]):
                found[message.key].append(message.value)
            assert found == {key: values for key, values in self.left[consumer[0]].items() if values}

        def teardown(self) -> None:
            try:
                self.flush()
                for subscription in self.subscriptions.values():
                    subscription.close()
                for group, keys in self.left.items():
                    received = take_all(self.buses[0].subscribe(["t"], group))
                    for key, values in keys.items():
                        assert [word for word in received if word[0] == key] == [f"{key}:{v.decode()}" for v in values]
                morgue = take_all(self.buses[0].subscribe(["t.dead"], "person"))
                assert sorted(word.split(":")[1].encode() for word in morgue) == sorted(self.dead)
            finally:
                for bus in self.buses:
                    bus.close()
                self.folder.cleanup()

    BusMachine.TestCase.settings = settings(max_examples=examples, stateful_step_count=steps)
    return BusMachine
