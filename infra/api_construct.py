"""The HTTP API: one route for each of `bulkhead.api.routes.GATEWAY`, one integration for each function."""

from __future__ import annotations

import json
from collections.abc import Mapping

import jsii
from aws_cdk import Duration, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_authorizers import HttpJwtAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from bulkhead.api.routes import DEFAULT, GATEWAY, Route
from infra import cors
from infra.deployment import Deployment
from infra.log_groups import delivered_log_group

# The route key stands for the path, and the query string is left out: both may hold identifiers of patients.
ACCESS_LOG = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "route": "$context.routeKey",
    "status": "$context.status",
    "responseLength": "$context.responseLength",
    "latency": "$context.responseLatency",
    "integrationLatency": "$context.integrationLatency",
    "integrationStatus": "$context.integrationStatus",
    "error": "$context.error.responseType",
    "subject": "$context.authorizer.claims.sub",
}

# How many times as many requests as others the route of the console's files may have.
FILES_AT_ONCE = 5


@jsii.implements(apigatewayv2.IAccessLogSettings)
class AccessLog:
    """One line of JSON for each request, in a log group."""

    def __init__(self, destination: logs.ILogGroup) -> None:
        self._destination = apigatewayv2.LogGroupLogDestination(destination)

    @property
    def destination(self) -> apigatewayv2.LogGroupLogDestination:
        return self._destination

    @property
    def format(self) -> apigateway.AccessLogFormat:
        return apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG))


class ApiConstruct(Construct):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        targets: Mapping[str, lambda_.IFunction],
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self.api = apigatewayv2.HttpApi(
            self,
            "HttpApi",
            description="Bulkhead, a FHIR R4 server",
            create_default_stage=False,
            cors_preflight=apigatewayv2.CorsPreflightOptions(
                allow_origins=list(cors.ORIGINS),
                allow_methods=[apigatewayv2.CorsHttpMethod(method) for method in cors.METHODS],
                allow_headers=list(cors.REQUEST_HEADERS),
                expose_headers=list(cors.ANSWER_HEADERS),
                max_age=Duration.seconds(cors.MAX_AGE),
            ),
        )
        routes = self._add_routes(
            targets, HttpJwtAuthorizer("Issuer", deployment.issuer, jwt_audience=deployment.audiences)
        )
        self.stage = apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(
                rate_limit=deployment.request_rate, burst_limit=2 * deployment.request_rate
            ),
            access_log_settings=AccessLog(delivered_log_group(self, "AccessLog", deployment, kind="api")),
        )
        self._let_default_route_in(targets)
        self._throttle_public_routes(deployment.public_rate)
        # Its settings name routes, which must be there.
        self.stage.node.add_dependency(routes[-1])

    def _add_routes(self, targets: Mapping[str, lambda_.IFunction], authorizer: HttpJwtAuthorizer) -> list[Construct]:
        """One after the other: API Gateway takes so few changes a second that all at once would be throttled."""
        integrations = {
            name: HttpLambdaIntegration(
                name.title(),
                targets[name],
                payload_format_version=apigatewayv2.PayloadFormatVersion.VERSION_2_0,
                # One permission a function: the 20 KB of its policy leave no room for one a route.
                scope_permission_to_route=False,
            )
            for name in dict.fromkeys(route.function for route in GATEWAY)
        }
        made: list[Construct] = []
        for route in GATEWAY:
            added = apigatewayv2.HttpRoute(
                self,
                f"{route.method} {route.path}",
                http_api=self.api,
                route_key=_route_key(route),
                integration=integrations[route.function],
                authorizer=None if route.public else authorizer,
            )
            if made:
                added.node.add_dependency(made[-1])
            made.append(added)
        return made

    def _let_default_route_in(self, targets: Mapping[str, lambda_.IFunction]) -> None:
        """The source of its calls is `API/STAGE/$default`, which the permission for all other routes, `API/*/*/*`, does not match."""
        (function,) = {route.function for route in GATEWAY if route.path == DEFAULT}
        source = Stack.of(self).format_arn(
            service="execute-api", resource=self.api.api_id, resource_name=f"*/{DEFAULT}"
        )
        targets[function].add_permission(
            "DefaultRoute", principal=iam.ServicePrincipal("apigateway.amazonaws.com"), source_arn=source, scope=self
        )

    def _throttle_public_routes(self, rate: int) -> None:
        """What anybody may call has a bucket of its own, and leaves the rest to those with a token."""
        stage = self.stage.node.default_child
        assert isinstance(stage, apigatewayv2.CfnStage)
        stage.route_settings = {route.key: _limits(route, rate) for route in GATEWAY if route.public}


def _limits(route: Route, rate: int) -> dict[str, int]:
    """The throttle of a public route. Who opens the console asks for two dozen files at once, and then for none for minutes."""
    many = FILES_AT_ONCE if route.operation == "console-file" else 1
    return {"ThrottlingRateLimit": many * rate, "ThrottlingBurstLimit": 2 * many * rate}


def _route_key(route: Route) -> apigatewayv2.HttpRouteKey:
    if route.path == DEFAULT:
        return apigatewayv2.HttpRouteKey.DEFAULT
    return apigatewayv2.HttpRouteKey.with_(route.path, apigatewayv2.HttpMethod(route.method))
