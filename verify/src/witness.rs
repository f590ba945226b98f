//! Witnesses of a log: their cosignatures (C2SP tlog-cosignature, Ed25519), what is sent to them (C2SP tlog-witness), and how many of them
//! make a checkpoint to be believed (C2SP tlog-policy).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};

use super::checkpoint::{
    Origin, SignatureLine, SignedCheckpoint, VerifierKey, read_key, write_key,
};
use super::flaw::Flaw;
use super::merkle::Hash;

/// The signed note's type byte for timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 4;

/// The most lines of a policy that are read.
const LINES: usize = 10_000;

/// A witness's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: Origin,
    id: u32,
    key: VerifyingKey,
}

impl WitnessKey {
    /// The name in its cosignatures.
    #[must_use]
    pub const fn name(&self) -> &Origin {
        &self.name
    }

    /// Whether a line says that it is by this key.
    fn has_made(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.key_id == self.id
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, (&self.name, self.id), COSIGNATURE, &self.key)
    }
}

impl FromStr for WitnessKey {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let (name, id, key) = read_key(text, COSIGNATURE)?;
        Ok(Self { name, id, key })
    }
}

/// When this witness says that it has seen the checkpoint, in seconds since 1970; nothing where it has not cosigned it.
///
/// # Errors
/// There is a cosignature in its name, and it is false.
pub fn cosigned(checkpoint: &SignedCheckpoint, by: &WitnessKey) -> Result<Option<u64>, Flaw> {
    let line = checkpoint
        .signatures()
        .iter()
        .find(|line| by.has_made(line));
    line.map(|line| time_of(checkpoint, line, by)).transpose()
}

fn time_of(
    checkpoint: &SignedCheckpoint,
    line: &SignatureLine,
    by: &WitnessKey,
) -> Result<u64, Flaw> {
    let false_ = || Flaw::Signature {
        key: format!("{}+{:08x}", by.name, by.id),
    };
    let (time, signature) = line.bytes.split_first_chunk::<8>().ok_or_else(false_)?;
    let time = u64::from_be_bytes(*time);
    let signature = Signature::from_slice(signature).map_err(|_| false_())?;
    let text = format!(
        "cosignature/v1\ntime {time}\n{}",
        checkpoint.checkpoint().text()
    );
    by.key
        .verify_strict(text.as_bytes(), &signature)
        .map_err(|_| false_())?;
    if i64::try_from(time).is_ok() {
        Ok(time)
    } else {
        Err(false_())
    }
}

/// What is sent to a witness that has seen `old` entries: how the log became what the checkpoint says.
#[must_use]
pub fn submission(old: u64, proof: &[Hash], checkpoint: &SignedCheckpoint) -> String {
    let proof: String = proof.iter().map(|hash| hash.base64() + "\n").collect();
    format!("old {old}\n{proof}\n{}", checkpoint.without_cosignatures())
}

/// Takes a witness's own cosignature over from what it has answered.
///
/// # Errors
/// It has none, or a false one.
pub fn take_cosignature(
    checkpoint: &mut SignedCheckpoint,
    answer: &str,
    by: &WitnessKey,
) -> Result<(), Flaw> {
    let lines = answer
        .lines()
        .filter_map(|line| SignatureLine::parse(line).ok());
    let mut theirs = lines.filter(|line| by.has_made(line));
    let line = theirs.next().ok_or_else(|| Flaw::Untrusted {
        origin: checkpoint.checkpoint().origin.to_string(),
    })?;
    time_of(checkpoint, &line, by)?;
    checkpoint.add(line);
    Ok(())
}

/// Takes a witness's cosignature over from the same checkpoint as it was published before.
pub fn adopt_cosignature(
    checkpoint: &mut SignedCheckpoint,
    from: &SignedCheckpoint,
    by: &WitnessKey,
) {
    let line = from.signatures().iter().find(|line| by.has_made(line));
    if let Some(line) = line.filter(|line| time_of(checkpoint, line, by).is_ok()) {
        checkpoint.add(line.clone());
    }
}

/// A witness of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// Where checkpoints are submitted to.
    pub url: Option<String>,
}

/// Which logs and witnesses somebody knows, and which of the witnesses are enough; of the default none are there and none needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    quorum: Option<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// The witness at this place.
    Witness(usize),
    /// So many of these.
    Group(usize, Vec<Rule>),
}

