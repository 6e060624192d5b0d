"""Requests that are right, nearly right and nonsense, made from a number: the same number makes the same requests.

dice       choices of one sequence
seeds      resources, bundles, operations that are right
structure  resources made from R4's element tables, and JSON that is nearly right
documents  XML that is nearly right: namespaces, CDATA, entities, comments, repeated ids
parameters SearchParameters with expressions of any kind, and searches by them
requests   whole requests, of each kind
edge       where they are sent, and what every answer is held to
"""
