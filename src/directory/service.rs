//! Services and their keys: made, replaced by another while both open the same, and revoked.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use serde_json::json;

use super::change::{Change, RowId};
use super::maker::Maker;
use super::object::{ApiKey, Body, Form, Kind, Object, Ref, Scope, Service};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{ApiKeyCreate, ApiKeyRevoke, Authorized, Operator};
use crate::log::vocabulary::Event;

/// How many keys of one service open anything at once: one that is in use, and the one that replaces it.
pub const LIVE_KEYS_MOST: usize = 2;

/// For how long a key that is replaced goes on at most.
pub const OVERLAP_MOST: TimeDelta = TimeDelta::hours(168);

/// For how long it does where nobody says.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// Which service a new key speaks for.
#[derive(Debug, Clone)]
pub enum Speaker {
    /// A new one, of the key's name.
    New {
        /// 128 random bits.
        id: [u8; 16],
        /// What its keys may be used for; none: `decide` alone.
        scopes: BTreeSet<Scope>,
    },
    /// One that is there: keys are replaced so.
    Existing(Ref),
}

/// A new key; the key itself is shown once and never comes here.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key's 128 random bits.
    pub id: [u8; 16],
    /// What people call it.
    pub name: String,
    /// The service that it speaks for.
    pub speaker: Speaker,
    /// When it stops.
    pub expires_at: Option<DateTime<Utc>>,
    /// SHA-256 of the whole key.
    pub digest: [u8; 32],
}

/// Client certificates of a name that are a service's from then on.
#[derive(Debug, Clone)]
pub struct NewBinding {
    /// The binding's 128 random bits.
    pub id: [u8; 16],
    /// What people call it.
    pub name: String,
    /// The service that they speak for.
    pub speaker: Speaker,
    /// When that stops.
    pub expires_at: Option<DateTime<Utc>>,
    /// The name that they have: a URI or a DNS name.
    pub certificate: String,
}

/// What a new credential is shown by.
enum Proof {
    Secret([u8; 32]),
    Certificate(String),
}

/// A new credential, however it is shown.
struct Fresh<'a> {
    id: [u8; 16],
    name: &'a str,
    speaker: &'a Speaker,
    expires_at: Option<DateTime<Utc>>,
    proof: Proof,
}

impl NewKey {
    fn fresh(&self) -> Fresh<'_> {
        Fresh {
            id: self.id,
            name: &self.name,
            speaker: &self.speaker,
            expires_at: self.expires_at,
            proof: Proof::Secret(self.digest),
        }
    }
}

/// A key that replaces another of the same service.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The one that is replaced.
    pub old: Ref,
    /// For how long both open the same; none: the old one ends at once.
    pub overlap: TimeDelta,
    /// The new one's 128 random bits.
    pub id: [u8; 16],
    /// When the new one stops; if absent, it lasts as long as the old one was to last.
    pub expires_at: Option<DateTime<Utc>>,
    /// SHA-256 of the whole new key.
    pub digest: [u8; 32],
}

/// Makes a key.
///
/// # Errors
/// A name that cannot be read, a time that is past, or no such service.
pub fn create_key(
    by: &Authorized<ApiKeyCreate>,
    snapshot: &Snapshot,
    new: &NewKey,
) -> Result<Change, DirectoryError> {
    made(snapshot, new.fresh(), (None, None), Maker::of(by))
}

/// The same by the operator: an organization's first key is made so.
///
/// # Errors
/// The same.
pub fn create_key_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    new: &NewKey,
) -> Result<Change, DirectoryError> {
    made(snapshot, new.fresh(), (None, None), Maker::operator(by))
}

/// Has client certificates of a name be a service's.
///
/// # Errors
/// As [`create_key`]; or it is no such name, or bound before.
pub fn bind_certificate(
    by: &Authorized<ApiKeyCreate>,
    snapshot: &Snapshot,
    new: &NewBinding,
) -> Result<Change, DirectoryError> {
    bound(snapshot, new, Maker::of(by))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn bind_certificate_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    new: &NewBinding,
) -> Result<Change, DirectoryError> {
    bound(snapshot, new, Maker::operator(by))
}

/// A name that a client certificate may be bound by: one of its subject alternative names, a URI as it stands there, or a DNS name in
/// small letters.
///
/// # Errors
/// It is neither, or stands for many.
pub fn certificate_name(text: &str) -> Result<String, DirectoryError> {
    let wrong = |why: &str| DirectoryError::invalid("certificate", why);
    if !(1..=255).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("it has 1 to 255 visible ASCII characters"));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let named = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !scheme.is_empty();
        return match named && !rest.is_empty() {
            true => Ok(text.to_owned()),
            false => Err(wrong("it is no URI: as in spiffe://acme.example/chat")),
        };
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match text.contains('.') && text.split('.').all(label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(wrong(
            "it is neither a URI, as in spiffe://acme.example/chat, nor a whole DNS name",
        )),
    }
}

