"""The HTTP API is the route table, as API Gateway gets it."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from bulkhead.api.routes import DEFAULT, GATEWAY, Route
from tests.support.synthesis import ISSUER, Template, referred

HEADER = "$request.header.Authorization"


def routes_of(template: Template) -> dict[str, dict[str, Any]]:
    return {properties["RouteKey"]: properties for properties in template.of_type("AWS::ApiGatewayV2::Route").values()}


def test_no_route_beside_the_table(template: Template) -> None:
    assert set(routes_of(template)) == {route.key for route in GATEWAY}


@pytest.mark.parametrize("route", GATEWAY, ids=lambda route: route.key)
def test_a_route_leads_to_its_function(template: Template, route: Route) -> None:
    target = routes_of(template)[route.key]["Target"]["Fn::Join"][1]
    assert target[0] == "integrations/"
    integration = template.resources[referred(target[1])]["Properties"]
    assert (integration["IntegrationType"], integration["PayloadFormatVersion"]) == ("AWS_PROXY", "2.0")
    assert template.function_named(integration["IntegrationUri"]) == route.function


@pytest.mark.parametrize("route", GATEWAY, ids=lambda route: route.key)
def test_a_route_asks_for_a_token_unless_it_is_public(template: Template, route: Route) -> None:
    properties = routes_of(template)[route.key]
    if route.public:
        assert properties["AuthorizationType"] == "NONE"
        assert "AuthorizerId" not in properties
    else:
        assert properties["AuthorizationType"] == "JWT"
        assert referred(properties["AuthorizerId"]) in template.of_type("AWS::ApiGatewayV2::Authorizer")


def allowed_sources(template: Template) -> dict[str, list[str]]:
    """By function, the calls of API Gateway that its permissions match, after `execute-api:REGION:ACCOUNT:API/`."""
    allowed: dict[str, list[str]] = {}
    for permission in template.of_type("AWS::Lambda::Permission").values():
        if permission["Principal"] == "apigateway.amazonaws.com":
            source = permission["SourceArn"]["Fn::Join"][1]
            assert referred(source[-2]) in template.of_type("AWS::ApiGatewayV2::Api")
            allowed.setdefault(template.function_named(permission["FunctionName"]), []).append(source[-1].lstrip("/"))
    return allowed


def test_one_integration_a_function_and_a_permission_for_each_of_its_routes(template: Template, full: Template) -> None:
    """ArnLike compares what is between colons as a whole, and its `*` takes any characters, slashes too."""
    integrations = template.of_type("AWS::ApiGatewayV2::Integration").values()
    expected = sorted({route.function for route in GATEWAY})
    assert sorted(template.function_named(integration["IntegrationUri"]) for integration in integrations) == expected
    for each in (template, full):
        allowed = allowed_sources(each)
        assert sorted(allowed) == expected
        # The 20 KB of a function's policy leave no room for one of each route.
        assert all(len(sources) <= 2 for sources in allowed.values())
        for route in GATEWAY:
            called = "$default/$default" if route.path == DEFAULT else f"$default/{route.method}{route.path}"
            assert any(fnmatchcase(called, source) for source in allowed[route.function]), route.key


def test_tokens_of_the_issuer(template: Template) -> None:
    authorizer = template.only("AWS::ApiGatewayV2::Authorizer")
    assert (authorizer["AuthorizerType"], authorizer["IdentitySource"]) == ("JWT", [HEADER])
    assert authorizer["JwtConfiguration"] == {"Issuer": ISSUER, "Audience": ["one", "two"]}


def test_routes_are_made_one_after_the_other(template: Template) -> None:
    """API Gateway's control plane takes few changes a second: all at once would be throttled, and the deployment fail."""
    routes = {i: r for i, r in template.resources.items() if r["Type"] == "AWS::ApiGatewayV2::Route"}
    before = {i: {each for each in r.get("DependsOn", []) if each in routes} for i, r in routes.items()}
    done: list[str] = []
    while len(done) < len(routes):
        ready = [route for route in routes if route not in done and before[route] <= set(done)]
        assert len(ready) == 1
        done += ready


def test_routes_without_a_token_have_throttles_of_their_own(template: Template) -> None:
    ((stage, resource),) = [(i, r) for i, r in template.resources.items() if r["Type"] == "AWS::ApiGatewayV2::Stage"]
    limits = {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 40}
    expected = {route.key: limits for route in GATEWAY if route.public}
    # Several people may open the console at once.
    for method in ("GET", "HEAD"):
        expected[f"{method} /console/{{file}}"] = {"ThrottlingRateLimit": 100, "ThrottlingBurstLimit": 200}
    assert resource["Properties"]["RouteSettings"] == expected
    # API Gateway refuses settings of a route that it does not have yet.
    assert any(template.resources[each]["Type"] == "AWS::ApiGatewayV2::Route" for each in resource["DependsOn"]), stage


def test_what_anybody_reaches_is_small_and_reads_definitions_only(template: Template) -> None:
    public = {route.function for route in GATEWAY if route.public}
    assert public == {"capabilities"}
    assert not {route.operation for route in GATEWAY if route.function in public and not route.public}
    sizes = {name: function["MemorySize"] for name, function in template.functions().items()}
    assert all(sizes["capabilities"] < size for name, size in sizes.items() if name != "capabilities")


def test_access_log_holds_no_path_and_no_query(template: Template) -> None:
    stage = template.only("AWS::ApiGatewayV2::Stage")
    assert referred(stage["AccessLogSettings"]["DestinationArn"]) in template.of_type("AWS::Logs::LogGroup")
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert {"$context.requestId", "$context.routeKey", "$context.status"} <= logged
    assert not {
        variable for variable in logged if "path" in variable or "query" in variable.lower() or "Ip" in variable
    }


def test_logs_that_services_deliver_leave_the_resource_policy_of_the_account_alone(template: Template) -> None:
    delivered = [template.only("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["DestinationArn"]]
    delivered += [
        machine["LoggingConfiguration"]["Destinations"][0]["CloudWatchLogsLogGroup"]["LogGroupArn"]
        for machine in template.of_type("AWS::StepFunctions::StateMachine").values()
    ]
    names = [template.resources[referred(arn)]["Properties"]["LogGroupName"]["Fn::Join"][1] for arn in delivered]
    assert len({name[0] for name in names}) == 3
    for prefix, incarnation in names:
        assert prefix.startswith("/aws/vendedlogs/Bulkhead/")
        # One that an earlier stack of this name left behind has another name.
        assert incarnation == {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}


def test_requests_are_throttled(template: Template) -> None:
    stage = template.only("AWS::ApiGatewayV2::Stage")
    settings = stage["DefaultRouteSettings"]
    # Metrics of each route cost money, and nothing reads them.
    assert not settings.get("DetailedMetricsEnabled")
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
