"""The Lambda functions: one for each folder of functions/, with a role that allows only what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aws_cdk import Annotations, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from bulkhead.audit import recording
from bulkhead.settings import Settings
from bulkhead.store import BODIES
from bulkhead.store.files import ANSWERS, REQUESTS, RESULTS, UPLOADS
from infra.bucket_construct import MANIFESTS, BucketConstruct
from infra.deployment import Deployment
from infra.layers_construct import ARCHITECTURE, RUNTIME, LayersConstruct
from infra.log_groups import log_group
from infra.table_construct import TableConstruct

# The HTTP API gives up after 30 seconds: a function that takes longer must end, and be seen to end, before that.
API_TIMEOUT = 29
# Lambda's longest: the planner of a propagation lists a whole compartment in one call.
TASK_TIMEOUT = 900
# Seconds that an entry may take to appear in the GSIs, before a propagation lists the members again.
INDEX_LAG = 5


@dataclass(frozen=True, slots=True)
class Function:
    """What one function needs. Lambda gives CPU by memory: 1,769 MB are one core, and less is a slice of one."""

    purpose: str
    memory: int
    timeout: int = API_TIMEOUT
    table: Literal["", "read", "write", "jobs", "definitions"] = ""
    inserts: bool = False
    """Whether it stages transactions that another delivery may take over."""
    scan: bool = False
    """Whether it goes through the whole table."""
    trail: bool = False
    """Whether it writes AuditEvents, though nothing else."""
    objects: Mapping[str, str] = field(default_factory=dict)
    """What it does below which prefix of the bucket: `r`, `w`, `d` for read, write, delete; `e` for erase, versions included."""
    absence: bool = False
    """Whether it has to know that an object is not there."""
    seals: bool = False
    """Whether it gives page links, which cryptography seals."""
    snapstart: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of `bulkhead.settings` that differ from the others', unless the deployment says otherwise."""

    @property
    def request_limit(self) -> int:
        """Bytes of a decompressed request that its memory holds as Python objects, but no more than the server's own limit."""
        room = (self.memory - STARTED) * 1_000_000 // BYTES_A_BYTE
        return min(room - room % 1_000_000, Settings().request_limit)


# Megabytes of a function that has imported everything; and what a byte of JSON takes as Python objects (measured: 17 to 21).
STARTED = 150
BYTES_A_BYTE = 21
# A request of 100 MB (6 MB gzipped, or uploaded) takes some 2 GB as Python objects.
_LARGE = 3008

FUNCTIONS: Mapping[str, Function] = {
    "resources": Function(
        "Reads and writes single resources, and their history; offers uploads",
        1024,
        table="write",
        # What it signs URLs for, it must be allowed itself.
        objects={BODIES: "rw", UPLOADS: "w", ANSWERS: "rw"},
        seals=True,
    ),
    "search": Function(
        "Searches and pages through types and compartments",
        1769,
        table="read",
        trail=True,
        objects={BODIES: "r", ANSWERS: "rw"},
        seals=True,
    ),
    "bundles": Function(
        "Batches and transactions of any size",
        _LARGE,
        table="write",
        objects={BODIES: "rw", REQUESTS: "w", UPLOADS: "rd", ANSWERS: "rw"},
        absence=True,
        seals=True,
    ),
    "operations": Function(
        "Operations on types and instances; propagates the accounts of small compartments, and purges these, itself",
        1769,
        table="write",
        objects={BODIES: "rwe", ANSWERS: "rw"},
        seals=True,
    ),
    "jobs": Function(
        "Reports and cancels asynchronous jobs",
        1024,
        table="jobs",
        objects={RESULTS: "rw", ANSWERS: "rw"},
        absence=True,
        snapstart=False,
    ),
    # Anybody reaches it, without a token: it is small, and has no right to patients' data.
    "capabilities": Function("Says what the server can do", 512, timeout=10, table="definitions", snapstart=False),
    "processing": Function(
        "Processes bundles in the background for the state machine",
        _LARGE,
        timeout=TASK_TIMEOUT,
        table="write",
        objects={BODIES: "rw", REQUESTS: "rd", RESULTS: "rw"},
        absence=True,
        inserts=True,
        seals=True,
        snapstart=False,
    ),
    "propagation": Function(
        "Plans, works and verifies propagations for the state machine",
        1769,
        timeout=TASK_TIMEOUT,
        table="write",
        objects={BODIES: "re", MANIFESTS: "w"},
        snapstart=False,
        # Nobody waits for it: a fifth fewer write units are worth the requests.
        settings={"BULK_WRITES": "single"},
    ),
    "sweeper": Function(
        "Finishes large transactions that were left behind; compares resources with the index",
        1769,
        timeout=TASK_TIMEOUT,
        table="write",
        scan=True,
        objects={BODIES: "re"},
        snapstart=False,
    ),
}
# Of all jobs together: each is held down to `worker_concurrency`, where a deployment says so, and leaves the rest to the API.
WORKERS = ("propagation", "processing")


