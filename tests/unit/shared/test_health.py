"""A consumer that stands still with events left to read is stuck; one that waits for events is
not.
"""

from aiokafka import TopicPartition

from shared.events.health import STUCK_SECONDS, Progress

HERE = TopicPartition("dataset-built", 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_who_stands_still_before_the_end_is_stuck() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.saw(HERE, position=5, end=9)
    clock.now = STUCK_SECONDS + 1
    assert "dataset-built/0 stands at 5" in progress.stuck()
    progress.saw(HERE, position=6, end=9)
    assert progress.stuck() is None, "it moved: the wait begins again"
    clock.now *= 2
    progress.saw(HERE, position=9, end=9)
    assert progress.stuck() is None, "nothing is left to read"


def test_a_partition_that_another_replica_reads_does_not_count() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.saw(HERE, position=5, end=9)
    progress.keep([])
    clock.now = STUCK_SECONDS + 1
    assert progress.stuck() is None


def test_who_never_gets_into_its_group_is_stuck() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.joins(["trainer.dataset-built", "trainer.route-changed"])
    clock.now = STUCK_SECONDS - 1
    progress.joins(["trainer.dataset-built"])
    clock.now = STUCK_SECONDS + 1
    assert "has not got into group trainer.dataset-built" in progress.stuck()
    progress.joins([])
    assert progress.stuck() is None
