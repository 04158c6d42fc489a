"""The event log: inbox, outbox and relay on one side, consumers on the other."""
