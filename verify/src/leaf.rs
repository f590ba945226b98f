//! The bytes of a leaf: an entry as RFC 8785 JSON, written directly in key order, and read back.
//!
//! Every string in it is ASCII that needs no escape, so that neither way needs a JSON library; a test holds the writer equal to one.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;

use super::entry::{Caller, Entry, FORMAT, Fact, LEAF_LIMIT, Outcome, Time, push_hex};
use super::flaw::Flaw;
use super::merkle::Hash;
use super::name::{Id, PolicyId, Ref, Word, is_id, is_word, not_ours};
use super::vocabulary::{Category, Event, PartName, Refusal};

pub(super) fn write(entry: &Entry) -> Result<Vec<u8>, Flaw> {
    let mut out = Object {
        out: Vec::with_capacity(768),
        first: true,
    };
    out.out.push(b'{');
    if let Some(action) = &entry.action {
        out.text("action", word(action)?);
    }
    if let Some(actor) = &entry.actor {
        out.reference("actor", actor)?;
    }
    if let Some(user) = &entry.acts_for {
        out.reference("acts_for", user)?;
    }
    if let Some(index) = entry.as_of {
        out.number("as_of", index);
    }
    out.nested("caller", |caller| {
        if let Some(id) = entry.caller.id() {
            caller.text("id", identifier(id)?);
        }
        caller.text("type", entry.caller.kind());
        Ok(())
    })?;
    out.text("category", entry.category().as_str());
    out.text("event", entry.event.as_str());
    if let Some(fact) = &entry.fact {
        out.nested("fact", |out| write_fact(out, fact))?;
    }
    out.text("format", FORMAT);
    out.number("index", entry.index);
    out.text("outcome", entry.outcome.as_str());
    if !entry.parts.is_empty() {
        out.nested("parts", |out| {
            for (name, hash) in &entry.parts {
                out.hex(name.as_str(), hash.bytes());
            }
            Ok(())
        })?;
    }
    if !entry.policies.is_empty() {
        out.key("policies");
        let mut before = b'[';
        for policy in &entry.policies {
            let text = policy.as_str();
            if !(is_word(text) || is_id(text)) {
                return Err(not_ours(text));
            }
            out.out.push(before);
            out.quoted(text);
            before = b',';
        }
        out.out.push(b']');
    }
    if let Some(version) = entry.policy_version {
        out.number("policy_version", version);
    }
    if let Some(refusal) = entry.outcome.refusal() {
        out.text("refusal", refusal.as_str());
    }
    if let Some(resource) = &entry.resource {
        out.reference("resource", resource)?;
    }
    out.key("time");
    out.out.push(b'"');
    push_time(&mut out.out, entry.time);
    out.out.extend_from_slice(b"\"}");
    let leaf = out.out;
    if leaf.len() > LEAF_LIMIT {
        Err(Flaw::LeafTooLong { length: leaf.len() })
    } else {
        Ok(leaf)
    }
}

fn write_fact(out: &mut Object, fact: &Fact) -> Result<(), Flaw> {
    match fact {
        Fact::Commitment(hash) => out.hex("commitment", hash.bytes()),
        Fact::Count(count) => out.number("count", *count),
        Fact::NewKey(key) => out.hex("key", key),
        Fact::Minimum(index) => out.number("minimum", *index),
        Fact::PolicyVersion(version) => out.number("policy_version", *version),
        Fact::Restored {
            incarnation,
            size,
            root,
        } => {
            out.text("incarnation", identifier(incarnation)?);
            out.hex("root", root.bytes());
            out.number("size", *size);
        }
    }
    Ok(())
}

fn word(word: &Word) -> Result<&str, Flaw> {
    if is_word(word.as_str()) {
        Ok(word.as_str())
    } else {
        Err(not_ours(word.as_str()))
    }
}

fn identifier(id: &Id) -> Result<&str, Flaw> {
    if id.is_well_formed() {
        Ok(id.as_str())
    } else {
        Err(not_ours(id.as_str()))
    }
}

