//! Signed heads of a log: C2SP tlog-checkpoint in a C2SP signed note, with Ed25519.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::flaw::Flaw;
use super::merkle::Hash;

/// The most bytes that are read as a checkpoint.
const LIMIT: usize = 64 * 1024;

/// The most signatures that are read; the specification asks for at least 16.
const SIGNATURE_LIMIT: usize = 32;

/// The signed note's type byte for Ed25519.
const ED25519: u8 = 1;

/// A log's name in its checkpoints, and the name of its keys: no white space, plus signs or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of one life of a tenant's log: `<deployment>/t/<tenant>/<incarnation>`.
    ///
    /// # Errors
    /// A part is empty, or cannot stand in a key's name, or the tenant or incarnation has a slash.
    pub fn tenant(deployment: &str, tenant: &str, incarnation: &str) -> Result<Self, Flaw> {
        let origin = format!("{deployment}/t/{tenant}/{incarnation}");
        let separable = [tenant, incarnation]
            .iter()
            .all(|part| !part.is_empty() && !part.contains('/'));
        if deployment.is_empty() || !separable {
            Err(not_an_origin(&origin))
        } else {
            origin.parse()
        }
    }

    /// The origin of one life of the deployment's own log: `<deployment>/log/<incarnation>`.
    ///
    /// # Errors
    /// A part is empty, or cannot stand in a key's name, or the incarnation has a slash.
    pub fn deployment(deployment: &str, incarnation: &str) -> Result<Self, Flaw> {
        let origin = format!("{deployment}/log/{incarnation}");
        if deployment.is_empty() || incarnation.is_empty() || incarnation.contains('/') {
            Err(not_an_origin(&origin))
        } else {
            origin.parse()
        }
    }

    /// As it stands in a checkpoint.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the life that it is of: what stands behind its last slash.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The origin of another life of the same log.
    ///
    /// # Errors
    /// The incarnation is empty, has a slash, or cannot stand in a key's name.
    pub fn with_incarnation(&self, incarnation: &str) -> Result<Self, Flaw> {
        let origin = format!("{}{incarnation}", self.log());
        if incarnation.is_empty() || incarnation.contains('/') {
            Err(not_an_origin(&origin))
        } else {
            origin.parse()
        }
    }

    /// Whether both are lives of one log.
    #[must_use]
    pub fn is_of_same_log(&self, other: &Self) -> bool {
        self == other || (self.log() == other.log() && self.0.contains('/'))
    }

    /// What the lives of a log have in common: everything up to the last slash.
    fn log(&self) -> &str {
        let end = self.0.rfind('/').map_or(0, |slash| slash + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

impl FromStr for Origin {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        if is_key_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(not_an_origin(text))
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A log's public key; its text is `name+hash+base64`, the form that every reader of signed notes takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: Origin,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key with which `signer` signs for the log `name`.
    #[must_use]
    pub fn of(name: Origin, signer: &SigningKey) -> Self {
        Self::with(name, signer.verifying_key())
    }

    /// From 32 bytes, as an entry of a rotation has them.
    ///
    /// # Errors
    /// Not a public key, or one of small order, under which anything verifies.
    pub fn from_bytes(name: Origin, bytes: &[u8; 32]) -> Result<Self, Flaw> {
        Ok(Self::with(name, read_bytes(bytes)?))
    }

    fn with(name: Origin, key: VerifyingKey) -> Self {
        let id = key_id(&name, &key);
        Self { name, id, key }
    }

    /// The log that it signs for.
    #[must_use]
    pub const fn name(&self) -> &Origin {
        &self.name
    }

    /// The short hash by which signatures name it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, (&self.name, self.id), ED25519, &self.key)
    }
}

impl FromStr for VerifierKey {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let (name, id, key) = read_key(text, ED25519)?;
        Ok(Self { name, id, key })
    }
}

/// The text of a key: `name+hash+base64`, where the first byte is the type of its signatures.
pub(super) fn write_key(
    f: &mut fmt::Formatter<'_>,
    (name, id): (&Origin, u32),
    kind: u8,
    key: &VerifyingKey,
) -> fmt::Result {
    let mut typed = vec![kind];
    typed.extend_from_slice(key.as_bytes());
    write!(f, "{name}+{id:08x}+{}", BASE64.encode(&typed))
}

