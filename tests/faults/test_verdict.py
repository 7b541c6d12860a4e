"""What is read from the times must be able to tell a slow recovery from a quick one."""

import unittest

from verdict import Times, recoveries


def times(waits):
    """An order a second, each with this wait for its first mail; None: never mailed."""
    acknowledged = [{"orderid": number, "at": number * 1000} for number in range(len(waits))]
    mails = [{"id": n, "at": n * 1000 + wait} for n, wait in enumerate(waits) if wait is not None]
    return Times(mails, acknowledged)


class Recovery(unittest.TestCase):
    def test_nothing_was_slow(self):
        self.assertEqual(times([50] * 10).recovery(3_000, 9_000), 0)

    def test_it_ends_with_the_last_slow_order(self):
        self.assertEqual(times([50, 50, 50, 5_000, 4_000, 2_001, 2_000, 50]).recovery(3_000, 8_000), 2)

    def test_slow_orders_before_and_afterwards_are_not_its_own(self):
        self.assertEqual(times([9_000, 50, 50, 50, 9_000]).recovery(1_000, 4_000), 0)

    def test_an_order_that_is_never_mailed_is_slow(self):
        self.assertEqual(times([50, 50, 50, None, 50]).recovery(1_000, 9_000), 2)

    def test_it_has_not_ended_while_the_last_order_is_slow(self):
        self.assertEqual(times([50, 50, 5_000, 4_000, 50]).recovery(1_000, 4_000), float("inf"))

    def test_no_order_at_all_is_no_recovery(self):
        self.assertEqual(times([50]).recovery(5_000, 9_000), float("inf"))

    def test_the_worst_of_each_kind_counts(self):
        strikes = [("mail", 900, 1_000), ("kafka", 4_500, 5_000), ("mail", 9_500, 10_000)]
        worst = recoveries(times([50, 50, 50, 50, 50, 50, 3_000, 50, 50, 50, 50, 3_000, 50]), strikes)
        self.assertEqual(worst, {"mail": 1, "kafka": 1})

    def test_an_order_that_waits_for_the_next_strike_does_not_count(self):
        strikes = [("mail", 900, 1_000), ("mail", 5_500, 6_000)]
        self.assertEqual(recoveries(times([50, 50, 50, 50, 3_000, 3_000, 50, 50]), strikes), {"mail": 0})


class Waits(unittest.TestCase):
    def test_the_longest_wait_and_gap(self):
        some = Times([{"id": 1, "at": 700}, {"id": 2, "at": 9_100}], [{"orderid": 1, "at": 600}, {"orderid": 2, "at": 9_000}])
        self.assertEqual((some.worst_wait(), some.worst_gap()), (0.1, 8.4))


if __name__ == "__main__":
    unittest.main()