fn bound(snapshot: &Snapshot, new: &NewBinding, maker: Maker) -> Result<Change, DirectoryError> {
    let certificate = certificate_name(&new.certificate)?;
    let taken = snapshot.objects_of(Kind::ApiKey, None).any(|(_, stored)| {
        matches!(&stored.value, Object::ApiKey(key) if key.certificate.as_ref() == Some(&certificate))
    });
    if taken {
        return Err(DirectoryError::Taken {
            what: format!("the certificate name `{certificate}`"),
        });
    }
    let fresh = Fresh {
        id: new.id,
        name: &new.name,
        speaker: &new.speaker,
        expires_at: new.expires_at,
        proof: Proof::Certificate(certificate),
    };
    made(snapshot, fresh, (None, None), maker)
}

/// Makes a key that replaces another one, which goes on for a while. Whoever may make keys asks for it; that they may revoke the old one
/// is asked before.
///
/// # Errors
/// The old one is not there, its service has two live keys, or a time that is past or too far.
pub fn rotate_key(
    by: &Authorized<ApiKeyCreate>,
    snapshot: &Snapshot,
    rotation: &Rotation,
) -> Result<Change, DirectoryError> {
    rotated(snapshot, rotation, Maker::of(by))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn rotate_key_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    rotation: &Rotation,
) -> Result<Change, DirectoryError> {
    rotated(snapshot, rotation, Maker::operator(by))
}

/// Revokes the key asked about, and its service when it has no other.
///
/// # Errors
/// It is not there.
pub fn revoke_key(
    by: &Authorized<ApiKeyRevoke>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    revoked(snapshot, by.resource())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn revoke_key_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    key: Ref,
) -> Result<Change, DirectoryError> {
    revoked(snapshot, key)
}

fn require(snapshot: &Snapshot, reference: Ref) -> Result<&ApiKey, DirectoryError> {
    match snapshot.require(reference)? {
        // A directory's token is replaced and revoked where it was made.
        Object::ApiKey(key) if key.form == Form::Key => Ok(key),
        _ => Err(DirectoryError::absent(reference)),
    }
}

/// How many keys of a service open something, this one left out.
fn live_keys(snapshot: &Snapshot, service: Ref, but: Option<Ref>, now: DateTime<Utc>) -> usize {
    let keys = snapshot.objects_of(Kind::ApiKey, None);
    let live = keys.filter(|(reference, stored)| {
        Some(*reference) != but
            && matches!(&stored.value, Object::ApiKey(key)
                if key.service == service && key.certificate.is_none() && key.expires_at.is_none_or(|end| now < end))
    });
    live.count()
}

fn rotated(
    snapshot: &Snapshot,
    rotation: &Rotation,
    maker: Maker,
) -> Result<Change, DirectoryError> {
    let now = maker.now;
    if !(TimeDelta::zero()..=OVERLAP_MOST).contains(&rotation.overlap) {
        return Err(DirectoryError::invalid(
            "overlap_hours",
            format!("it is from 0 to {}", OVERLAP_MOST.num_hours()),
        ));
    }
    let old = require(snapshot, rotation.old)?;
    if old.certificate.is_some() {
        return Err(DirectoryError::invalid(
            "id",
            "it binds certificates, which are replaced where they are issued",
        ));
    }
    let as_long = || Some(now + (old.expires_at? - old.created_at));
    let new = NewKey {
        id: rotation.id,
        name: old.name.clone(),
        speaker: Speaker::Existing(old.service),
        expires_at: rotation.expires_at.or_else(as_long),
        digest: rotation.digest,
    };
    let ends_at = now + rotation.overlap;
    let ends_at = old.expires_at.map_or(ends_at, |end| end.min(ends_at));
    let at_once = rotation.overlap.is_zero();
    let but = at_once.then_some(rotation.old);
    let said = json!({"replaces": rotation.old, "replaced_ends_at": ends_at});
    let change = made(snapshot, new.fresh(), (but, Some(&said)), maker)?;
    let row = RowId::Object(rotation.old);
    Ok(if at_once {
        let details = json!({"name": old.name, "service": old.service, "service_ended": false});
        change
            .end(row)
            .and(Event::ApiKeyRevoked, Some(rotation.old), details)
    } else {
        let old = ApiKey {
            expires_at: Some(ends_at),
            ..old.clone()
        };
        change.put(row, Body::Object(Object::ApiKey(old)))
    })
}

