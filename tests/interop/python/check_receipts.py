"""Holds receipts against the PyPI package sigstore (4.5.1): its checkpoint parser, its signatures and its Merkle proofs.

Reads one JSON object a line from standard input, {"keys": ["name+hash+key"], "receipt": "..."}, and writes "ok", or
"refused: " and why, for each. Lines of another "check" than "receipt" are refused.
"""

import base64
import json
import sys
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Key
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common_v1


class Keyring:
    """One key of a signed note, under the id that the note's lines give it."""

    def __init__(self, text):
        self.name, key_id, key = text.split("+", 2)
        self.key_id = bytes.fromhex(key_id)
        typed = base64.b64decode(key, validate=True)
        if typed[:1] != b"\x01":
            raise VerificationError("not an Ed25519 key")
        der = Ed25519PublicKey.from_public_bytes(typed[1:]).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = Key(SimpleNamespace(raw_bytes=der, key_details=common_v1.PublicKeyDetails.PKIX_ED25519))

    def verify(self, *, key_id, signature, data):
        if key_id != self.key_id:
            raise VerificationError("another key")
        try:
            self.key.verify(signature, data)
        except InvalidSignature as error:
            raise VerificationError("invalid signature") from error


def entry_of(receipt, keyring):
    """The receipt as sigstore holds an entry of a log. The root is the one that the checkpoint says."""
    proof, checkpoint = receipt.split("\n\n", 1)
    header, extra, index, *path = proof.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise VerificationError("not a receipt")
    origin, size, root, *more = checkpoint.split("\n\n", 1)[0].split("\n")
    if more or origin != keyring.name or f"\u2014 {origin} " not in checkpoint:
        raise VerificationError("a checkpoint of another log")
    inclusion = SimpleNamespace(
        log_index=int(index.removeprefix("index ")),
        tree_size=int(size),
        root_hash=base64.b64decode(root, validate=True),
        hashes=[base64.b64decode(line, validate=True) for line in path],
        checkpoint=SimpleNamespace(envelope=checkpoint),
    )
    body = base64.b64decode(extra.removeprefix("extra "), validate=True)
    inner = SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=body, log_id=SimpleNamespace(key_id=keyring.key_id))
    return SimpleNamespace(_inner=inner)


def check(question):
    if question.get("check") != "receipt":
        raise VerificationError("there is no such check")
    refusal = VerificationError("no keys")
    for text in question["keys"]:
        try:
            keyring = Keyring(text)
            entry = entry_of(question["receipt"], keyring)
            verify_checkpoint(keyring, entry)
            verify_merkle_inclusion(entry)
            return
        except VerificationError as error:
            refusal = error
    raise refusal


for line in sys.stdin:
    try:
        check(json.loads(line))
        print("ok")
    except (VerificationError, ValueError) as error:
        print("refused:", str(error).replace("\n", " "))
