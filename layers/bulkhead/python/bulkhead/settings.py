"""Every setting of Bulkhead, each an environment variable with a default. A process reads them once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class AtLeast(NamedTuple):
    """The smallest value of a whole number, if it is not 0."""

    value: int


class AtMost(NamedTuple):
    """The largest value of a whole number, if there is one."""

    value: int


class Url(NamedTuple):
    """A text that is empty or a URL of http or https."""


CONFORMANCE_TYPES = (
    "CapabilityStatement", "StructureDefinition", "ImplementationGuide", "SearchParameter", "MessageDefinition",
    "OperationDefinition", "CompartmentDefinition", "StructureMap", "GraphDefinition", "ExampleScenario",
    "CodeSystem", "ValueSet", "ConceptMap", "NamingSystem", "TerminologyCapabilities",
)  # fmt: skip
"""R4's conformance and terminology types."""
DIRECTORY_TYPES = (
    "Organization", "Practitioner", "PractitionerRole", "Location", "HealthcareService", "Endpoint", "Medication",
    "MedicationKnowledge", "Substance",
)  # fmt: skip
"""Types of which one directory serves all organisations."""
SHARED_TYPES = (*DIRECTORY_TYPES, *CONFORMANCE_TYPES)
"""What is shared by default. The store lists what of these types carries no account (`store.keys.NO_ACCOUNT`)."""

Positive = Annotated[int, AtLeast(1)]
LARGEST_BATCH = 2_000
"""Members whose keys fit the 256 KB that Step Functions hands to a worker."""
HttpUrl = Annotated[str, Url()]


