"""The code that runs: layers (third-party packages, what seals page links, the domain) and the handlers' own zip file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, ILocalBundling
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
        self.dependencies, self.sealing = (
            self._layer(source.name.title(), code(source, partial(bundling.build_dependencies, source, host=host)))
            for source in (bundling.DEPENDENCIES, bundling.SEALING)
        )
        self.domain = self._layer("Domain", code(bundling.DOMAIN, partial(bundling.build_domain, host=host)))
        self.handlers = code(bundling.FUNCTIONS, partial(bundling.build_functions, host=host))

    def versions(self, *, seals: bool) -> list[lambda_.ILayerVersion]:
        """The layers of a function. What seals page links is half as large again as all other packages: not everybody loads it."""
        return [self.dependencies, *([self.sealing] if seals else []), self.domain]

    def _layer(self, construct_id: str, contents: lambda_.Code) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self, construct_id, code=contents, compatible_runtimes=[RUNTIME], compatible_architectures=[ARCHITECTURE]
        )
