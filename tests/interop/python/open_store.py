"""Opens a live store from the root key down to the content, with PyPI's `cryptography` (50 or newer).

It shares no code with Cedarkeep: the hierarchy, the bindings and the stored values are read as they are documented
(ARCHITECTURE.md, `Keys`). Reads one JSON object: the text of the keyring, and rows as the databases hold them, bytes in
hex. Writes a JSON object a line: {"state": id, "text": hex}, or {"version": name, "label": {...}, "content": hex}, or
{"refused": what, "why": ...}; and exits with 1 if anything was refused.
"""

import hashlib
import hmac
import json
import struct
import sys

from cryptography.cobblestone import Cobblestone256Decryptor

FORMAT = 2
PREFIX = 5  # format, key version


def fields(*values: bytes) -> bytes:
    """Each behind its length."""
    return b"".join(struct.pack(">Q", len(value)) + value for value in values)


def context(place, purpose: str, version: int) -> bytes:
    """What a value is bound to: the SHA-256 of label, place, purpose and version of the key."""
    tenant, incarnation, table, column, row, row_version = place
    texts = [tenant, incarnation, table, column, row]
    bound = fields(
        b"cedarkeep/sealed/1",
        *(text.encode() for text in texts),
        struct.pack(">Q", row_version),
        purpose.encode(),
        struct.pack(">I", version),
    )
    return hashlib.sha256(bound).digest()


class Keys:
    """Every version of a key of one purpose."""

    def __init__(self, purpose: str, versions: dict[int, bytes]):
        self.purpose = purpose
        self.versions = versions

    def open(self, place, stored: bytes) -> bytes:
        if stored[0] != FORMAT:
            raise ValueError(f"a stored value of format {stored[0]}")
        (version,) = struct.unpack(">I", stored[1:PREFIX])
        key = self.versions[version]
        decryptor = Cobblestone256Decryptor(key, context(place, self.purpose, version))
        return decryptor.update(stored[PREFIX:]) + decryptor.finalize()

    def unwrap(self, place, row, purpose: str, version: int) -> bytes:
        key = self.open(place, bytes.fromhex(row["wrapped"]))
        check = fields(b"cedarkeep/key-check/1", purpose.encode(), struct.pack(">I", version))
        if hmac.digest(key, check, "sha256")[:8].hex() != row["key_check"]:
            raise ValueError(f"another key of purpose {purpose}")
        return key


def roots(keyring: str) -> Keys:
    lines = [line.split() for line in keyring.splitlines()]
    found = {int(line[1]): bytes.fromhex(line[2]) for line in lines if line[:1] == ["root"]}
    return Keys("tenant-wrap", found)


class Store:
    """A tenant's keys, opened by its root key."""

    def __init__(self, rows):
        self.tenant = rows["tenant"]
        self.lives = [(life["first"], life["incarnation"]) for life in rows["lives"]]
        top = rows["tenant_key"]
        place = (self.tenant, "", "tenants", "key", self.tenant, top["version"])
        key = roots(rows["keyring"]).unwrap(place, top, "data-wrap", top["version"])
        key = Keys("data-wrap", {top["version"]: key})
        self.data = {}
        for row in rows["data_keys"]:
            purpose, version = row["purpose"], row["version"]
            place = (self.tenant, "", "data_keys", "wrapped", purpose, version)
            of_purpose = self.data.setdefault(purpose, Keys(purpose, {}))
            of_purpose.versions[version] = key.unwrap(place, row, purpose, version)
        self.subjects = {}
        for row in rows["subject_keys"]:
            place = (self.tenant, "", "subject_keys", "wrapped", row["subject"], 1)
            subject = self.data["subject-wrap"].unwrap(place, row, "subject", 1)
            self.subjects[row["subject"]] = Keys("subject", {1: subject})

    def place(self, index: int, table: str, column: str, row: str, row_version: int):
        incarnation = [life for first, life in self.lives if first <= index][-1]
        return (self.tenant, incarnation, table, column, row, row_version)

    def state(self, row):
        place = self.place(row["from_index"], "state", "body", row["id"], row["from_index"])
        text = self.data["records"].open(place, bytes.fromhex(row["body"]))
        return {"state": row["id"], "text": text.hex()}

    def content(self, row):
        name = f"{row['resource']}/{row['version']}"

        def place(column: str):
            return self.place(row["from_index"], "content", column, name, 0)

        above = self.subjects[row["subject"]] if row["subject"] else self.data["content-wrap"]
        key = Keys("content", {1: above.unwrap(place("wrapped"), row, "content", 1)})
        body = key.open(place("body"), bytes.fromhex(row["body"]))
        (length,) = struct.unpack(">I", body[:4])
        label, content = json.loads(body[4 : 4 + length]), body[4 + length :]
        if row["shelf"] is not None:
            content = key.open(place("shelf"), bytes.fromhex(row["shelf"]))
        return {"version": row["version"], "label": label, "content": content.hex()}


def main() -> int:
    rows = json.load(sys.stdin)
    store = Store(rows)
    refused = 0
    for open_one, table in [(store.state, "state"), (store.content, "content")]:
        for row in rows[table]:
            try:
                told = open_one(row)
            except Exception as error:  # each kind of refusal is one here
                refused = 1
                name = row.get("version") or row.get("id")
                told = {"refused": name, "why": f"{type(error).__name__} {error}".rstrip()}
            print(json.dumps(told), flush=True)
    return refused


if __name__ == "__main__":
    sys.exit(main())
