"""The items of asynchronous jobs: the job itself, and what its workers have done, one item for each batch.

Workers never add to a counter: a batch that is delivered twice writes the same item again, and counts once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bulkhead.store import keys
from bulkhead.store.table import ConditionFailed, Item, Table

STARTING, RUNNING = "starting", "running"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
UNFINISHED = (STARTING, RUNNING)

_RESULT = "r#"
_LEFT_NAMED = 100


@dataclass(frozen=True, slots=True)
class Job:
    """One `$set-accounts` that propagates in the background.

    `created` and `expires` are seconds since 1970, `begun` is when the target stood as asked (0: not yet). `total` counts the
    members that the first pass listed (None: not yet). `error` is an OperationOutcome and `status` its HTTP status, of a failed job.
    """

    id: str
    owner: str
    target: str
    accounts: tuple[str, ...]
    created: float
    expires: int
    state: str = STARTING
    begun: float = 0
    total: int | None = None
    updated: int = 0
    status: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one batch of one pass came to: members that stand as asked, and how many (with some of their names) do not."""

    turn: int
    standing: int
    left: int
    names: tuple[str, ...]


def create(table: Table, job: Job) -> bool:
    """Put a new job. False where there is one with its id that has not expired."""
    item: Item = {
        "pk": {"S": keys.job_key(job.id)},
        "sk": {"S": keys.HEAD},
        "owner": {"S": job.owner},
        "target": {"S": job.target},
        "accounts": {"L": [{"S": account} for account in job.accounts]},
        "created": {"N": str(job.created)},
        "state": {"S": job.state},
        keys.TTL: {"N": str(job.expires)},
    }
    try:
        table.put(item, "attribute_not_exists(#pk) OR #ttl <= :now", {":now": {"N": str(int(time.time()))}})
    except ConditionFailed:
        return False
    return True


def read(table: Table, job: str) -> Job | None:
    """None where there is no such job, or it has expired (DynamoDB takes its time to remove it)."""
    item = table.get((keys.job_key(job), keys.HEAD))
    if item is None or int(item[keys.TTL]["N"]) <= time.time():
        return None
    return Job(
        id=job,
        owner=item["owner"]["S"],
        target=item["target"]["S"],
        accounts=tuple(account["S"] for account in item["accounts"]["L"]),
        created=float(item["created"]["N"]),
        expires=int(item[keys.TTL]["N"]),
        state=item["state"]["S"],
        begun=float(item["begun"]["N"]) if "begun" in item else 0,
        total=int(item["total"]["N"]) if "total" in item else None,
        updated=int(item["updated"]["N"]) if "updated" in item else 0,
        status=int(item["status"]["N"]) if "status" in item else 0,
        error=item["error"]["S"] if "error" in item else "",
    )


def change(table: Table, job: str, allowed: Iterable[str], **values: str | int | float) -> bool:
    """Set attributes of a job that is in one of the `allowed` states. False, and nothing changed, where it is not."""
    states = {f":state{n}": {"S": state} for n, state in enumerate(allowed)}
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
    attributes: Item = {
        f":{name}": {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()
    }
    action = table.update_action(
        (keys.job_key(job), keys.HEAD), expression, attributes | states, f"#state IN ({', '.join(states)})"
    )
    try:
        table.write([action])
    except ConditionFailed:
        return False
    return True


def remove(table: Table, job: str) -> None:
    """Forget a job that never started."""
    table.write([table.delete_action((keys.job_key(job), keys.HEAD))])


def record(table: Table, job: Job, turn: int, batch: int, standing: int, left: Sequence[str] = ()) -> None:
    """Write what a batch came to. `left` are members that could not be made to stand as asked; the first hundred are named."""
    item: Item = {
        "pk": {"S": keys.job_key(job.id)},
        "sk": {"S": keys.result_sort(turn, batch)},
        "turn": {"N": str(turn)},
        "standing": {"N": str(standing)},
        keys.TTL: {"N": str(job.expires)},
    }
    if left:
        item["left"] = {"N": str(len(left))}
        item["names"] = {"L": [{"S": name} for name in left[:_LEFT_NAMED]]}
    table.put(item)


def results(table: Table, job: str) -> list[Result]:
    """What all batches came to so far, by pass."""
    return [
        Result(
            turn=int(item["turn"]["N"]),
            standing=int(item["standing"]["N"]),
            left=int(item["left"]["N"]) if "left" in item else 0,
            names=tuple(name["S"] for name in item["names"]["L"]) if "names" in item else (),
        )
        for item in table.query(keys.job_key(job), _RESULT, _RESULT)
    ]
