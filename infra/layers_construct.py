"""The code that runs: two layers (third-party packages, the domain) and the handlers' own zip file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import Annotations, AssetHashType, BundlingOptions, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import bundling

RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64


@jsii.implements(ILocalBundling)
class LocalBundling:
    """Has CDK call a function of `infra.bundling` where it would start a container."""

    def __init__(self, build: bundling.Build) -> None:
        self._build = build

    def try_bundle(self, output_dir: str, *_options: Any, **_named_options: Any) -> bool:
        self._build(Path(output_dir))
        return True


def code(source: Path, build: bundling.Build) -> lambda_.Code:
    """A zip file made by `build`. The hash is the outcome's: another target platform is another asset."""
    return lambda_.Code.from_asset(
        str(source),
        asset_hash_type=AssetHashType.OUTPUT,
        bundling=BundlingOptions(image=DockerImage.from_registry("never-used"), local=LocalBundling(build)),
    )


class LayersConstruct(Construct):
    def __init__(self, scope: Construct, construct_id: str, *, host: bool) -> None:
        """`host`: third-party packages for this machine, for an emulator that runs the functions on it."""
        super().__init__(scope, construct_id)
        build = partial(bundling.build_dependencies, host=host)
        self.dependencies = self._layer("Dependencies", code(bundling.DEPENDENCIES, build))
        self.domain = self._layer("Domain", code(bundling.DOMAIN, bundling.build_domain))
        self.handlers = code(bundling.FUNCTIONS, bundling.build_functions)
        if bundling.lambda_python() is None:
            Annotations.of(self).add_warning_v2(
                "bulkhead:byte-code",
                "no python3.13 (PATH, LAMBDA_PYTHON): zip files hold no byte code, cold starts take seconds longer",
            )

    @property
    def versions(self) -> list[lambda_.LayerVersion]:
        return [self.dependencies, self.domain]

    def _layer(self, construct_id: str, contents: lambda_.Code) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self, construct_id, code=contents, compatible_runtimes=[RUNTIME], compatible_architectures=[ARCHITECTURE]
        )