/// An object that is being written. INVARIANT: its callers write keys in ascending order, and texts that need no escape.
struct Object {
    out: Vec<u8>,
    first: bool,
}

impl Object {
    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.quoted(key);
        self.out.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.quoted(text);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        self.out.push(b'"');
        push_number(&mut self.out, number, 1);
        self.out.push(b'"');
    }

    fn hex(&mut self, key: &str, bytes: &[u8; 32]) {
        self.key(key);
        self.out.push(b'"');
        push_hex(&mut self.out, bytes);
        self.out.push(b'"');
    }

    fn nested(
        &mut self,
        key: &str,
        fill: impl FnOnce(&mut Self) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        self.key(key);
        self.out.push(b'{');
        self.first = true;
        fill(self)?;
        self.first = false;
        self.out.push(b'}');
        Ok(())
    }

    fn reference(&mut self, key: &str, reference: &Ref) -> Result<(), Flaw> {
        self.nested(key, |out| {
            out.text("id", identifier(&reference.id)?);
            out.text("type", word(&reference.kind)?);
            Ok(())
        })
    }
}

pub(super) fn read(leaf: &[u8]) -> Result<Entry, Flaw> {
    if leaf.len() > LEAF_LIMIT {
        return Err(Flaw::LeafTooLong { length: leaf.len() });
    }
    let mut from = Cursor {
        leaf,
        at: 0,
        first: true,
    };
    from.literal("{")?;
    let action = from.optional("action", |from| {
        from.parsed("a built-in action", Word::read)
    })?;
    let actor = from.optional("actor", read_reference)?;
    let acts_for = from.optional("acts_for", read_reference)?;
    let as_of = from.optional("as_of", Cursor::number)?;
    let caller = from.required("caller", read_caller)?;
    let category = from.required("category", |from| {
        from.parsed("a category", Category::parse)
    })?;
    let event = from.required("event", |from| {
        from.parsed("an event of its category", |text| {
            Event::parse(text).filter(|event| event.category() == category)
        })
    })?;
    let fact = from.optional("fact", read_fact)?;
    from.required("format", |from| {
        from.parsed("this version's format", |text| {
            (text == FORMAT).then_some(())
        })
    })?;
    let index = from.required("index", Cursor::number)?;
    let (outcome_at, outcome) = from.required("outcome", |from| Ok((from.at, from.string()?)))?;
    let parts = from.optional("parts", read_parts)?.unwrap_or_default();
    let policies = from
        .optional("policies", read_policies)?
        .unwrap_or_default();
    let policy_version = from.optional("policy_version", Cursor::number)?;
    let refusal = from.optional("refusal", |from| {
        from.parsed("a kind of refusal", Refusal::parse)
    })?;
    let outcome = Outcome::read(outcome, refusal).ok_or(Flaw::Leaf {
        at: outcome_at,
        wanted: "an outcome that fits the refusal",
    })?;
    let resource = from.optional("resource", read_reference)?;
    let time = from.required("time", |from| {
        from.parsed("a time in UTC with six decimals", read_time)
    })?;
    from.literal("}")?;
    if from.at != leaf.len() {
        return Err(from.wanted("the end"));
    }
    Ok(Entry {
        index,
        time,
        event,
        caller,
        outcome,
        actor,
        acts_for,
        action,
        resource,
        policies,
        policy_version,
        as_of,
        fact,
        parts,
    })
}

fn read_reference(from: &mut Cursor<'_>) -> Result<Ref, Flaw> {
    from.nested(|from| {
        let id = from.required("id", Cursor::id)?;
        let kind = from.required("type", |from| from.parsed("a built-in type", Word::read))?;
        Ok(Ref::new(kind, id))
    })
}

