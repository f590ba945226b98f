//! Services and their keys: made, and revoked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde_json::json;

use super::change::{Change, RowId};
use super::object::{ApiKey, Body, Form, Kind, Object, Ref, Scope, Service};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{ApiKeyCreate, ApiKeyRevoke, Authorized, Operator};
use crate::log::vocabulary::Event;

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

/// Makes a key.
///
/// # Errors
/// A name that cannot be read, a time that is past, or no such service.
pub fn create_key(
    by: &Authorized<ApiKeyCreate>,
    snapshot: &Snapshot,
    new: &NewKey,
) -> Result<Change, DirectoryError> {
    created(snapshot, new, by.now())
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
    created(snapshot, new, by.now())
}

/// Revokes the key asked about, and its service when it has no other.
///
/// # Errors
/// It is not there.
pub fn revoke_key(
    by: &Authorized<ApiKeyRevoke>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    let Object::ApiKey(key) = snapshot.require(reference)? else {
        return Err(DirectoryError::absent(reference));
    };
    if key.form != Form::Key {
        return Err(DirectoryError::absent(reference));
    }
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

fn created(
    snapshot: &Snapshot,
    new: &NewKey,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    snapshot.organization()?;
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(DirectoryError::invalid("expires_at", "it is past"));
    }
    let called = name("name", &new.name)?;
    let (reference, service, fresh) = match &new.speaker {
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
    let key = Ref::new(Kind::ApiKey, new.id);
    if snapshot.object(key).is_some() || (fresh && snapshot.object(reference).is_some()) {
        return Err(DirectoryError::Taken {
            what: format!("the identifier `{key}`"),
        });
    }
    let scopes: Vec<_> = service.scopes.iter().map(|scope| scope.name()).collect();
    let details = json!({"name": called, "service": reference, "scopes": scopes, "expires_at": new.expires_at});
    let object = Object::ApiKey(ApiKey {
        name: called,
        service: reference,
        digest: HEXLOWER.encode(&new.digest),
        expires_at: new.expires_at,
        created_at: now,
        form: Form::Key,
    });
    let mut reply = view::body(key, &object, snapshot);
    if let Some(reply) = reply.as_object_mut() {
        // Known to `view` once the service's row is there.
        reply.insert("scopes".into(), json!(scopes));
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
