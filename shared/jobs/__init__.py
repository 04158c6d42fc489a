"""Long work: stored, leased, fenced, done in a child process."""

from shared.jobs.api import jobs_api
from shared.jobs.limits import Limit, TurnOver
from shared.jobs.worker import Job, JobStore, LeaseLost, work

__all__ = [
    "Job",
    "JobStore",
    "LeaseLost",
    "Limit",
    "TurnOver",
    "jobs_api",
    "work",
]
