"""The event contracts as files: JSON Schemas, their compatibility, the examples, and the picture of
the flow.
"""
