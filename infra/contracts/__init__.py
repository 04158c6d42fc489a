"""The event contracts as files: JSON Schemas, their compatibility, and the picture of the flow."""
