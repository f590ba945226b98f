// Holds receipts against the npm package @sigstore/verify (4.1.3): its checkpoint parser, its signatures and its Merkle proofs.
//
// Reads one JSON object a line from standard input, {"keys": ["name+hash+key"], "receipt": "..."}, and writes "ok", or
// "refused: " and why, for each. Lines of another "check" than "receipt" are refused. The first argument is the folder
// with node_modules.

"use strict";
const path = require("node:path");
const readline = require("node:readline");
const { createPublicKey } = require("node:crypto");

const dist = path.join(process.argv[2], "node_modules", "@sigstore", "verify", "dist", "tlog");
const { verifyCheckpoint } = require(path.join(dist, "checkpoint.js"));
const { verifyMerkleInclusion } = require(path.join(dist, "merkle.js"));

// The prefix of an Ed25519 key in DER (RFC 8410).
const DER = Buffer.from("302a300506032b6570032100", "hex");

/** Base 64 as it is written, and in no other way. */
function bytes(text) {
  const read = Buffer.from(text, "base64");
  if (read.toString("base64") !== text) throw new Error("not base 64");
  return read;
}

/** A key of a signed note as the package knows a log. */
function logOf(text) {
  const [name, id, ...rest] = text.split("+");
  const key = bytes(rest.join("+"));
  if (key[0] !== 1) throw new Error("not an Ed25519 key");
  const publicKey = createPublicKey({
    key: Buffer.concat([DER, key.subarray(1)]),
    format: "der",
    type: "spki",
  });
  return { logID: Buffer.from(id, "hex"), publicKey, baseURL: name };
}

function check(question) {
  if (question.check !== "receipt") throw new Error("there is no such check");
  const receipt = question.receipt;
  const end = receipt.indexOf("\n\n");
  const [header, extra, index, ...hashes] = receipt.slice(0, end).split("\n");
  const checkpoint = receipt.slice(end + 2);
  const isOne = end > 0 && header === "c2sp.org/tlog-proof@v1" && extra.startsWith("extra ") && /^index \d+$/.test(index);
  if (!isOne) throw new Error("not a receipt");
  const entry = {
    canonicalizedBody: bytes(extra.slice("extra ".length)),
    inclusionProof: {
      logIndex: index.slice("index ".length),
      hashes: hashes.map(bytes),
      checkpoint: { envelope: checkpoint },
    },
  };
  // The package reads signatures that are not written as base 64 is; what it would make of them is no alteration to it.
  for (const [, signature] of checkpoint.matchAll(/\u2014 \S+ (\S+)\n/g)) bytes(signature);
  const logs = question.keys.map(logOf);
  const origin = checkpoint.split("\n", 1)[0];
  if (!logs.some((log) => log.baseURL === origin)) throw new Error("a checkpoint of another log");
  verifyMerkleInclusion(entry, verifyCheckpoint(entry, logs));
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  try {
    check(JSON.parse(line));
    console.log("ok");
  } catch (error) {
    console.log("refused: " + String(error.message).replaceAll("\n", " "));
  }
});