/// Reads what [`write_key`] wrote for signatures of this type.
pub(super) fn read_key(text: &str, kind: u8) -> Result<(Origin, u32, VerifyingKey), Flaw> {
    let wrong = |what| Flaw::Key { what };
    let mut fields = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(wrong("it has not three fields"));
    };
    let name: Origin = name.parse()?;
    let key = BASE64
        .decode(key.as_bytes())
        .map_err(|_| wrong("its last field is not base 64"))?;
    let key = match key.split_first() {
        Some((found, key)) if *found == kind => key
            .try_into()
            .map_err(|_| wrong("an Ed25519 key has 32 bytes"))?,
        _ => {
            return Err(wrong(
                "its algorithm is not Ed25519, or its signatures are of another type",
            ));
        }
    };
    let key = read_bytes(key)?;
    let read = typed_key_id(&name, kind, &key);
    if format!("{read:08x}") == id {
        Ok((name, read, key))
    } else {
        Err(wrong("its hash is not that of its name and key"))
    }
}

fn read_bytes(bytes: &[u8; 32]) -> Result<VerifyingKey, Flaw> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| Flaw::Key {
        what: "it is no Ed25519 public key",
    })?;
    if key.is_weak() {
        Err(Flaw::Key {
            what: "it is a key of small order",
        })
    } else {
        Ok(key)
    }
}

/// What a log commits to: so many leaves under this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64())
    }

    /// Signs it. INVARIANT for the caller: every checkpoint that this key signed before is consistent with this one.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedCheckpoint {
        let mut signed = SignedCheckpoint {
            checkpoint: self,
            signatures: Vec::new(),
        };
        signed.also_sign(key);
        signed
    }

    pub(super) fn parse(text: &str) -> Result<Self, Flaw> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) = (
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
        ) else {
            return Err(Flaw::Note {
                what: "its text is not three lines",
            });
        };
        let parsed: u64 = size.parse().map_err(|_| Flaw::Note {
            what: "its second line is not a size",
        })?;
        if parsed.to_string() != size {
            return Err(Flaw::Note {
                what: "its size is not written plainly",
            });
        }
        let root = Hash::from_base64(root).ok_or(Flaw::Note {
            what: "its third line is not a hash",
        })?;
        Ok(Self {
            origin: origin.parse()?,
            size: parsed,
            root,
        })
    }
}

/// A checkpoint with its signature lines, those of unknown keys included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<SignatureLine>,
}

/// A line of a signed note: who has signed, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignatureLine {
    pub(super) name: Origin,
    pub(super) key_id: u32,
    pub(super) bytes: Vec<u8>,
}

impl SignedCheckpoint {
    /// What it says. Believe it after [`SignedCheckpoint::verify`].
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signatures, in their order.
    pub(super) fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Adds a signature; one in the same name and of the same key is replaced.
    pub(super) fn add(&mut self, line: SignatureLine) {
        self.signatures
            .retain(|other| other.name != line.name || other.key_id != line.key_id);
        self.signatures.push(line);
    }

    /// With the log's own signatures alone, as a witness wants it.
    #[must_use]
    pub fn without_cosignatures(&self) -> Self {
        let own = |line: &&SignatureLine| line.name == self.checkpoint.origin;
        Self {
            checkpoint: self.checkpoint.clone(),
            signatures: self.signatures.iter().filter(own).cloned().collect(),
        }
    }

    /// Adds a signature by another key of the log, as a rotation needs; one by the same key is replaced.
    pub fn also_sign(&mut self, key: &SigningKey) {
        self.sign_as(self.checkpoint.origin.clone(), key);
    }

    /// Adds a signature by the key of the life before: it vouches for the one that this checkpoint is of.
    pub fn sign_as(&mut self, name: Origin, key: &SigningKey) {
        let key_id = key_id(&name, &key.verifying_key());
        let bytes = key
            .sign(self.checkpoint.text().as_bytes())
            .to_bytes()
            .to_vec();
        self.add(SignatureLine {
            name,
            key_id,
            bytes,
        });
    }

