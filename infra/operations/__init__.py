"""The operator's tools: what became of an event, of dead letters, of all events; replay."""
