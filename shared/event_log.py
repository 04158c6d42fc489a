"""Which event log runs, in one word, and how much one that keeps all in memory may hold."""

# What `ratchet up` says as KAFKA_KIND of the log that it brings along.
EMBEDDED = "embedded"
# It takes 300 MB of memory at 100,000 events of 1 kB and writes all of it every two seconds; at
# 300,000 it took 1 GB, and `kill -9` lost half of them until the outboxes sent them again.
MOST_EMBEDDED = 100_000


def too_full(events: int) -> str | None:
    """Say what to do where the embedded log holds more than it should; None while it does not."""
    if events <= MOST_EMBEDDED:
        return None
    return (
        f"the embedded event log holds {events:,} events, all in memory, and is made for"
        f" {MOST_EMBEDDED:,}: stop, run 'ratchet kafka install' and start again with 'ratchet up'"
        " (the outboxes fill the new log)"
    )