class FunctionsConstruct(Construct):
    """`functions` by folder name; `targets` are what to invoke: the alias `live` where the function has SnapStart.

    SnapStart restores a snapshot taken after the imports: for functions that import much and that someone waits for.
    The others start rarely (jobs, capabilities), or have nobody waiting (propagation, processing).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        table: TableConstruct,
        bucket: BucketConstruct,
        layers: LayersConstruct,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._table, self._bucket, self._layers, self._deployment = table, bucket, layers, deployment
        self.functions: dict[str, lambda_.Function] = {}
        self.targets: dict[str, lambda_.IFunction] = {}
        for name, function in FUNCTIONS.items():
            created = self._function(name, function)
            self._grant(created.grant_principal, function)
            self.functions[name] = created
            self.targets[name] = self._target(created, function)

    def _function(self, name: str, function: Function) -> lambda_.Function:
        parent = Construct(self, name.title())
        role = iam.Role(parent, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        logs = log_group(parent, "Logs", self._deployment)
        logs.grant_write(role)
        return lambda_.Function(
            parent,
            "Function",
            description=f"Bulkhead: {function.purpose}",
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler=f"functions.{name}.handler.handler",
            code=self._layers.handlers,
            layers=self._layers.versions(seals=function.seals),
            memory_size=function.memory,
            timeout=Duration.seconds(function.timeout),
            role=role,
            log_group=logs,
            logging_format=lambda_.LoggingFormat.JSON,
            environment=self._environment(function),
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if self._snapstart(function) else None,
            reserved_concurrent_executions=(self._deployment.worker_concurrency or None) if name in WORKERS else None,
            tracing=lambda_.Tracing.ACTIVE if self._deployment.tracing == "on" else None,
        )

    def _environment(self, function: Function) -> dict[str, str]:
        """Variables of `bulkhead.settings`: only what differs from its defaults."""
        # Said though it is the default: nothing else may come to say otherwise.
        variables = {"AUTH": "on"}
        if function.table:
            variables |= {"TABLE": self._table.table.table_name, "PROPAGATION_SETTLE": str(INDEX_LAG)}
        variables |= {"ISSUER": self._deployment.issuer, **function.settings, **self._deployment.settings}
        limit = int(variables.get("REQUEST_LIMIT", Settings().request_limit))
        variables["REQUEST_LIMIT"] = str(min(limit, function.request_limit))
        if not (function.trail or function.table == "write"):
            variables["AUDIT"] = recording.OFF
        if function.objects:
            variables["BUCKET"] = self._bucket.bucket.bucket_name
        if self._deployment.base_url:
            variables["BASE_URL"] = self._deployment.base_url
        return variables

    def _grant(self, grantee: iam.IPrincipal, function: Function) -> None:
        self._grant_table(grantee, function)
        bucket = self._bucket
        grants = {"r": bucket.grant_read, "w": bucket.grant_write, "d": bucket.grant_delete, "e": bucket.grant_erase}
        for prefix, letters in function.objects.items():
            for letter in letters:
                grants[letter](grantee, prefix)
        if function.absence:
            self._bucket.grant_absence(grantee)
        if function.objects:
            self._bucket.grant_key(grantee, write="w" in "".join(function.objects.values()))

    def _grant_table(self, grantee: iam.IPrincipal, function: Function) -> None:
        if function.table == "jobs":
            self._table.grant_jobs(grantee)
        elif function.table == "definitions":
            self._table.grant_definitions(grantee)
        elif function.table:
            self._table.grant_read(grantee)
        if function.table == "read":
            self._table.grant_page_links(grantee)
        if function.table == "write":
            self._table.grant_write(grantee)
        elif function.trail:
            self._table.grant_trail(grantee)
        if function.inserts:
            self._table.grant_insert(grantee)
        if function.scan:
            self._table.grant_scan(grantee)
        if function.table:
            self._table.grant_key(grantee, write=function.trail or function.table in ("write", "jobs"))

    def _snapstart(self, function: Function) -> bool:
        return function.snapstart and self._deployment.snapstart == "on"

    def _target(self, created: lambda_.Function, function: Function) -> lambda_.IFunction:
        if not self._snapstart(function):
            return created
        published = "the alias `live` publishes a version"
        Annotations.of(created).acknowledge_warning("@aws-cdk/aws-lambda:snapStartRequirePublish", published)
        return lambda_.Alias(created, "Live", alias_name="live", version=created.current_version)
