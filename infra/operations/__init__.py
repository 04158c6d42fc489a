"""The operator's tools: what became of an event, of dead letters, of all events; and does a
service's state follow from the log.

They read the services' databases and the event log directly, so that they answer while services are
down (decision 0015).
"""