fn read_caller(from: &mut Cursor<'_>) -> Result<Caller, Flaw> {
    from.nested(|from| {
        let id = from.optional("id", Cursor::id)?;
        from.required("type", |from| {
            from.parsed("a kind of caller that fits its id", |kind| {
                Caller::read(kind, id)
            })
        })
    })
}

fn read_fact(from: &mut Cursor<'_>) -> Result<Fact, Flaw> {
    from.nested(|from| {
        if let Some(hash) = from.optional("commitment", Cursor::hash)? {
            return Ok(Fact::Commitment(hash));
        }
        if let Some(count) = from.optional("count", Cursor::number)? {
            return Ok(Fact::Count(count));
        }
        if let Some(incarnation) = from.optional("incarnation", Cursor::id)? {
            let root = from.required("root", Cursor::hash)?;
            let size = from.required("size", Cursor::number)?;
            return Ok(Fact::Restored {
                incarnation,
                size,
                root,
            });
        }
        if let Some(key) = from.optional("key", Cursor::hash)? {
            return Ok(Fact::NewKey(*key.bytes()));
        }
        if let Some(index) = from.optional("minimum", Cursor::number)? {
            return Ok(Fact::Minimum(index));
        }
        let version = from.required("policy_version", Cursor::number)?;
        Ok(Fact::PolicyVersion(version))
    })
}

fn read_parts(from: &mut Cursor<'_>) -> Result<BTreeMap<PartName, Hash>, Flaw> {
    from.nested(|from| {
        let mut parts = BTreeMap::new();
        for name in PartName::ALL {
            if let Some(hash) = from.optional(name.as_str(), Cursor::hash)? {
                parts.insert(*name, hash);
            }
        }
        Ok(parts)
    })
}

fn read_policies(from: &mut Cursor<'_>) -> Result<BTreeSet<PolicyId>, Flaw> {
    let mut policies = BTreeSet::new();
    from.literal("[")?;
    loop {
        policies.insert(from.parsed("a policy's id", PolicyId::read)?);
        if !from.take(b",") {
            break;
        }
    }
    from.literal("]")?;
    Ok(policies)
}