    /// Those of `keys` that are the log's own and have signed it.
    ///
    /// # Errors
    /// None of them has, or a signature in the name of one of them is false.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, Flaw> {
        let mut signed = Vec::new();
        for line in self
            .signatures
            .iter()
            .filter(|line| line.name == self.checkpoint.origin)
        {
            for known in keys
                .iter()
                .filter(|known| known.name == line.name && known.id == line.key_id)
            {
                self.check_signature(line, known)?;
                signed.push(known);
            }
        }
        if signed.is_empty() {
            Err(Flaw::Untrusted {
                origin: self.checkpoint.origin.to_string(),
            })
        } else {
            Ok(signed)
        }
    }

    /// Whether this key has signed it: the log's own, or one of an earlier life of the log, which so hands over to the present one.
    ///
    /// # Errors
    /// It has not, its signature is false, or it is a key of another log.
    pub fn vouched_for_by(&self, key: &VerifierKey) -> Result<(), Flaw> {
        let untrusted = || Flaw::Untrusted {
            origin: self.checkpoint.origin.to_string(),
        };
        if !key.name.is_of_same_log(&self.checkpoint.origin) {
            return Err(untrusted());
        }
        let line = self
            .signatures
            .iter()
            .find(|line| line.name == key.name && line.key_id == key.id)
            .ok_or_else(untrusted)?;
        self.check_signature(line, key)
    }

    fn check_signature(&self, line: &SignatureLine, key: &VerifierKey) -> Result<(), Flaw> {
        let text = self.checkpoint.text();
        let valid = Signature::from_slice(&line.bytes)
            .is_ok_and(|signature| key.key.verify_strict(text.as_bytes(), &signature).is_ok());
        if valid {
            Ok(())
        } else {
            Err(Flaw::Signature {
                key: format!("{}+{:08x}", key.name, key.id),
            })
        }
    }

    /// Reads a signed note whose text is a checkpoint as the service writes it: without extension lines.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        if bytes.len() > LIMIT {
            return Err(Flaw::Note {
                what: "it is longer than 64 KiB",
            });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| Flaw::Note {
            what: "it is not UTF-8",
        })?;
        if note.contains(|char: char| char < ' ' && char != '\n') {
            return Err(Flaw::Note {
                what: "it has control characters",
            });
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(Flaw::Note {
            what: "no empty line ends its text",
        })?;
        let checkpoint = Checkpoint::parse(&format!("{text}\n"))?;
        let lines = lines.strip_suffix('\n').ok_or(Flaw::Note {
            what: "no newline ends it",
        })?;
        let mut signatures: Vec<SignatureLine> = Vec::new();
        for line in lines.split('\n') {
            let line = SignatureLine::parse(line)?;
            if signatures
                .iter()
                .any(|other| other.name == line.name && other.key_id == line.key_id)
            {
                return Err(Flaw::Note {
                    what: "a key has signed it twice",
                });
            }
            signatures.push(line);
            if signatures.len() > SIGNATURE_LIMIT {
                return Err(Flaw::Note {
                    what: "it has more than 32 signatures",
                });
            }
        }
        Ok(Self {
            checkpoint,
            signatures,
        })
    }
}

impl fmt::Display for SignedCheckpoint {
    /// The note, byte for byte what was parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.text())?;
        for line in &self.signatures {
            let mut bytes = line.key_id.to_be_bytes().to_vec();
            bytes.extend_from_slice(&line.bytes);
            writeln!(f, "\u{2014} {} {}", line.name, BASE64.encode(&bytes))?;
        }
        Ok(())
    }
}

impl SignatureLine {
    pub(super) fn parse(line: &str) -> Result<Self, Flaw> {
        let rest = line.strip_prefix("\u{2014} ").ok_or(Flaw::Note {
            what: "a signature line does not begin with a dash",
        })?;
        let (name, signature) = rest.split_once(' ').ok_or(Flaw::Note {
            what: "a signature line has not two fields",
        })?;
        let bytes = BASE64
            .decode(signature.as_bytes())
            .map_err(|_| Flaw::Note {
                what: "a signature is not base 64",
            })?;
        match bytes.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => Ok(Self {
                name: name.parse()?,
                key_id: u32::from_be_bytes(*id),
                bytes: bytes.to_vec(),
            }),
            _ => Err(Flaw::Note {
                what: "a signature is empty",
            }),
        }
    }
}

fn key_id(name: &Origin, key: &VerifyingKey) -> u32 {
    typed_key_id(name, ED25519, key)
}

/// The short hash by which signatures of this type name a key (C2SP signed-note).
pub(super) fn typed_key_id(name: &Origin, kind: u8, key: &VerifyingKey) -> u32 {
    let hash = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([b'\n', kind])
        .chain_update(key.as_bytes())
        .finalize();
    hash.iter()
        .take(4)
        .fold(0, |id, byte| id << 8 | u32::from(*byte))
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|char: char| char.is_whitespace() || char < ' ' || char == '+')
}

fn not_an_origin(text: &str) -> Flaw {
    Flaw::Origin {
        text: text.chars().take(64).collect(),
    }
}
