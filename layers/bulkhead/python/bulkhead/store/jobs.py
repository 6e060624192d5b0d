"""The items of asynchronous jobs: the job itself, and the results of its workers, one item per batch.

Workers never add to a counter: a batch that is delivered twice writes the same item again, and counts once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from bulkhead.store import keys
from bulkhead.store.table import ConditionFailed, Item, Table

STARTING, RUNNING = "starting", "running"
# The state of a bundle whose writes are committed and whose reads are being answered: it can neither fail nor be cancelled.
COMMITTED = "committed"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
UNFINISHED = (STARTING, RUNNING)
OVER = (DONE, FAILED, CANCELLED)

SET_ACCOUNTS, BUNDLE, PURGE = "set-accounts", "bundle", "purge"
"""What a job does."""

# Seconds between two notes that somebody is at work: one write in so many is not felt.
_BEAT = 10.0
# A task ends after 15 minutes, and is delivered again after less.
_SILENT = 1800.0
_LEFT_NAMED = 100


@dataclass(frozen=True, slots=True)
class Job:
    """One request that is answered later: of `kind` SET_ACCOUNTS, for a `target` and its `accounts`, BUNDLE, or PURGE of a `target`.

    `accounts` are those that the caller asked for, `ends` the instants at which some of them end, `inherit` whether the target shall
    inherit (None: as it was), `within` those that it is fenced to (None: it is not), `naming` whether it may
    learn the names of members.
    `created`, `ended` (0: not yet) and `expires` are seconds since 1970, `begun` is when the target stood as asked (0: not yet), `beat`
    when somebody was last seen at work on it. `total` counts the members that the first pass has listed (None: none yet; while
    `listing`, there may be more), or the bundle's entries, of which `done` are dealt with.
    Of the pass `turn` all batches before number `upto` have been added up: `standing` members stood as asked then, and in the best
    of the passes before it `best` did. So nobody who asks how far it is reads them again.
    `error` is an OperationOutcome and `status` its HTTP status, of a failed job.
    A purge's `request` is JSON that says for whom and what; of one that is done, `updated` counts what it erased, `total` what it left,
    and `result` names that. A bundle's `request` is JSON that says how to process it; `attempt` counts the deliveries that took it up, `transaction` is the
    large transaction that the last of them began; the answer lies in S3 as `result`, of `size` bytes.
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
    kind: str = SET_ACCOUNTS
    request: str = ""
    attempt: int = 0
    transaction: str = ""
    done: int = 0
    result: str = ""
    size: int = 0
    within: tuple[str, ...] | None = None
    naming: bool = True
    ends: Mapping[str, str] = field(default_factory=dict)
    inherit: bool | None = None
    ended: float = 0
    beat: float = 0
    listing: bool = False
    turn: int = 0
    upto: int = 0
    standing: int = 0
    best: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one batch of one pass: how many members have the requested accounts, and how many (with some names) do not."""

    turn: int
    standing: int
    left: int
    names: tuple[str, ...]


def _strings(texts: Iterable[str]) -> Item:
    return {"L": [{"S": text} for text in texts]}


def _texts(attribute: Item) -> tuple[str, ...]:
    return tuple(text["S"] for text in attribute["L"])


def _open(job: Job) -> Item:
    """The item that lists a job among those that are not over."""
    return {"pk": {"S": keys.OPEN_JOBS}, "sk": {"S": job.id}, keys.TTL: {"N": str(job.expires)}}


def _has_expired(item: Item) -> bool:
    return int(item[keys.TTL]["N"]) <= time.time()


class Jobs:
    """The jobs of one table, with the results of their workers."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, job: Job) -> bool:
        """Put a new job, and list it for its owner and among the open ones. False where there is one with its id that has not expired.

        It is listed first: a job that is not there is left out of a list, one that is not listed would never be in it.
        """
        listed: Item = {
            "pk": {"S": keys.jobs_of_key(job.owner)},
            "sk": {"S": keys.job_sort(job.created, job.id)},
            "job": {"S": job.id},
            keys.TTL: {"N": str(job.expires)},
        }
        self._table.put_many([listed, _open(job)])
        item: Item = {
            "pk": {"S": keys.job_key(job.id)},
            "sk": {"S": keys.HEAD},
            "owner": {"S": job.owner},
            "target": {"S": job.target},
            "accounts": _strings(job.accounts),
            "naming": {"BOOL": job.naming},
            "created": {"N": str(job.created)},
            "state": {"S": job.state},
            "kind": {"S": job.kind},
            "request": {"S": job.request},
            "attempt": {"N": str(job.attempt)},
            keys.TTL: {"N": str(job.expires)},
        }
        if job.total is not None:
            item["total"] = {"N": str(job.total)}
        if job.within is not None:
            item["within"] = _strings(job.within)
        if job.ends:
            item["ends"] = {"M": {account: {"S": end} for account, end in job.ends.items()}}
        if job.inherit is not None:
            item["inherit"] = {"BOOL": job.inherit}
        try:
            self._table.put(item, "attribute_not_exists(#pk) OR #ttl <= :now", {":now": {"N": str(int(time.time()))}})
        except ConditionFailed:
            return False
        return True

    def read(self, job: str) -> Job | None:
        """The job; None if there is none, or it has expired (DynamoDB removes it later)."""
        item = self._table.get((keys.job_key(job), keys.HEAD))
        return _job(job, item) if item and not _has_expired(item) else None

    def of_owner(self, owner: str, count: int, after: str | None) -> tuple[list[Job], str | None]:
        """Up to `count` jobs of an owner after a position (None: from the newest on), and the position for the next page, if there is one.

        A Query and a BatchGet, both strongly consistent.
        """
        found: dict[str, Job] = {}
        listed = self._table.query(keys.jobs_of_key(owner), after=after, limit=count, backwards=True)
        while page := list(islice(listed, count - len(found) + 1)):
            heads = self._table.get_many((keys.job_key(item["job"]["S"]), keys.HEAD) for item in page)
            for item in page:
                if len(found) == count:
                    return list(found.values()), after
                after, name = item["sk"]["S"], item["job"]["S"]
                head = heads.get((keys.job_key(name), keys.HEAD))
                # A job may be listed twice where its id was taken anew, or its creation was tried again.
                if (
                    head
                    and not _has_expired(head)
                    and item["sk"]["S"] == keys.job_sort(float(head["created"]["N"]), name)
                ):
                    found[name] = _job(name, head)
        return list(found.values()), None

    def change(
        self, job: str, allowed: Iterable[str], taken: int | None = None, /, **values: str | int | float
    ) -> bool:
        """Sets attributes of a job in one of the `allowed` states. False, without any change, if it is in another state.

        `taken`: only if that is still its attempt, and no later delivery has taken it up.
        """
        try:
            self._table.write([self.change_action(job, allowed, taken, **values)])
        except ConditionFailed:
            return False
        return True

    def change_action(
        self, job: str, allowed: Iterable[str], taken: int | None = None, /, **values: str | int | float
    ) -> Item:
        """The write of `change`, as an action for a commit."""
        if values.get("state") in OVER:
            values["ended"] = time.time()
        states = {f":state{n}": {"S": state} for n, state in enumerate(allowed)}
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        attributes: Item = {
            f":{name}": {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()
        }
        condition = f"#state IN ({', '.join(states)})"
        if taken is not None:
            condition += " AND #attempt = :taken"
            attributes[":taken"] = {"N": str(taken)}
        return self._table.update_action(
            (keys.job_key(job), keys.HEAD), expression, attributes | states, condition=condition
        )

    def take(self, job: str) -> Job | None:
        """Takes up a job that is not over, as its next attempt: earlier attempts cannot commit any more.

        None where the job is over, or unknown.
        """
        while (found := self.read(job)) and found.state in UNFINISHED:
            taken = replace(found, state=RUNNING, attempt=found.attempt + 1, begun=time.time())
            values: dict[str, str | int | float] = {
                "state": taken.state,
                "attempt": taken.attempt,
                "begun": taken.begun,
            }
            if self.change(job, UNFINISHED, found.attempt, **values):
                return taken
        return None

    def remove(self, job: Job) -> bool:
        """Removes a job that never started, as it was created. False where somebody has joined or taken it up meanwhile."""
        condition, values = "#state = :state AND attribute_not_exists(#beat)", {":state": {"S": job.state}}
        if self._table.write_each([self._table.delete_action((keys.job_key(job.id), keys.HEAD), condition, values)]):
            return False
        self.leave(job.id)
        return True

    def join(self, job: str) -> None:
        """Note that another request asks for a job, which will start it if the first one did not: it has its time anew."""
        self.change(job, UNFINISHED, beat=time.time())

    def record(self, job: Job, turn: int, batch: int, *, standing: int, left: Sequence[str] = ()) -> None:
        """Records the result of a batch. `left` are members that could not get the requested accounts; the first hundred are named."""
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
        self._table.put(item)

    def beat(self, job: Job) -> None:
        """Note that somebody is at work on a job, if that was not noted just now."""
        now = time.time()
        if now - job.beat > _BEAT:
            self.change(job.id, UNFINISHED, beat=now)

    def enter(self, job: Job) -> None:
        """List a job among the open ones, if an earlier version created it. Idempotent; `leave` takes it off, or its expiry."""
        self._table.put(_open(job))

    def leave(self, job: str) -> None:
        """Take a job off the list of open ones. Idempotent."""
        self._table.put_many([], [(keys.OPEN_JOBS, job)])

    def at_work(self) -> list[Job]:
        """The propagations of the list that run, and on which somebody was seen at work lately."""
        now = time.time()
        listed = [job for job in self._listed().values() if job and job.kind == SET_ACCOUNTS]
        return [job for job in listed if job.state == RUNNING and now - job.beat < _SILENT and now < job.expires]

    def dead(self) -> list[Job]:
        """The jobs that are not over, and on which nobody was seen at work for half an hour. Takes those off the list that are over."""
        now = time.time()
        # One that is not there may be just about to come: its place in the list expires.
        listed = [job for job in self._listed().values() if job]
        over = [job.id for job in listed if job.state in OVER or job.expires <= now]
        self._table.put_many([], [(keys.OPEN_JOBS, name) for name in over])
        waiting = [job for job in listed if job.id not in over]
        return [job for job in waiting if now - max(job.created, job.begun, job.beat) > _SILENT]

    def _listed(self) -> dict[str, Job | None]:
        """The jobs of the list of open ones, by their id; None for one that is gone. A Query and a BatchGet."""
        names = [item["sk"]["S"] for item in self._table.query(keys.OPEN_JOBS)]
        items = self._table.get_many((keys.job_key(name), keys.HEAD) for name in names)
        return {
            name: _job(name, items[key]) if (key := (keys.job_key(name), keys.HEAD)) in items else None
            for name in names
        }

    def results(self, job: str, turn: int = 0, first: int = 0, *, last: int = 99_999_999) -> list[Result]:
        """What batches came to so far: those of the pass `turn` from number `first` to `last`, or of all passes."""
        low, high = (
            (keys.result_sort(turn, first), keys.result_sort(turn, last)) if turn else (keys.RESULT, keys.RESULT)
        )
        return [
            Result(
                turn=int(item["turn"]["N"]),
                standing=int(item["standing"]["N"]),
                left=int(item["left"]["N"]) if "left" in item else 0,
                names=tuple(name["S"] for name in item["names"]["L"]) if "names" in item else (),
            )
            for item in self._table.query(keys.job_key(job), low, high)
        ]


def _job(identifier: str, item: Item) -> Job:
    """The job that an item tells of."""

    def text(name: str) -> str:
        return str(item[name]["S"]) if name in item else ""

    def number(name: str) -> float:
        return float(item[name]["N"]) if name in item else 0

    return Job(
        id=identifier,
        owner=text("owner"),
        target=text("target"),
        accounts=_texts(item["accounts"]),
        created=number("created"),
        ended=number("ended"),
        expires=int(number(keys.TTL)),
        state=text("state"),
        begun=number("begun"),
        total=int(number("total")) if "total" in item else None,
        updated=int(number("updated")),
        status=int(number("status")),
        error=text("error"),
        kind=text("kind"),
        request=text("request"),
        attempt=int(number("attempt")),
        transaction=text("transaction"),
        done=int(number("done")),
        result=text("result"),
        size=int(number("size")),
        within=_texts(item["within"]) if "within" in item else None,
        naming=item["naming"]["BOOL"],
        beat=number("beat"),
        listing=bool(number("listing")),
        turn=int(number("turn")),
        upto=int(number("upto")),
        standing=int(number("standing")),
        best=int(number("best")),
        ends={account: end["S"] for account, end in item["ends"]["M"].items()} if "ends" in item else {},
        inherit=item["inherit"]["BOOL"] if "inherit" in item else None,
    )
