"""Audit: evidence that others can check without trusting the operator.

Every settled request and every change of configuration becomes one small entry of a transparency log
(C2SP tlog-tiles, RFC 6962 hashes, Ed25519 checkpoints). Entries hold digests, identifiers, counts and
money, never text.

    facts (bus) -> handlers -> facts -> log -> repository (leaves, tiles, gaps; the source of truth)
                                         |-> site       static files: tile/, tile/entries/, checkpoint
                                         '-> checkpoint signed, stored, then shown
    GetReceipt, GetProof, GetCheckpoint <- rpc <- log
    client's answer + evidence -> receipt.assemble_receipt -> file -> verify.verify_receipt (offline)

Pure, and all that a verifier needs: `canonical`, `merkle`, `tiles`, `note`, `checkpoint`, `entry`,
`receipt`, `verify`. In the service's folder lie `log.key` (secret), `log.pub` (the verifier key to hand
out) and `log/` (to be served or copied as it is).

Known limits: one signature, the log's own (witnesses' cosignatures would need receipts of a new format);
hashes of requests and answers are not salted, so whoever reads the log can confirm a text that he can
guess; nothing is ever removed from the log.
"""
