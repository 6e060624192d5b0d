"""The HTTP API is the route table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkhead.api.routes import ROUTES, Route
from tests.infrastructure.synthesis import Template, referred

HEADER = "$request.header.Authorization"


def routes_of(template: Template) -> dict[str, dict[str, Any]]:
    return {properties["RouteKey"]: properties for properties in template.of_type("AWS::ApiGatewayV2::Route").values()}


def test_no_route_beside_the_table(template: Template) -> None:
    assert set(routes_of(template)) == {route.key for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_route_leads_to_its_function(template: Template, route: Route) -> None:
    target = routes_of(template)[route.key]["Target"]["Fn::Join"][1]
    assert target[0] == "integrations/"
    integration = template.resources[referred(target[1])]["Properties"]
    assert (integration["IntegrationType"], integration["PayloadFormatVersion"]) == ("AWS_PROXY", "2.0")
    assert template.function_named(integration["IntegrationUri"]) == route.function


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_route_asks_for_a_token_unless_it_is_public(template: Template, route: Route) -> None:
    properties = routes_of(template)[route.key]
    if route.public:
        assert properties["AuthorizationType"] == "NONE"
        assert "AuthorizerId" not in properties
    else:
        assert properties["AuthorizationType"] == "JWT"
        assert referred(properties["AuthorizerId"]) in template.of_type("AWS::ApiGatewayV2::Authorizer")


def test_one_integration_and_one_permission_a_function(template: Template) -> None:
    integrations = template.of_type("AWS::ApiGatewayV2::Integration").values()
    permissions = [
        permission
        for permission in template.of_type("AWS::Lambda::Permission").values()
        if permission["Principal"] == "apigateway.amazonaws.com"
    ]
    expected = sorted({route.function for route in ROUTES})
    assert sorted(template.function_named(integration["IntegrationUri"]) for integration in integrations) == expected
    assert sorted(template.function_named(permission["FunctionName"]) for permission in permissions) == expected


def test_tokens_of_the_own_user_pool(template: Template) -> None:
    authorizer = template.only("AWS::ApiGatewayV2::Authorizer")
    assert (authorizer["AuthorizerType"], authorizer["IdentitySource"]) == ("JWT", [HEADER])
    configuration = authorizer["JwtConfiguration"]
    assert referred(configuration["Issuer"]) in template.of_type("AWS::Cognito::UserPool")
    assert {referred(audience) for audience in configuration["Audience"]} == set(
        template.of_type("AWS::Cognito::UserPoolClient")
    )


def test_tokens_of_an_issuer_from_elsewhere(trial: Template) -> None:
    configuration = trial.only("AWS::ApiGatewayV2::Authorizer")["JwtConfiguration"]
    assert configuration == {"Issuer": "https://issuer.example", "Audience": ["one", "two"]}
    assert not trial.of_type("AWS::Cognito::UserPool")


def test_access_log_holds_no_path_and_no_query(template: Template) -> None:
    stage = template.only("AWS::ApiGatewayV2::Stage")
    assert referred(stage["AccessLogSettings"]["DestinationArn"]) in template.of_type("AWS::Logs::LogGroup")
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert {"$context.requestId", "$context.routeKey", "$context.status"} <= logged
    assert not {
        variable for variable in logged if "path" in variable or "query" in variable.lower() or "Ip" in variable
    }


def test_requests_are_throttled(template: Template) -> None:
    settings = template.only("AWS::ApiGatewayV2::Stage")["DefaultRouteSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (500, 1000)


def test_browsers_of_every_origin_may_call(template: Template) -> None:
    configuration = template.only("AWS::ApiGatewayV2::Api")["CorsConfiguration"]
    assert configuration["AllowOrigins"] == ["*"]
    assert {"GET", "HEAD", "PUT", "PATCH", "DELETE", "POST"} <= set(configuration["AllowMethods"])
    assert {"Authorization", "If-Match", "Prefer"} <= set(configuration["AllowHeaders"])
    assert {"ETag", "Content-Location"} <= set(configuration["ExposeHeaders"])
    # With a token goes no cookie: an origin of `*` may not have credentials.
    assert not configuration.get("AllowCredentials")
    # A preflight carries no token, and comes by $default.
    assert routes_of(template)["$default"]["AuthorizationType"] == "NONE"
