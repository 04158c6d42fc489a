"""Apache Kafka on this machine: installs it, checks it, and says how to run one node of it.

Other code asks here where it is and how it is started.
"""

from infra.kafka.install import SIZE_WORDS, Progress, install
from infra.kafka.java import JavaMissing
from infra.kafka.node import format_command, is_formatted, write_properties
from infra.kafka.places import Kafka, KafkaUnusable, at_home, installed

__all__ = [
    "SIZE_WORDS",
    "JavaMissing",
    "Kafka",
    "KafkaUnusable",
    "Progress",
    "at_home",
    "format_command",
    "install",
    "installed",
    "is_formatted",
    "write_properties",
]