@dataclass(frozen=True, slots=True)
class Settings:
    """Field `sync_limit` is the environment variable `SYNC_LIMIT`, and so on."""

    table: str = "bulkhead"
    """DynamoDB table."""
    bucket: str = "bulkhead"
    """S3 bucket for large bodies and for the manifests of jobs."""
    state_machine: str = ""
    """ARN of the propagation state machine."""
    bundle_state_machine: str = ""
    """ARN of the state machine that processes bundles in the background."""
    base_url: HttpUrl = ""
    """The URL that clients use; if empty, it is made from the request's host."""
    auth: Literal["on", "off"] = "on"
    """`off` gives every caller every right: for a server that nobody else can reach. Web pages of other hosts than its own and this machine are 403."""
    extended_meta: Literal["always", "on-request"] = "always"
    """`on-request` shows meta.accounts and meta.compartment only under `X-Medplum: extended`."""
    issuer: HttpUrl = ""
    """The OIDC issuer of accepted tokens. On AWS the API's JWT authorizer checks them; the local server checks them itself, and is its own issuer when empty."""
    jwks_uri: HttpUrl = ""
    """The URL of the issuer's keys. Unset, it comes from the issuer's discovery document, like the two endpoints below."""
    audience: str = "bulkhead"
    """The audiences of accepted tokens, separated by commas. Only for the local server: on AWS see `audience` in infra/deployment.py."""
    authorization_endpoint: HttpUrl = ""
    """The URL where users sign in, for clients (SMART App Launch); absent from the answer when empty."""
    token_endpoint: HttpUrl = ""
    """The URL where clients get tokens; absent from the answer when empty."""
    console_client: str = ""
    """The client id under which the page at /console signs users in at the issuer (a public client, code with PKCE); if empty, the page asks for it."""
    sync_limit: int = 1000
    """The limit on members for a synchronous `$set-accounts` that propagates."""
    account_limit: Positive = 50
    """The limit on accounts in one `$set-accounts`, or in the `meta.accounts` of a body."""
    body_limit: Positive = 300_000
    """Bytes of a compressed body above which it goes to S3 (DynamoDB's item limit is 400 KB)."""
    request_limit: Positive = 100_000_000
    """Bytes of a request after decompression."""
    upload_limit: Positive = 100_000_000
    """Bytes of an uploaded bundle after decompression. A function needs some 20 times as much memory."""
    upload_seconds: Positive = 3600
    """Seconds for which the URL of an upload is valid."""
    answer_limit: Positive = 4_000_000
    """Bytes of a bundle's response above which a job's status gives a URL to fetch it (a Lambda function returns at most 6 MB, escapes included)."""
    response_limit: Positive = 6_291_556
    """Bytes of any answer as a Lambda function gives it, JSON's escapes or base64 included. Pages end before it; see LARGE_ANSWERS."""
    large_answers: Literal["redirect", "refuse"] = "redirect"
    """What becomes of another answer above RESPONSE_LIMIT: `redirect` sends the client to the bucket by a URL signed for minutes."""
    page_link_days: Positive = 1
    """How long the query of a page link is kept that is too long for a URL."""
    entry_limit: Positive = 100_000
    """The limit on entries of a batch or transaction."""
    depth_limit: Positive = 64
    """The limit on nested objects and arrays in a document, counted as in JSON; real resources stay below 30."""
    unchecked_invariants: str = "ait-1"
    """Keys of R4's constraints that resources may break here, separated by commas: `ait-1` for generators that write allergies without a clinical status."""
    count_default: int = 20
    """Entries of a search page when `_count` is not given."""
    count_limit: Positive = 1000
    """The limit on `_count`; a larger value is lowered to it."""
    parameter_limit: Positive = 200
    """The limit on parameters in one search; each repetition counts."""
    value_limit: Positive = 5000
    """The limit on values of one search parameter, separated by commas."""
    chain_limit: int = 8
    """The limit on links in one chain: `a.b.c` has two, and so has `_has:A:b:_has:C:d:e`."""
    include_limit: int = 50
    """The limit on `_include` and `_revinclude` in one search, together."""
    included_limit: Positive = 1000
    """The limit on resources that `_include` and `_revinclude` add to one page; a page that has more shows the first and says so."""
    search_seconds: Positive = 10
    """Seconds for which a search looks for the first match of a page; then the page says so and has a next link."""
    search_handling: Literal["lenient", "strict"] = "lenient"
    """`strict` refuses an unknown parameter with 400; `lenient` ignores it and says so. A request chooses by `Prefer: handling=`."""
    sort_limit: int = 20
    """The limit on parameters in `_sort`."""
    conditional_delete: Literal["single", "multiple"] = "single"
    """`multiple` lets a conditional delete remove all matches; `single` refuses several with 412."""
    private: str = ""
    """Labels of resources that inherit no accounts: `system|code` (on every type) or `Type?_security=system|code`, separated by commas."""
    audit: str = "List.read,List.write,$set-accounts,refusals"
    """The requests that leave AuditEvents: `Type.read` and `Type.write` (`*` for every type), `$set-accounts`, `refusals`; `off` for none."""
    shared_types: str = ",".join(SHARED_TYPES)
    """Types of which every caller reads what carries no account, if its scopes allow the type; separated by commas, `off` for none."""
    binary_context: Literal["on", "off"] = "on"
    """`on` gives a Binary that a transaction creates the one resource that links to it as its `securityContext`, where it has none."""
    history_access: Literal["current", "version"] = "current"
    """`version` shows a restricted caller only versions that were within its fence themselves; `current` shows all versions of what it may see now."""
    history_settle: int = 60
    """Seconds until a change must appear in the history of its type: longer than a request may take, and than the GSIs lag."""
    transaction_lease: Positive = 60
    """Seconds after which others may abort a large transaction that has not committed."""
    job_days: Positive = 7
    """How long an asynchronous job's status is kept."""
    purge_rest: Positive = 3600
    """Seconds for which the id of a purged resource is not free: longer than any writer works on what it has read."""
    propagation_batch: Annotated[int, AtLeast(1), AtMost(LARGEST_BATCH)] = 100
    """Members that one worker of a propagation handles."""
    propagation_workers: Positive = 10
    """Workers of all propagations together, shared fairly between tenants; each propagation has one at least."""
    propagation_settle: int = 0
    """Seconds between the map and the verify pass: longer than the GSIs lag."""
    integrity_pages: int = 1000
    """Pages of 1 MB that the daily integrity check reads, each time continuing where it ended; 0 turns it off. On AWS 1,000 cost 3 cents."""
    bulk_writes: Literal["batch", "transact", "single"] = "batch"
    """`transact` stages by TransactWriteItems of 100 instead of BatchWriteItem of 25: a quarter of the requests, twice the write units. `single` is `batch`, but members of a `$set-accounts` are changed by a conditional request for each item instead of TransactWriteItems of 100: a fifth fewer write units, five times the CPU. The stack sets it for workers of propagations."""
    definitions_ttl: int = 1
    """Seconds for which a process keeps the CompartmentDefinitions that it has read; its own writes count at once."""
    threads: Positive = 8
    """Parallel requests to DynamoDB from one process."""
    throttle_patience: Positive = 20
    """Seconds for which an operation retries a throttled table. API Gateway ends a request after 30; tasks of jobs have more time."""
    read_timeout: Positive = 5
    """Seconds after which an unanswered request to DynamoDB is sent again."""
    metrics: Literal["on", "off"] = "on"
    """`off` reports no units by operation: CloudWatch takes some $15 a month for those of all operations in constant use. What alarms read is always reported."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Level of the structured log."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings from variables such as `SYNC_LIMIT=50`; absent ones keep their default.

    ValueError for an invalid value, in a sentence that names the variable, the value and what is allowed.
    """
    types = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {}
    for field in fields(Settings):
        name = field.name.upper()
        if name in environment:
            values[field.name] = _value(name, environment[name], types[field.name])
    return Settings(**values)


def _value(name: str, text: str, kind: Any) -> str | int:
    """The value in `text`, as the type of its setting allows it. ValueError."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"{name} is {text!r}; it must be {' or '.join(get_args(kind))}")
        return text
    base, *rules = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if base is int:
        least = next((rule.value for rule in rules if isinstance(rule, AtLeast)), 0)
        if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) >= least):
            raise ValueError(f"{name} is {text!r}; it must be a whole number of at least {least}")
        for most in (rule.value for rule in rules if isinstance(rule, AtMost)):
            if int(text) > most:
                raise ValueError(f"{name} is {text!r}; it must be a whole number of at most {most}")
        return int(text)
    if Url() in rules and text and not text.startswith(("https://", "http://")):
        raise ValueError(f"{name} is {text!r}; it must be a URL that begins with https:// or http://")
    return text


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process."""
    return from_environment(os.environ)
