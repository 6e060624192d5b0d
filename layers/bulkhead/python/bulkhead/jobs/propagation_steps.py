"""The steps of a propagation job: the tasks of the state machine (infra/propagation.asl.json).

plan     lists the members, and writes those without the wanted accounts to a manifest in S3, in ready batches. Every later pass
                  thereby verifies: the first pass that finds no such member ends the job.
work     applies one item of the manifest, batch by batch.
finish   writes the result of the job.
fail     marks the job as failed when the state machine gives up.

A step may be delivered twice, or stop anywhere and run again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bulkhead.compartments import accounts, membership
from bulkhead.compartments.propagation import (
    PAGE,
    TURNS,
    Findings,
    Reach,
    Wait,
    apply,
    left_issues,
    members,
    second_look,
    sleep,
    survey,
)
from bulkhead.errors import Unavailable
from bulkhead.jobs import lifecycle
from bulkhead.parallel import chunks
from bulkhead.settings import LARGEST_BATCH
from bulkhead.store import Store, manifests
from bulkhead.store.jobs import DONE, RUNNING, STARTING, Job

MANIFEST_MEMBERS = 200_000
"""Members that one call of the planner lists, so that its memory and its manifest have a bound: 10 MB of keys.

An execution has 25,000 events, and a call with its Map makes 13: so it comes through a hundred million members with room for two passes.
"""

_SAMPLE = 100
_START_POLL = 0.05
# A child of a Distributed Map costs a start. So one item holds up to this many batches; each batch still records progress.
_BATCHES_AN_ITEM = 5
# With fewer items than these, more parallel items are worth their starts.
_ITEMS_IN_PARALLEL = 20
# Step Functions takes 256 KB: as the input of a child, whose members' keys are up to 100 bytes long; and as the outputs of all children of a
# Map together (20 bytes each), although nothing reads these.
_MEMBERS_AN_ITEM, _ITEMS_A_MANIFEST = LARGEST_BATCH, 10_000

State = dict[str, Any]
_PASS: State = {"after": None, "batch": 0, "standing": 0, "amiss": 0}
_COUNT: State = {"listed": 0, "summed": 0, "best": 0, "last": None}
_FIRST: State = _PASS | _COUNT | {"turn": 1, "manifest": "", "settle": 0}


def plan(store: Store, state: State, wait: Wait = sleep) -> State:
    """Lists the next MANIFEST_MEMBERS members of `state["job"]`, and writes those that need a change to a manifest.

    Returns the next state: `batches` and `manifest` for the Map (0 if it has nothing to do), then `next`: "plan" or,
    after `settle` seconds, "settle" for one more plan, or "finish".
    """
    state = _FIRST | state
    # Later code reads the definitions often; a warm process must not work with old ones.
    membership.in_force(store, fresh=True)
    job = _begun(store, state["job"], wait)
    if job is None:
        return state | {"batches": 0, "next": "finish"}
    store.jobs.enter(job)
    store.jobs.beat(job)
    state |= _summed(store, job, state) | {"concurrency": _share(store, job)}
    keys, more = _list(store, job, state)
    state |= {"listed": state["listed"] + len(keys), "last": [state["turn"], state["batch"]]}
    found = _examine(store, job, state, keys=keys, wait=wait)
    if found is None:
        return state | {"batches": 0, "next": "finish"}
    last_turn = state["turn"] == TURNS
    store.jobs.record(
        job, state["turn"], state["batch"], standing=found.standing, left=found.amiss if last_turn else ()
    )
    handed_on = [] if last_turn else _items(store, job, state, amiss=found.amiss)
    manifest = manifests.write(store, job.id, state["turn"], batch=state["batch"], items=handed_on) if handed_on else ""
    state |= {"batches": len(handed_on), "manifest": manifest}
    state |= {"standing": state["standing"] + found.standing, "amiss": state["amiss"] + len(found.amiss)}
    if more:
        batches = -(-len(found.amiss) // store.settings.propagation_batch)
        return state | {"next": "plan", "after": keys[-1], "batch": state["batch"] + 1 + batches}
    return state | _afterwards(store, state)


def work(store: Store, item: Mapping[str, Any]) -> State:
    """Applies one item of a manifest: its `members`, as batches numbered from `batch`. It leaves the members of a cancelled job alone."""
    membership.in_force(store, fresh=True)
    standing = 0
    for n, batch in enumerate(chunks(item["members"], store.settings.propagation_batch)):
        job = store.jobs.read(item["job"])
        if job is None or job.state != RUNNING:
            break
        store.jobs.beat(job)
        applied = apply(store, job.target, batch, reaches=Reach(job.target, job.within))
        store.jobs.record(job, item["turn"], item["batch"] + n, standing=applied.standing, left=applied.left)
        standing += applied.standing
    return {"standing": standing}


def finish(store: Store, state: State) -> State:
    """Closes the job by `state`, the result of the last pass: done, with its count; or failed, naming what was not done."""
    if state["amiss"]:
        last = store.jobs.results(state["job"], state["turn"])
        job = store.jobs.read(state["job"])
        names = [name for result in last for name in result.names]
        issues = left_issues(names, state["amiss"]) if job and job.naming else left_issues((), None)
        lifecycle.give_up(store, state["job"], Unavailable("", issues=issues))
    else:
        store.jobs.change(state["job"], [RUNNING], state=DONE, updated=1 + state["standing"])
    store.jobs.leave(state["job"])
    return {}


def fail(store: Store, state: State) -> State:
    """Closes the job as failed, because a task of the state machine failed repeatedly."""
    error = state.get("error", {}).get("Error", "unknown")
    lifecycle.give_up(
        store, state["job"], Unavailable(f"the run broke off ({error}); send the request again to finish it")
    )
    store.jobs.leave(state["job"])
    return {}


def _begun(store: Store, job_id: str, wait: Wait) -> Job | None:
    """The job, once its target has the wanted accounts; None where it is over.

    The execution starts before the target changes, so the planner may be early. If the request died in between, its job
    continues if it had changed the target, and fails otherwise.
    """
    while (job := store.jobs.read(job_id)) and job.state == STARTING:
        if not lifecycle.is_overdue(job):
            wait(_START_POLL)
            continue
        if lifecycle.has_begun(store, job):
            store.jobs.change(job_id, [STARTING], state=RUNNING, begun=time.time())
        else:
            lifecycle.give_up(
                store, job_id, Unavailable("the request broke off before it changed anything; send it again")
            )
    return job if job and job.state == RUNNING else None


def _share(store: Store, job: Job) -> int:
    """The workers of a job: a fair share of all, tenant by tenant, so that nobody's many jobs, or large one, hold up another's.

    Decided anew by each call of the planner: what ends leaves its share to the others. At least one, however many there are.
    """
    tenants = [_tenant(other) for other in store.jobs.at_work() if other.id != job.id]
    own = tenants.count(_tenant(job)) + 1
    return max(1, store.settings.propagation_workers // len({*tenants, _tenant(job)}) // own)


def _tenant(job: Job) -> str:
    """Whose a job is: of those who are fenced to the same accounts, or of one caller who is not fenced."""
    return job.owner if job.within is None else " ".join(sorted(job.within))


def _summed(store: Store, job: Job, state: State) -> State:
    """Add up what the batches of the last call of the planner came to, once they are through: what is summed of this pass, and of the best."""
    if state["last"] is None:
        return {}
    turn, first = state["last"]
    # What an earlier try of this call has recorded is this call's own.
    own = {"last": state["batch"] - 1} if turn == state["turn"] else {}
    summed = state["summed"] + sum(result.standing for result in store.jobs.results(job.id, turn, first, **own))
    best = state["best"]
    if turn != state["turn"]:
        summed, best = 0, max(best, summed)
    values = {"turn": state["turn"], "upto": state["batch"], "standing": summed, "best": best}
    store.jobs.change(job.id, [RUNNING], **values)
    return {"summed": summed, "best": best}


def _list(store: Store, job: Job, state: State) -> tuple[list[str], bool]:
    """The next members by the index, and whether there may be more. The first pass counts them, where the job's caller may know it."""
    pages = members(store, job.target, state["after"])
    keys: list[str] = []
    more = False
    for page in pages:
        keys += page
        if more := len(keys) >= MANIFEST_MEMBERS:
            break
    # For a target other than a Patient, a fenced caller reaches only some members; it must not learn how many there are.
    is_told = job.within is None or accounts.is_patient(job.target)
    if is_told and state["turn"] == 1:
        store.jobs.change(job.id, [RUNNING], total=state["listed"] + len(keys), listing=int(more))
    return keys, more


