"""What older releases stored with the rules of their day, gone over again with those of today."""

from infra.operations.redaction.contents import Contents
from infra.operations.redaction.datasets import Stale, stale_datasets
from infra.operations.redaction.files import StaleFile, stale_files
from infra.operations.redaction.places import Place
from infra.operations.redaction.run import Found, NotUpgraded, Run
from infra.operations.redaction.sweep import sweep

__all__ = [
    "Contents",
    "Found",
    "NotUpgraded",
    "Place",
    "Run",
    "Stale",
    "StaleFile",
    "stale_datasets",
    "stale_files",
    "sweep",
]
