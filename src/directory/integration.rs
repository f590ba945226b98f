//! Integrations: connected and disconnected; what becomes of their tokens stands in `content`.

use serde_json::json;

use super::change::{Change, RowId};
use super::made::Audience;
use super::object::{Body, Integration, Kind, Object, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{Authorized, IntegrationConnect, IntegrationDisconnect};
use crate::log::vocabulary::Event;

/// A new connection; its token is kept elsewhere.
#[derive(Debug, Clone)]
pub struct Connection {
    /// 128 random bits.
    pub id: [u8; 16],
    /// What people call it.
    pub name: String,
    /// What it connects to.
    pub provider: String,
    /// Who may use it beside Admins.
    pub audience: Audience,
}

/// Connects something outside.
///
/// # Errors
/// A name or provider that cannot be read, or an audience that is no container's members group.
pub fn connect(
    _by: &Authorized<IntegrationConnect>,
    snapshot: &Snapshot,
    connection: &Connection,
) -> Result<Change, DirectoryError> {
    let audience = match connection.audience {
        Audience::Private => None,
        Audience::Members(group) if snapshot.is_members_group(group) => Some(group),
        Audience::Members(_) => {
            return Err(DirectoryError::invalid(
                "audience",
                "it is no container's members group",
            ));
        }
    };
    let integration = Integration {
        name: name("name", &connection.name)?,
        provider: name("provider", &connection.provider)?,
        audience,
        refreshed_at: None,
    };
    let details =
        json!({"name": integration.name, "provider": integration.provider, "audience": audience});
    let reference = Ref::new(Kind::Integration, connection.id);
    Ok(put(
        snapshot,
        Event::IntegrationConnected,
        reference,
        integration,
        details,
    ))
}

/// Ends the integration asked about.
///
/// # Errors
/// It is not there.
pub fn disconnect(
    by: &Authorized<IntegrationDisconnect>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    let old = snapshot.require_integration(reference)?;
    let details = json!({"name": old.name, "provider": old.provider});
    Ok(
        Change::new(Event::IntegrationDisconnected, Some(reference), details)
            .end(RowId::Object(reference))
            .reply(json!({"id": reference})),
    )
}

fn put(
    snapshot: &Snapshot,
    event: Event,
    reference: Ref,
    integration: Integration,
    details: serde_json::Value,
) -> Change {
    let object = Object::Integration(integration);
    let reply = view::body(reference, &object, snapshot);
    Change::new(event, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id};
    use super::*;

    #[test]
    fn an_integration_is_for_a_containers_members() {
        let world = World::new();
        let by = world.by::<IntegrationConnect>(world.org);
        let circle = world.snapshot.require_circle(world.team).unwrap();
        let connection = |audience| Connection {
            id: id(90),
            name: "Mail".into(),
            provider: "imap".into(),
            audience,
        };
        assert!(
            connect(
                &by,
                &world.snapshot,
                &connection(Audience::Members(circle.members))
            )
            .is_ok()
        );
        assert!(connect(&by, &world.snapshot, &connection(Audience::Private)).is_ok());
        assert!(
            connect(
                &by,
                &world.snapshot,
                &connection(Audience::Members(circle.leads))
            )
            .is_err()
        );
    }

    #[test]
    fn a_disconnected_integration_is_gone() {
        let mut world = World::new();
        let integration = world.integration_for_the_team();
        world.apply(disconnect(&world.by(integration), &world.snapshot));
        assert!(disconnect(&world.by(integration), &world.snapshot).is_err());
    }
}