impl Policy {
    /// The logs that it lists.
    #[must_use]
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The witnesses that it lists.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// The witnesses that have cosigned a checkpoint, if they are enough.
    ///
    /// # Errors
    /// They are not enough. A false cosignature counts for nothing.
    pub fn met_by(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<&Witness>, Flaw> {
        let has = |witness: &Witness| matches!(cosigned(checkpoint, &witness.key), Ok(Some(_)));
        let signed: Vec<bool> = self.witnesses.iter().map(has).collect();
        let cosigned = signed.iter().filter(|signed| **signed).count();
        if self.quorum.as_ref().is_none_or(|rule| rule.holds(&signed)) {
            let all = self.witnesses.iter().zip(&signed);
            Ok(all
                .filter(|(_, signed)| **signed)
                .map(|(one, _)| one)
                .collect())
        } else {
            Err(Flaw::NoQuorum { cosigned })
        }
    }
}

impl Rule {
    fn holds(&self, signed: &[bool]) -> bool {
        match self {
            Self::Witness(at) => signed.get(*at).copied().unwrap_or_default(),
            Self::Group(least, members) => {
                members.iter().filter(|member| member.holds(signed)).count() >= *least
            }
        }
    }
}

/// A policy under way: what the lines so far have named.
#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    rules: BTreeMap<String, Rule>,
    taken: BTreeSet<String>,
    quorum: Option<Option<Rule>>,
}

impl FromStr for Policy {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let mut reading = Reading::default();
        let mut last = 0;
        for (at, line) in text.split('\n').enumerate() {
            last = at + 1;
            let wrong = |what: String| Flaw::Policy { line: last, what };
            if last > LINES || line.contains(|char: char| char < ' ' && char != '\t') {
                return Err(wrong(
                    "it has control characters, or is one too many".into(),
                ));
            }
            let fields: Vec<&str> = line
                .split([' ', '\t'])
                .filter(|field| !field.is_empty())
                .collect();
            match fields.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                fields => reading.line(fields).map_err(wrong)?,
            }
        }
        let quorum = reading.quorum.ok_or_else(|| Flaw::Policy {
            line: last + 1,
            what: "a line `quorum NAME` or `quorum none` is missing".into(),
        })?;
        Ok(Self {
            logs: reading.logs,
            witnesses: reading.witnesses,
            quorum,
        })
    }
}

impl Reading {
    fn line(&mut self, fields: &[&str]) -> Result<(), String> {
        match fields {
            ["log", key] | ["log", key, _] => {
                let key: VerifierKey = key.parse().map_err(|flaw: Flaw| flaw.to_string())?;
                if self.logs.iter().any(|log| log.bytes() == key.bytes()) {
                    return Err("this log's key is there already".into());
                }
                self.logs.push(key);
                Ok(())
            }
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some((*url).to_owned())),
            ["group", name, least, members @ ..] => self.group(name, least, members),
            ["quorum", name] if self.quorum.is_none() => {
                self.quorum = Some(match *name {
                    "none" => None,
                    name => Some(self.rule(name)?),
                });
                Ok(())
            }
            ["quorum", ..] => Err("there is one `quorum NAME` line".into()),
            _ => Err(
                "it is none of `log KEY [URL]`, `witness NAME KEY [URL]`, `group NAME any|all|NUMBER NAME...`, `quorum NAME`"
                    .into(),
            ),
        }
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<String>) -> Result<(), String> {
        let key: WitnessKey = key.parse().map_err(|flaw: Flaw| flaw.to_string())?;
        if self.witnesses.iter().any(|other| other.key.key == key.key) {
            return Err("this witness's key is there already".into());
        }
        self.define(name, Rule::Witness(self.witnesses.len()))?;
        let name = name.to_owned();
        self.witnesses.push(Witness { name, key, url });
        Ok(())
    }

    fn group(&mut self, name: &str, least: &str, members: &[&str]) -> Result<(), String> {
        let rules: Vec<Rule> = members
            .iter()
            .map(|member| {
                if !self.taken.insert((*member).to_owned()) {
                    return Err(format!("`{member}` is in a group already"));
                }
                self.rule(member)
            })
            .collect::<Result<_, _>>()?;
        let count = rules.len();
        let least = match least {
            "all" => count,
            "any" => 1,
            number => number
                .parse()
                .map_err(|_| "how many of a group is `any`, `all` or a number".to_owned())?,
        };
        if least == 0 || least > count {
            return Err(format!("a group of {count} cannot ask for {least}"));
        }
        self.define(name, Rule::Group(least, rules))
    }

    fn rule(&self, name: &str) -> Result<Rule, String> {
        let found = self.rules.get(name).cloned();
        found.ok_or_else(|| format!("no line before names `{name}`"))
    }

    fn define(&mut self, name: &str, rule: Rule) -> Result<(), String> {
        if name == "none" || self.rules.insert(name.to_owned(), rule).is_some() {
            return Err(format!("`{name}` is taken"));
        }
        Ok(())
    }
}
