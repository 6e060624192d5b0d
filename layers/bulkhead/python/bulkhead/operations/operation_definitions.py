"""The operations of this server as OperationDefinitions (R4 operationdefinition.html): their parameters in and out.

HL7's own operations refer by `base` to HL7's definitions; this server supports some of their parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.search import functional_lists
from bulkhead.version import RELEASED, VERSION

Served = Collection[tuple[str, str]]
"""Method and path below the base of each request that the server answers: ("GET", "{type}/{id}")."""

_HL7 = "http://hl7.org/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation, as OperationDefinition.parameter has it."""

    name: str
    use: str
    min: int
    max: str
    type: str
    """"" where it has `parts`."""
    documentation: str
    parts: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. The server offers it if it answers its `path`, its `type_path` or its `system_path`."""

    id: str
    code: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    affects_state: bool = False
    base: str | None = None
    resource_types: tuple[str, ...] = ()
    """The types that have it; empty means every type, unless it is an operation of the `system` only."""
    system: bool = False

    @property
    def path(self) -> str:
        return f"{{type}}/{{id}}/${self.code}"

    @property
    def type_path(self) -> str:
        return f"{{type}}/${self.code}"

    @property
    def system_path(self) -> str:
        return f"${self.code}"

    @property
    def paths(self) -> set[str]:
        return {self.system_path} if self.system else {self.path, self.type_path}

    def on(self, resource_type: str) -> bool:
        return not self.system and (not self.resource_types or resource_type in self.resource_types)


def _of_bundle(name: str, code: str, title: str, *, description: str, contents: str) -> Operation:
    """An operation of the system that takes a Bundle with `contents`, and does it as one transaction."""
    taken = Parameter("resource", "in", 1, "1", "Bundle", contents)
    returned = Parameter("return", "out", 1, "1", "Bundle", "The response of the transaction")
    return Operation(name, code, title, description, (taken, returned), affects_state=True, system=True)


_META_OUT = Parameter("return", "out", 1, "1", "Meta", "The meta of the resource as it is now")
_EVERYTHING = (
    Parameter("start", "in", 0, "1", "date", "Leaves out care that ended before this day"),
    Parameter("end", "in", 0, "1", "date", "Leaves out care that began after this day"),
    Parameter("_since", "in", 0, "1", "instant", "Only resources that were updated at this time or later"),
    Parameter("_type", "in", 0, "*", "code", "Only resources of these types"),
    Parameter("_count", "in", 0, "1", "integer", "Matches per page"),
    Parameter("return", "out", 1, "1", "Bundle", "A searchset with links to the following pages"),
)

_THROUGH = Parameter(
    "through", "out", 0, "*", "string", "A search parameter; `{def}` where the resource is the target itself"
)
_OF_SOURCE = (
    Parameter("kind", "out", 1, "1", "code", "own or inherited"),
    Parameter("from", "out", 0, "1", "Reference", "The target that hands it on; left out where you may not read it"),
    _THROUGH,
    Parameter("until", "out", 0, "1", "instant", "When this source ends"),
)
_OF_ACCOUNT = (
    Parameter("account", "out", 1, "1", "Reference", "The account"),
    Parameter("source", "out", 1, "*", "", "From where the resource has it", _OF_SOURCE),
)
_OF_COMPARTMENT = (Parameter("compartment", "out", 1, "1", "Reference", "The target"), _THROUGH)
_OF_PROXY = (
    Parameter("rule", "out", 1, "1", "code", "shared-type or security-context"),
    Parameter("resource", "out", 0, "1", "Reference", "What the Binary follows"),
)
_OF_DECISION = (
    Parameter("interaction", "out", 1, "1", "code", "read, search, update or delete"),
    Parameter("allowed", "out", 0, "1", "boolean", "Left out where it depends on what you may not read"),
    Parameter("rule", "out", 1, "1", "code", "The rule that opens or closes it"),
    Parameter("reason", "out", 1, "1", "string", "The rule in a sentence"),
)
_COUNT = (
    Parameter("type", "out", 1, "1", "code", "Their type"),
    Parameter("count", "out", 1, "1", "integer", "How many"),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "bulkhead-set-accounts",
        "set-accounts",
        "Set the accounts of a resource",
        "Replaces the resource's own accounts, and with `propagate` passes them on to every member of its compartment.",
        (
            Parameter(
                "accounts",
                "in",
                0,
                "50",
                "Reference",
                "An account, as a value or in parts; none at all clears them",
                (
                    Parameter("account", "in", 1, "1", "Reference", "The account"),
                    Parameter("until", "in", 0, "1", "instant", "When this account ends"),
                ),
            ),
            Parameter(
                "until",
                "in",
                0,
                "1",
                "instant",
                "When those accounts end that have no end of their own; a dateTime with a zone is taken, too",
            ),
            Parameter(
                "propagate", "in", 0, "1", "boolean", "Whether members of the compartment inherit; default false"
            ),
            Parameter(
                "inherit", "in", 0, "1", "boolean", "false seals the resource: it inherits from nobody; true opens it"
            ),
            Parameter("preview", "in", 0, "1", "boolean", "Whether to change nothing, and to tell what would change"),
            Parameter(
                "resourcesUpdated", "out", 1, "1", "integer", "How many resources now have the requested accounts"
            ),
            Parameter("complete", "out", 0, "1", "boolean", "Of a preview: whether it looked at all members"),
            Parameter(
                "account",
                "out",
                0,
                "*",
                "",
                "Of a preview: what changes for an account",
                (
                    Parameter("account", "out", 1, "1", "Reference", "The account"),
                    Parameter("gains", "out", 0, "*", "", "Resources that it comes to see", _COUNT),
                    Parameter("loses", "out", 0, "*", "", "Resources that it sees no longer", _COUNT),
                ),
            ),
            Parameter("changed", "out", 0, "100", "Reference", "Of a preview: a resource that would change"),
        ),
        affects_state=True,
    ),
    Operation(
        "bulkhead-explain-access",
        "explain-access",
        "Explain who can see a resource, and why",
        "From where the resource has its accounts, in which compartments it is and why, and what else opens it. With `scope`, `accounts` or "
        "`patient` it decides for a token with these claims, and names the rule that opens or closes each interaction.",
        (
            Parameter(
                "scope",
                "in",
                0,
                "1",
                "string",
                "SMART scopes of the token, separated by blanks; every right where it is not given",
            ),
            Parameter(
                "accounts",
                "in",
                0,
                "*",
                "string",
                "The accounts to which the token is fenced, Type/id, separated by commas",
            ),
            Parameter("patient", "in", 0, "1", "string", "The id of the token's launch patient"),
            Parameter("resource", "out", 1, "1", "Reference", "The resource"),
            Parameter("account", "out", 0, "*", "", "An account of the resource", _OF_ACCOUNT),
            Parameter("sealed", "out", 1, "1", "boolean", "Whether somebody sealed the resource: it inherits nothing"),
            Parameter("private", "out", 1, "1", "boolean", "Whether a label makes it private: it inherits nothing"),
            Parameter("compartment", "out", 0, "*", "", "A compartment that the resource is in", _OF_COMPARTMENT),
            Parameter(
                "proxy",
                "out",
                0,
                "*",
                "",
                "What else opens it: a shared type, or a Binary's securityContext",
                _OF_PROXY,
            ),
            Parameter("decision", "out", 0, "4", "", "What the token may do, by interaction", _OF_DECISION),
        ),
    ),
    Operation(
        "bulkhead-purge",
        "purge",
        "Erase a resource for good",
        "Erases every version of the resource, all that the index holds of it, and the Binaries that follow it; with `compartment` "
        "every member of its compartment that names no other patient. Needs the scope `purge` and a token without a fence. "
        "AuditEvents and definitions stay.",
        (
            Parameter(
                "compartment", "in", 0, "1", "boolean", "Whether the members of the compartment go too; default false"
            ),
            Parameter("resourcesErased", "out", 1, "1", "integer", "How many resources this run erased"),
            Parameter(
                "resourcesShared",
                "out",
                1,
                "1",
                "integer",
                "How many members it left: they are not this patient's alone",
            ),
            Parameter("shared", "out", 0, "1000", "Reference", "These members, up to 1,000 of them"),
        ),
        affects_state=True,
    ),
    Operation(
        "bulkhead-validate",
        "validate",
        "Validate a resource",
        "Checks a resource against R4, and the caller's right to the interaction in `mode`. It does not check profiles.",
        (
            Parameter("resource", "in", 0, "1", "Resource", "The resource; needed unless the mode is delete"),
            Parameter("mode", "in", 0, "1", "code", "create, update, delete or profile"),
            Parameter("profile", "in", 0, "1", "uri", "Only the type's own definition is supported"),
            Parameter("return", "out", 1, "1", "OperationOutcome", "Every fault"),
        ),
        base=f"{_HL7}Resource-validate",
    ),
    Operation(
        "bulkhead-patient-everything",
        "everything",
        "Everything of a patient",
        "The patient, its whole compartment, and the resources that these refer to.",
        _EVERYTHING,
        base=f"{_HL7}Patient-everything",
        resource_types=("Patient",),
    ),
    Operation(
        "bulkhead-encounter-everything",
        "everything",
        "Everything of an encounter",
        "The encounter, its whole compartment, and the resources that these refer to.",
        _EVERYTHING,
        base=f"{_HL7}Encounter-everything",
        resource_types=("Encounter",),
    ),
    Operation(
        "bulkhead-lastn",
        "lastn",
        "The latest results",
        "The latest observations of a patient, by what was observed: the newest first. Any search parameters of "
        "Observation narrow them. With codes only what is shown is read.",
        (
            Parameter("patient", "in", 0, "1", "Reference", "The patient; needed, unless subject is given"),
            Parameter("subject", "in", 0, "1", "Reference", "The subject; needed, unless patient is given"),
            Parameter("category", "in", 0, "*", "Coding", "Only of these categories"),
            Parameter("code", "in", 0, "*", "Coding", "Only of these codes"),
            Parameter("max", "in", 0, "1", "positiveInt", "Observations of each code, up to 100; default 1"),
            Parameter("return", "out", 1, "1", "Bundle", "A searchset, group by group"),
        ),
        base=f"{_HL7}Observation-lastn",
        resource_types=("Observation",),
    ),
    Operation(
        "bulkhead-list-find",
        "find",
        "Find the current list of a patient",
        "The List of the patient that is current and has a code of the name, the newest by its date. 404 where there is none.",
        (
            Parameter("patient", "in", 1, "1", "id", "The id of the Patient"),
            Parameter("name", "in", 1, "1", "code", f"One of {', '.join(functional_lists.CODES)}"),
            Parameter("return", "out", 1, "1", "List", "The List, as the body of the answer"),
        ),
        base=f"{_HL7}List-find",
        resource_types=("List",),
    ),
    Operation(
        "bulkhead-patient-merge",
        "merge",
        "Merge one Patient into another",
        "The target replaces the source, and has its identifiers as old ones; the source is not active, and replaced by the target. "
        "What refers to the source stays as it is, and the target answers for both. To send it again changes nothing.",
        (
            Parameter(
                "source-patient", "in", 0, "1", "Reference", "The Patient that is replaced: this, or identifiers"
            ),
            Parameter(
                "source-patient-identifier",
                "in",
                0,
                "*",
                "Identifier",
                "Identifiers of the source: one Patient has them all",
            ),
            Parameter("target-patient", "in", 0, "1", "Reference", "The Patient that stays: this, or identifiers"),
            Parameter(
                "target-patient-identifier",
                "in",
                0,
                "*",
                "Identifier",
                "Identifiers of the target: one Patient has them all",
            ),
            Parameter(
                "result-patient", "in", 0, "1", "Patient", "The target as it is to be, with its link to the source"
            ),
            Parameter(
                "preview", "in", 0, "1", "boolean", "Whether only to tell what the result would be; default false"
            ),
            Parameter(
                "delete-source",
                "in",
                0,
                "1",
                "boolean",
                "Whether the source is deleted, where nothing refers to it; default false",
            ),
            Parameter("batch-size", "in", 0, "1", "integer", "Without effect, since no resource is moved"),
            Parameter(
                "return", "out", 1, "1", "Parameters", "input, outcome (OperationOutcome) and result (the target)"
            ),
        ),
        affects_state=True,
        base=f"{_HL7}Patient-merge",
        resource_types=("Patient",),
    ),
    _of_bundle(
        "bulkhead-patient-merge-bundle",
        "patient-merge",
        "Take over a merge of an identity source",
        description="Takes a Bundle with both Patients, as they are after the merge, and does it as one transaction; as POST service/patient/merge.",
        contents="Two Patients: one replaces the other, which is not active and replaced-by it",
    ),
    _of_bundle(
        "bulkhead-document-new",
        "document-new",
        "Add a document",
        description="Takes a Bundle with a document and its bytes, and does it as one transaction; as POST service/document/new.",
        contents="A Binary, a current DocumentReference that points at it, perhaps a Provenance of that",
    ),
    _of_bundle(
        "bulkhead-document-update",
        "document-update",
        "Replace a document",
        description="Takes a Bundle with both versions of a document, and does it as one transaction; as POST service/document/update.",
        contents="A Binary, the old DocumentReference, superseded, the new one, which replaces it, perhaps a Provenance of both",
    ),
    Operation(
        "bulkhead-meta",
        "meta",
        "Read the meta of a resource",
        "Profiles, tags, security labels, version and accounts of one resource, or of one of its versions.",
        (_META_OUT,),
        base=f"{_HL7}Resource-meta",
    ),
    Operation(
        "bulkhead-meta-add",
        "meta-add",
        "Add profiles, tags and security labels",
        "Elements that the resource has already are not added again. A change makes a new version, which histories and caches see.",
        (Parameter("meta", "in", 1, "1", "Meta", "Profiles, tags and security labels to add"), _META_OUT),
        affects_state=True,
        base=f"{_HL7}Resource-meta-add",
    ),
    Operation(
        "bulkhead-meta-delete",
        "meta-delete",
        "Remove profiles, tags and security labels",
        "Elements that the resource does not have are ignored. A change makes a new version, which histories and caches see.",
        (Parameter("meta", "in", 1, "1", "Meta", "Profiles, tags and security labels to remove"), _META_OUT),
        affects_state=True,
        base=f"{_HL7}Resource-meta-delete",
    ),
    Operation(
        "bulkhead-upload",
        "upload",
        "Upload a Bundle that is too large for a request",
        "PUT the Bundle (JSON or XML, gzipped or not) to `url` until it expires. Then POST `next` to the base with "
        "`Prefer: respond-async`: the Bundle is processed as if it had been the body.",
        (
            Parameter(
                "upload", "out", 1, "1", "id", "The id of the upload; only the caller who asked for it may use it"
            ),
            Parameter("method", "out", 1, "1", "code", "PUT"),
            Parameter("url", "out", 1, "1", "url", "Where to PUT the Bundle, without a token"),
            Parameter("expires", "out", 1, "1", "instant", "The time when the url expires"),
            Parameter(
                "next", "out", 1, "1", "Parameters", "The Parameters to POST to the base once the Bundle is uploaded"
            ),
        ),
        system=True,
    ),
)

BY_ID: Mapping[str, Operation] = {operation.id: operation for operation in OPERATIONS}


def offered(served: Served) -> tuple[Operation, ...]:
    """The operations that the server answers now."""
    paths = {path for _, path in served}
    return tuple(operation for operation in OPERATIONS if operation.paths & paths)


def url(base: str, operation: Operation) -> str:
    """The canonical URL, which is where the definition can be read."""
    return f"{base}/OperationDefinition/{operation.id}"


def definition(operation: Operation, base: str, served: Served) -> dict[str, Any]:
    """The OperationDefinition, as plain JSON data. `base` is the server's base URL."""
    paths = {path for _, path in served}
    made: dict[str, Any] = {
        "resourceType": "OperationDefinition",
        "id": operation.id,
        "url": url(base, operation),
        "version": VERSION,
        "name": "".join(word.title() for word in operation.id.split("-")),
        "title": operation.title,
        "status": "active",
        "kind": "operation",
        "date": RELEASED,
        "publisher": "Bulkhead",
        "description": operation.description,
        "affectsState": operation.affects_state,
        "code": operation.code,
        **({} if operation.system else {"resource": list(operation.resource_types) or ["Resource"]}),
        "system": operation.system and operation.system_path in paths,
        "type": operation.type_path in paths,
        "instance": operation.path in paths,
        "parameter": [_parameter(parameter) for parameter in operation.parameters],
    }
    return made | ({"base": operation.base} if operation.base else {})


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": parameter.name,
        "use": parameter.use,
        "min": parameter.min,
        "max": parameter.max,
        "documentation": parameter.documentation,
    }
    if parameter.type:
        made["type"] = parameter.type
    if parameter.parts:
        made["part"] = [_parameter(part) for part in parameter.parts]
    return made