fn revoked(snapshot: &Snapshot, reference: Ref) -> Result<Change, DirectoryError> {
    let key = require(snapshot, reference)?;
    let another = snapshot
        .objects_of(Kind::ApiKey, None)
        .any(|(other, stored)| {
            other != reference
                && matches!(&stored.value, Object::ApiKey(other) if other.service == key.service)
        });
    let details = json!({"name": key.name, "service": key.service, "service_ended": !another});
    let change = Change::new(Event::ApiKeyRevoked, Some(reference), details)
        .end(RowId::Object(reference))
        .reply(json!({"id": reference}));
    Ok(if another {
        change
    } else {
        change.end(RowId::Object(key.service))
    })
}

/// A new credential, which may replace one that ends now, and what else is said of it.
fn made(
    snapshot: &Snapshot,
    new: Fresh<'_>,
    (but, said): (Option<Ref>, Option<&serde_json::Value>),
    maker: Maker,
) -> Result<Change, DirectoryError> {
    let now = maker.now;
    snapshot.organization()?;
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(DirectoryError::invalid("expires_at", "it is past"));
    }
    let called = name("name", new.name)?;
    let (digest, certificate) = match new.proof {
        Proof::Secret(digest) => (HEXLOWER.encode(&digest), None),
        Proof::Certificate(certificate) => (String::new(), Some(certificate)),
    };
    let (reference, service, fresh) = match new.speaker {
        Speaker::New { id, scopes } => {
            let scopes = if scopes.is_empty() {
                BTreeSet::from([Scope::Decide])
            } else {
                scopes.clone()
            };
            (
                Ref::new(Kind::Service, *id),
                Service {
                    name: called.clone(),
                    scopes,
                },
                true,
            )
        }
        Speaker::Existing(reference) => match snapshot.require(*reference)? {
            Object::Service(service) => (*reference, service.clone(), false),
            _ => return Err(DirectoryError::absent(*reference)),
        },
    };
    maker.may_give(snapshot, &service.scopes)?;
    if !fresh && certificate.is_none() && live_keys(snapshot, reference, but, now) >= LIVE_KEYS_MOST
    {
        return Err(DirectoryError::KeysLive {
            service: reference.to_string(),
        });
    }
    let key = Ref::new(Kind::ApiKey, new.id);
    if snapshot.object(key).is_some() || (fresh && snapshot.object(reference).is_some()) {
        return Err(DirectoryError::Taken {
            what: format!("the identifier `{key}`"),
        });
    }
    let scopes: Vec<_> = service.scopes.iter().map(|scope| scope.name()).collect();
    let mut details = json!({"name": called, "service": reference, "scopes": scopes, "expires_at": new.expires_at, "certificate": certificate, "made_by": maker.who.told()});
    let object = Object::ApiKey(ApiKey {
        name: called,
        service: reference,
        digest,
        certificate,
        expires_at: new.expires_at,
        created_at: now,
        form: Form::Key,
        made_by: maker.who,
    });
    let mut reply = view::body(key, &object, snapshot);
    if let Some(reply) = reply.as_object_mut() {
        // Known to `view` once the service's row is there.
        reply.insert("scopes".into(), json!(scopes));
    }
    if let Some(said) = said.and_then(serde_json::Value::as_object) {
        for told in [&mut details, &mut reply] {
            if let Some(told) = told.as_object_mut() {
                told.extend(said.clone());
            }
        }
    }
    let mut change = Change::new(Event::ApiKeyCreated, Some(key), details).reply(reply);
    if fresh {
        change = change.put(
            RowId::Object(reference),
            Body::Object(Object::Service(service)),
        );
    }
    Ok(change.put(RowId::Object(key), Body::Object(object)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id, now};
    use super::*;

    fn new(number: u8, speaker: Speaker) -> NewKey {
        NewKey {
            id: id(number),
            name: "Back end".into(),
            speaker,
            expires_at: None,
            digest: [7; 32],
        }
    }

    const fn fresh() -> Speaker {
        Speaker::New {
            id: id(80),
            scopes: BTreeSet::new(),
        }
    }

    #[test]
    fn a_key_decides_unless_it_is_given_more() {
        let world = World::new();
        let by = world.by::<ApiKeyCreate>(world.org);
        let change = create_key(&by, &world.snapshot, &new(90, fresh())).unwrap();
        assert_eq!(change.reply.get("scopes"), Some(&json!(["decide"])));
        assert!(
            world
                .with(&change)
                .object(Ref::new(Kind::Service, id(80)))
                .is_some()
        );
    }

    #[test]
    fn a_keys_digest_is_in_no_reply_and_no_event() {
        let world = World::new();
        let change = create_key_by_operator(
            &Operator::in_test(now()),
            &world.snapshot,
            &new(90, fresh()),
        )
        .unwrap();
        let digest = HEXLOWER.encode(&[7; 32]);
        assert!(!change.reply.to_string().contains(&digest));
        assert!(
            !change
                .events
                .iter()
                .any(|event| event.details.to_string().contains(&digest))
        );
        assert!(format!("{:?}", change.rows).contains(&digest));
    }

    #[test]
    fn a_service_goes_with_its_last_key() {
        let mut world = World::new();
        let by = world.by::<ApiKeyCreate>(world.org);
        let service = Ref::new(Kind::Service, id(80));
        world.apply(create_key(&by, &world.snapshot, &new(90, fresh())));
        world.apply(create_key(
            &by,
            &world.snapshot,
            &new(91, Speaker::Existing(service)),
        ));
        world.apply(revoke_key(
            &world.by(Ref::new(Kind::ApiKey, id(90))),
            &world.snapshot,
        ));
        assert!(world.snapshot.object(service).is_some());
        world.apply(revoke_key(
            &world.by(Ref::new(Kind::ApiKey, id(91))),
            &world.snapshot,
        ));
        assert!(world.snapshot.object(service).is_none());
    }

    #[test]
    fn a_service_has_two_live_keys_and_no_third() {
        let mut world = World::new();
        let by = world.by::<ApiKeyCreate>(world.org);
        let service = Ref::new(Kind::Service, id(80));
        let again = |world: &World, number| {
            create_key(
                &by,
                &world.snapshot,
                &new(number, Speaker::Existing(service)),
            )
        };
        world.apply(create_key(&by, &world.snapshot, &new(90, fresh())));
        world.apply(again(&world, 91));
        let third = DirectoryError::KeysLive {
            service: service.to_string(),
        };
        assert_eq!(again(&world, 92).unwrap_err(), third);
        let rotation = |overlap| Rotation {
            old: Ref::new(Kind::ApiKey, id(90)),
            overlap,
            id: id(92),
            expires_at: None,
            digest: [8; 32],
        };
        let later = rotate_key(&by, &world.snapshot, &rotation(OVERLAP));
        assert_eq!(later.unwrap_err(), third);
        // One that ends now makes room for its successor.
        world.apply(rotate_key(
            &by,
            &world.snapshot,
            &rotation(TimeDelta::zero()),
        ));
        assert!(
            world
                .snapshot
                .object(Ref::new(Kind::ApiKey, id(90)))
                .is_none()
        );
        assert!(
            world
                .snapshot
                .object(Ref::new(Kind::ApiKey, id(92)))
                .is_some()
        );
    }

    #[test]
    fn a_replaced_key_goes_on_for_a_while_and_never_longer_than_before() {
        let mut world = World::new();
        let by = world.by::<ApiKeyCreate>(world.org);
        let soon = now() + TimeDelta::hours(2);
        let first = NewKey {
            expires_at: Some(soon),
            ..new(90, fresh())
        };
        world.apply(create_key(&by, &world.snapshot, &first));
        let rotation = |overlap, old, new| Rotation {
            old: Ref::new(Kind::ApiKey, id(old)),
            overlap,
            id: id(new),
            expires_at: None,
            digest: [8; 32],
        };
        let ends = |world: &World, number| {
            let key = require(&world.snapshot, Ref::new(Kind::ApiKey, id(number)));
            key.unwrap().expires_at.unwrap()
        };
        for wrong in [TimeDelta::hours(-1), TimeDelta::hours(169)] {
            assert!(rotate_key(&by, &world.snapshot, &rotation(wrong, 90, 91)).is_err());
        }
        world.apply(rotate_key(&by, &world.snapshot, &rotation(OVERLAP, 90, 91)));
        assert_eq!(ends(&world, 90), soon);
        // As long as the old one was to last, not for ever.
        assert_eq!(ends(&world, 91), soon);
        let nobody = rotation(OVERLAP, 99, 92);
        assert!(rotate_key(&by, &world.snapshot, &nobody).is_err());
    }

    #[test]
    fn a_key_ends_in_the_future_and_speaks_for_somebody() {
        let world = World::new();
        let by = world.by::<ApiKeyCreate>(world.org);
        let past = NewKey {
            expires_at: Some(now()),
            ..new(90, fresh())
        };
        assert!(create_key(&by, &world.snapshot, &past).is_err());
        let nobody = Ref::new(Kind::Service, id(99));
        let absent = create_key(&by, &world.snapshot, &new(90, Speaker::Existing(nobody)));
        assert_eq!(absent.unwrap_err(), DirectoryError::absent(nobody));
    }
}
