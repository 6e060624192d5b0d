"""Bulkhead's domain: FHIR R4 resources in compartments, on one DynamoDB table. Imports no HTTP, no Lambda, no CDK."""
