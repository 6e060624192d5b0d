"""The CDK app; `cdk synth` and `cdk deploy` run it (cdk.json), with the context keys of `infra.deployment`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import deployment, node

if TYPE_CHECKING:
    from aws_cdk import App

ASSETS_OF_NO_STACK: list[str] = []


def application(context: Mapping[str, Any] | None = None, output: Path | None = None) -> App:
    """The app with its stack, not yet synthesised. The cdk command passes context and output folder by the environment.

    ValueError where a context key has a value that `infra.deployment` does not allow.
    """
    node.use()
    # jsii starts node when it is first imported.
    from aws_cdk import App

    from infra.stack import BulkheadStack

    app = App(context=context, outdir=str(output) if output else None)
    described = deployment.from_context(app.node)
    if described.layers == "skip":
        # CDK's own switch: assets are taken unbundled from their source folders.
        app.node.set_context("aws:cdk:bundling-stacks", ASSETS_OF_NO_STACK)
    BulkheadStack(app, described)
    return app


if __name__ == "__main__":
    application().synth()
