"""Bundles in the background (`Prefer: respond-async` on `POST [base]`): taking them in, processing them once, telling of them.

The body waits in S3, the job's item says for whom and how to process it. Whatever dies wherever, a transaction is done once or not
at all, and the job says which: its state changes in the commit itself (`store.receipts`).
"""
