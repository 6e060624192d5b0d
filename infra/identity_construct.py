"""Whose tokens are accepted: an OIDC issuer that is there already, or a Cognito user pool of the stack's own."""

from __future__ import annotations

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from infra.deployment import Deployment

# Cognito names a scope `<resource server>/<scope>`: with the server `system` it is SMART's own `system/*.cruds`.
SCOPES = {
    "system": {
        "*.cruds": "Create, read, update, delete and search every resource",
        "*.rs": "Read and search every resource",
    },
    "bulkhead": {"accounts.write": "Set the accounts of resources", "purge": "Erase resources for good"},
}


class IdentityConstruct(Construct):
    """`issuer` and `audience` are what the API's JWT authorizer checks; `settings` is what clients are told."""

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self.issuer = deployment.issuer
        self.settings: dict[str, str] = {}
        self.audience = deployment.audiences
        if not self.issuer:
            pool = self._user_pool(deployment)
            client = self._backend_client(pool)
            self.issuer = pool.user_pool_provider_url
            self.audience = [client.user_pool_client_id]
        self.settings["ISSUER"] = self.issuer

    def _user_pool(self, deployment: Deployment) -> cognito.UserPool:
        """Users are made by administrators, sign in with a second factor, and keep a strong password."""
        pool = cognito.UserPool(
            self,
            "UserPool",
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            password_policy=cognito.PasswordPolicy(
                min_length=14, require_digits=True, require_lowercase=True, require_symbols=True, require_uppercase=True
            ),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            deletion_protection=deployment.retained,
            removal_policy=RemovalPolicy.RETAIN if deployment.retained else RemovalPolicy.DESTROY,
        )
        # A prefix is unique in its region, among all AWS accounts.
        domain = pool.add_domain(
            "Domain",
            cognito_domain=cognito.CognitoDomainOptions(domain_prefix=f"{deployment.name.lower()}-{Aws.ACCOUNT_ID}"),
        )
        self.settings["AUTHORIZATION_ENDPOINT"] = f"{domain.base_url()}/oauth2/authorize"
        self.settings["TOKEN_ENDPOINT"] = f"{domain.base_url()}/oauth2/token"
        return pool

    def _backend_client(self, pool: cognito.UserPool) -> cognito.UserPoolClient:
        """A client of the SMART backend services kind: a program with a secret, that acts for no user."""
        scopes = []
        for name, descriptions in SCOPES.items():
            parts = [
                cognito.ResourceServerScope(scope_name=key, scope_description=text)
                for key, text in descriptions.items()
            ]
            server = pool.add_resource_server(f"{name.title()}Scopes", identifier=name, scopes=parts)
            scopes += [cognito.OAuthScope.resource_server(server, part) for part in parts]
        return pool.add_client(
            "Backend",
            generate_secret=True,
            o_auth=cognito.OAuthSettings(flows=cognito.OAuthFlows(client_credentials=True), scopes=scopes),
            access_token_validity=Duration.minutes(15),
        )
