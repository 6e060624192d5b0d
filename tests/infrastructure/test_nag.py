"""cdk-nag's rules for AWS solutions and for HIPAA hold, but where `infra.acknowledgements` gives a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import app, node
from tests.infrastructure.conftest import FULL
from tests.support.synthesis import CDK_JSON, NEEDED

# Alarms notify someone in a deployment that holds patient data.
OPERATED = {"alarm_topic": "arn:aws:sns:eu-west-1:111122223333:alarms"}


@pytest.mark.parametrize("context", [OPERATED, FULL], ids=["operated", "full"])
def test_nothing_is_left_unexplained(context: dict[str, str], tmp_path: Path) -> None:
    node.use()
    cdk_nag = pytest.importorskip("cdk_nag", reason="cdk-nag is not installed")
    from aws_cdk import Validations

    application = app.application({**CDK_JSON["context"], **NEEDED, **context}, tmp_path)
    Validations.of(application).add_plugins(
        cdk_nag.AwsSolutionsChecks(application), cdk_nag.HIPAASecurityChecks(application)
    )
    # Raises, with a report, where a rule is broken.
    application.synth()