def _examine(store: Store, job: Job, state: State, *, keys: Sequence[str], wait: Wait) -> Findings | None:
    """The state of `keys`, recorded page by page so that progress shows. None once the job is over."""
    found = Findings()
    for page in chunks(keys, PAGE):
        now = store.jobs.read(job.id)
        if now is None or now.state != RUNNING:
            return None
        store.jobs.beat(now)
        found += _look(store, job, page, sample=state["turn"] == 1)
        store.jobs.record(job, state["turn"], state["batch"], standing=found.standing)
    return second_look(store, job.target, found, reaches=Reach(job.target, job.within), wait=wait)


def _look(store: Store, job: Job, page: Sequence[str], *, sample: bool) -> Findings:
    """Examines a page. In the first pass, nearly all members or none need a change: a sample saves reads that the workers repeat."""
    reaches = Reach(job.target, job.within)
    if sample and len(page) > _SAMPLE and survey(store, job.target, page[:_SAMPLE], reaches=reaches).amiss:
        return Findings(wrong=tuple(page))
    return survey(store, job.target, page, reaches=reaches)


def _items(store: Store, job: Job, state: State, *, amiss: Sequence[str]) -> list[State]:
    """The items of a manifest. Each has all that a child of the Map needs, and stays far below Step Functions' 256 KB."""
    size = store.settings.propagation_batch
    batches = -(-len(amiss) // size)
    each = min(_BATCHES_AN_ITEM, max(1, batches // _ITEMS_IN_PARALLEL), max(1, _MEMBERS_AN_ITEM // size))
    each = max(each, -(-batches // _ITEMS_A_MANIFEST))
    common = {"job": job.id, "turn": state["turn"], "correlation": state.get("correlation", "")}
    return [
        common | {"batch": state["batch"] + 1 + n * each, "members": list(part)}
        for n, part in enumerate(chunks(amiss, size * each))
    ]


def _afterwards(store: Store, state: State) -> State:
    """The state after the last call of a pass. On AWS one pass must begin after the indexes have the target's change."""
    settle = store.settings.propagation_settle
    clean = state["amiss"] == 0 and (state["turn"] > 1 or settle == 0)
    if clean or state["turn"] == TURNS:
        return {"next": "finish"}
    return _PASS | {"turn": state["turn"] + 1, "settle": settle, "next": "settle" if settle else "plan"}
