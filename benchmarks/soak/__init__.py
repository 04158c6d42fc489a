"""How long a write waits while a service of many years tidies up."""