/// A leaf that is being read, up to `at`.
struct Cursor<'a> {
    leaf: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.leaf.get(self.at..).unwrap_or_default()
    }

    const fn wanted(&self, wanted: &'static str) -> Flaw {
        Flaw::Leaf {
            at: self.at,
            wanted,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        let found = self.rest().starts_with(bytes);
        if found {
            self.at += bytes.len();
        }
        found
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), Flaw> {
        if self.take(literal.as_bytes()) {
            Ok(())
        } else {
            Err(self.wanted(literal))
        }
    }

    /// Whether the next member has this key; if so, it stands before the value afterwards.
    fn member(&mut self, key: &str) -> bool {
        let start = self.at;
        let found = (self.first || self.take(b","))
            && self.take(b"\"")
            && self.take(key.as_bytes())
            && self.take(b"\":");
        if found {
            self.first = false;
        } else {
            self.at = start;
        }
        found
    }

    fn optional<T>(
        &mut self,
        key: &str,
        value: impl FnOnce(&mut Self) -> Result<T, Flaw>,
    ) -> Result<Option<T>, Flaw> {
        if self.member(key) {
            value(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        value: impl FnOnce(&mut Self) -> Result<T, Flaw>,
    ) -> Result<T, Flaw> {
        if self.member(key) {
            value(self)
        } else {
            Err(self.wanted(key))
        }
    }

    fn nested<T>(&mut self, members: impl FnOnce(&mut Self) -> Result<T, Flaw>) -> Result<T, Flaw> {
        self.literal("{")?;
        self.first = true;
        let value = members(self)?;
        self.first = false;
        self.literal("}")?;
        Ok(value)
    }

    fn string(&mut self) -> Result<&'a str, Flaw> {
        let start = self.at;
        self.literal("\"")?;
        let rest = self.rest();
        let text = rest
            .iter()
            .position(|byte| *byte == b'"')
            .and_then(|length| rest.get(..length))
            .and_then(|text| std::str::from_utf8(text).ok());
        let Some(text) = text else {
            return Err(Flaw::Leaf {
                at: start,
                wanted: "a string",
            });
        };
        self.at += text.len() + 1;
        Ok(text)
    }

    fn parsed<T>(
        &mut self,
        wanted: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, Flaw> {
        let at = self.at;
        parse(self.string()?).ok_or(Flaw::Leaf { at, wanted })
    }

    fn number(&mut self) -> Result<u64, Flaw> {
        self.parsed("a whole number of 64 bits in a string", |text| {
            text.parse().ok()
        })
    }

    fn id(&mut self) -> Result<Id, Flaw> {
        self.parsed("an identifier that the service gave", |text| {
            text.parse().ok()
        })
    }

    fn hash(&mut self) -> Result<Hash, Flaw> {
        self.parsed("32 bytes in lower-case hexadecimal", |text| {
            let mut bytes = [0_u8; 32];
            (text.len() == 64 && HEXLOWER.decode_mut(text.as_bytes(), &mut bytes) == Ok(32))
                .then(|| Hash::new(bytes))
        })
    }
}

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Appends `number` in decimal, with zeros ahead of it up to `width`.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if number == 0 && used >= width {
            break;
        }
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        used += 1;
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// Appends RFC 3339 with six decimals. The calendar is H. Hinnant's `civil_from_days`, for years from 1970 on.
pub(super) fn push_time(out: &mut Vec<u8>, time: Time) {
    let micros = time.micros().unsigned_abs();
    let a_day = MICROS_A_DAY.unsigned_abs();
    let (days, within) = (micros / a_day + 719_468, micros % a_day);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    push_number(out, year, 4);
    for (before, number) in [
        (b'-', month),
        (b'-', day),
        (b'T', within / 3_600_000_000),
        (b':', within / 60_000_000 % 60),
        (b':', within / 1_000_000 % 60),
    ] {
        out.push(before);
        push_number(out, number, 2);
    }
    out.push(b'.');
    push_number(out, within % 1_000_000, 6);
    out.push(b'Z');
}

/// Reads what [`push_time`] writes, and nothing else.
pub(super) fn read_time(text: &str) -> Option<Time> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            digits.parse::<i64>().ok()
        } else {
            None
        }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, micros) = (
        number(11, 13)?,
        number(14, 16)?,
        number(17, 19)?,
        number(20, 26)?,
    );
    if !(1..=12).contains(&month) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468;
    let time = Time::from_micros(
        days * MICROS_A_DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros,
    )
    .ok()?;
    // A thirtieth of February would come out as another day: what is written again must be what was read.
    let mut again = Vec::with_capacity(27);
    push_time(&mut again, time);
    (again == text.as_bytes()).then_some(time)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(micros: i64) -> String {
        Time::from_micros(micros).unwrap().to_string()
    }

    #[test]
    fn times_are_rfc_3339_with_six_decimals() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(1_795_478_400_000_001), "2026-11-24T00:00:00.000001Z");
        assert_eq!(time(253_402_300_799_999_999), "9999-12-31T23:59:59.999999Z");
        assert!(Time::from_micros(-1).is_err());
        assert!(Time::from_micros(253_402_300_800_000_000).is_err());
    }

    #[test]
    fn days_that_are_none_are_refused() {
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2026-11-24T24:00:00.000000Z",
            "2026-11-24T00:00:00.00000Z",
            "",
            "1969-12-31T23:59:59.999999Z",
        ] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_agree_with_chrono_and_read_back(micros in 0..=253_402_300_799_999_999_i64) {
            let text = time(micros);
            let chrono = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(&text, &chrono.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
            prop_assert_eq!(read_time(&text), Some(Time::from_micros(micros).unwrap()));
        }

        #[test]
        fn numbers_are_plain_decimals(number: u64) {
            let mut out = Vec::new();
            push_number(&mut out, number, 1);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
