"""The CDK app; `cdk synth` and `cdk deploy` run it (cdk.json), with the context keys of `infra.deployment`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import bundling, deployment, discovery, node

if TYPE_CHECKING:
    from aws_cdk import App, IStackSynthesizer

    from infra.deployment import Deployment

ASSETS_OF_NO_STACK: list[str] = []


def application(
    context: Mapping[str, Any] | None = None, output: Path | None = None, synthesizer: IStackSynthesizer | None = None
) -> App:
    """The app with its stacks, not yet synthesised. The cdk command passes context and output folder by the environment.

    ValueError where a context key has a value that `infra.deployment` does not allow, where the issuer cannot be found,
    and where layers are to be built and there is no Python for their byte code.
    """
    node.use()
    # jsii starts node when it is first imported.
    from aws_cdk import App

    from infra import stacks

    app = App(context=context, outdir=str(output) if output else None)
    described = with_endpoints(deployment.from_context(app.node))
    if described.layers == "skip":
        # CDK's own switch: assets are taken unbundled from their source folders.
        app.node.set_context("aws:cdk:bundling-stacks", ASSETS_OF_NO_STACK)
    else:
        bundling.require_python(host=described.layers == "host")
    stacks.add(app, described, synthesizer)
    return app


def with_endpoints(described: Deployment) -> Deployment:
    """The deployment with the endpoints of its issuer among its settings; those that were chosen stay. ValueError."""
    if described.layers == "skip" or described.settings.keys() >= {"JWKS_URI", "TOKEN_ENDPOINT"}:
        return described
    return described.model_copy(update={"settings": {**discovery.endpoints(described.issuer), **described.settings}})


if __name__ == "__main__":
    try:
        application().synth()
    except ValueError as error:
        sys.exit(f"bulkhead: {error}")
