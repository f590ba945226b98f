//! Somebody whom an identity provider vouches for comes in: known by who they are there, found by an address of the organization's own
//! domain, or new.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::DirectoryError;
use super::change::{Change, RowId};
use super::connection::{Connection, ConnectionId, Protocol};
use super::object::{Body, Identity, Object, Ref, Role, User};
use super::people::{self, Joining};
use super::roll::is_active_admin;
use super::session::{self, Arrival};
use super::snapshot::Snapshot;
use crate::decide::authorized::Proven;
use crate::log::vocabulary::Event;

/// What a provider has said of somebody, once everything that it signed was checked.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The connection to it.
    pub connection: ConnectionId,
    /// Who they are there.
    pub subject: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether the provider says that the address is theirs.
    pub email_verified: bool,
    /// What people call them.
    pub name: Option<String>,
    /// The groups that it says they are in.
    pub groups: Vec<String>,
}

/// Who somebody is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// They have come by this connection before.
    Known(Ref),
    /// A member with that address, who comes by this connection for the first time.
    ByAddress(Ref),
    /// Nobody yet; they become a member.
    New,
}

/// Who that is here.
///
/// # Errors
/// The connection is not there or not in use, or they are no member and may not become one.
pub fn who(
    snapshot: &Snapshot,
    vouched: &Vouched,
    now: DateTime<Utc>,
) -> Result<Who, DirectoryError> {
    let connection = in_use(snapshot, vouched.connection)?;
    known(snapshot, connection, vouched, now)
}

/// The same, whether or not the connection is in use yet: for a test of it.
///
/// # Errors
/// They are no member and may not become one.
pub fn known(
    snapshot: &Snapshot,
    connection: &Connection,
    vouched: &Vouched,
    now: DateTime<Utc>,
) -> Result<Who, DirectoryError> {
    if let Some(user) = snapshot.identified(&identity(vouched)) {
        return Ok(Who::Known(user));
    }
    let Some(email) = vouched.email.as_deref() else {
        return Err(DirectoryError::NoMember {
            why: "the identity provider says no e-mail address",
        });
    };
    let email = people::address(email)?;
    let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
    let organization = snapshot.organization()?;
    if !is_believed(snapshot, connection, domain)? {
        return Err(DirectoryError::NoMember {
            why: "the address is of no domain that this connection is believed about: verify it, and for Google name it as `hosted_domain`",
        });
    }
    if !vouched.email_verified {
        return Err(DirectoryError::NoMember {
            why: "the identity provider does not say that the address is verified",
        });
    }
    if let Some(user) = snapshot.user_at(&email) {
        let user_is = snapshot.require_user(user)?;
        let has_another = user_is
            .identities
            .iter()
            .any(|identity| identity.connection == vouched.connection);
        // An address that was somebody else's once gives nobody what was theirs.
        return match has_another {
            true => Err(DirectoryError::NoMember {
                why: "the address is that of a member who is somebody else at the identity provider",
            }),
            false => Ok(Who::ByAddress(user)),
        };
    }
    // Whoever was invited joins so too.
    if invited(snapshot, &email, now).is_some() {
        return Ok(Who::New);
    }
    if !connection.provisioning || !organization.sign_in.owns(domain) {
        return Err(DirectoryError::NoMember {
            why: "they are no member: an Admin invites them, or has this connection make members",
        });
    }
    Ok(Who::New)
}

/// What somebody with this address was invited to be.
fn invited(snapshot: &Snapshot, email: &str, now: DateTime<Utc>) -> Option<Role> {
    let invitation = snapshot.object(snapshot.invitation_at(email)?)?;
    match &invitation.value {
        Object::Invitation(invitation) if now < invitation.expires_at => Some(invitation.role),
        _ => None,
    }
}

/// Whether what the provider says of addresses of this domain is believed: of one that was shown to be the organization's, and of Google of
/// those that it gives out itself. Anybody may have a Google account under an address of any domain, so for Google it is the one domain that
/// the claim `hd` must name.
fn is_believed(
    snapshot: &Snapshot,
    connection: &Connection,
    domain: &str,
) -> Result<bool, DirectoryError> {
    Ok(match &connection.protocol {
        Protocol::Oidc(oidc) if oidc.issuer == GOOGLE => {
            domain == "gmail.com" || oidc.hosted_domain.as_deref() == Some(domain)
        }
        Protocol::Oidc(_) | Protocol::Saml(_) => snapshot.organization()?.sign_in.owns(domain),
    })
}

/// Google's issuer identifier.
pub const GOOGLE: &str = "https://accounts.google.com";

/// What the edge has found, which must still be so.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Who that is here.
    pub who: Who,
    /// How the connection was set when the provider's answer was checked.
    pub protocol: Protocol,
}

/// They come in: a session begins, for a member who is made where there is none. `arrival.user` is who they are, or the new one's
/// reference.
///
/// # Errors
/// They may not come in, or are somebody else by now: then the sign-in is begun again.
pub fn enter(
    by: &Proven,
    snapshot: &Snapshot,
    (vouched, arrival): (&Vouched, &Arrival),
    expected: &Expected,
) -> Result<Change, DirectoryError> {
    let connection = in_use(snapshot, vouched.connection)?;
    let who = known(snapshot, connection, vouched, by.now())?;
    if connection.protocol != expected.protocol || who != expected.who {
        return Err(DirectoryError::Moved);
    }
    let (user, change) = match who {
        Who::Known(user) => (user, Change::new(Event::UserLogin, None, json!({}))),
        Who::ByAddress(user) => (user, linked(snapshot, user, vouched)?),
        Who::New => {
            let reference = arrival.user;
            (
                reference,
                joined(by, snapshot, connection, (vouched, reference))?,
            )
        }
    };
    if user != arrival.user {
        return Err(DirectoryError::Moved);
    }
    let is_over = |until: &chrono::DateTime<chrono::Utc>| by.now() >= *until;
    let notice = snapshot.organization()?.sign_in.saml_until;
    if matches!(connection.protocol, Protocol::Saml(_))
        && notice.as_ref().is_some_and(is_over)
        // A plan shuts nobody out who could do something about it.
        && !snapshot.user(user).is_some_and(is_active_admin)
    {
        return Err(DirectoryError::NoMember {
            why: "the organization's plan has no SAML any more: an Admin gives you a link, or sets up another way",
        });
    }
    let is_there = snapshot.user(user).is_some();
    let change = match is_there {
        true => with_role(snapshot, connection, (vouched, user), change)?,
        false => change,
    };
    session::entered(by, snapshot, arrival, change, is_there)
}

fn in_use(snapshot: &Snapshot, id: ConnectionId) -> Result<&Connection, DirectoryError> {
    let found = snapshot.connection(id).map(|stored| &stored.value);
    found
        .filter(|connection| connection.enabled)
        .ok_or(DirectoryError::NoMember {
            why: "this way of signing in is not in use",
        })
}

fn identity(vouched: &Vouched) -> Identity {
    Identity {
        connection: vouched.connection,
        subject: vouched.subject.clone(),
    }
}

fn linked(snapshot: &Snapshot, user: Ref, vouched: &Vouched) -> Result<Change, DirectoryError> {
    let old = snapshot.require_user(user)?;
    let mut identities = old.identities.clone();
    identities.insert(identity(vouched));
    let object = Object::User(User {
        identities,
        ..old.clone()
    });
    Ok(Change::new(Event::UserLogin, None, json!({}))
        .put(RowId::Object(user), Body::Object(object)))
}

fn joined(
    by: &Proven,
    snapshot: &Snapshot,
    connection: &Connection,
    (vouched, reference): (&Vouched, Ref),
) -> Result<Change, DirectoryError> {
    let email = vouched.email.clone().unwrap_or_default();
    let called = vouched
        .name
        .clone()
        .filter(|name| super::name("name", name).is_ok());
    let asked = people::address(&email)
        .ok()
        .and_then(|email| invited(snapshot, &email, by.now()));
    let role = granted(connection, &vouched.groups)
        .or(asked)
        .unwrap_or(connection.default_role);
    let joining = Joining {
        id: reference.id,
        name: called.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned()),
        email,
        role,
    };
    let identities = [identity(vouched)].into();
    let change = people::joined(snapshot, (&joining, identities), by.now())?;
    Ok(change.and(Event::UserLogin, None, json!({})))
}

/// The role that their groups give: the highest.
fn granted(connection: &Connection, groups: &[String]) -> Option<Role> {
    let given = groups
        .iter()
        .filter_map(|group| connection.group_roles.get(group));
    given.copied().max_by_key(|role| match role {
        Role::Admin => 2,
        Role::Member => 1,
        Role::Viewer => 0,
    })
}

/// Where the provider's groups say what somebody is, they are it from this sign-in on; the last active Admin stays one.
fn with_role(
    snapshot: &Snapshot,
    connection: &Connection,
    (vouched, user): (&Vouched, Ref),
    change: Change,
) -> Result<Change, DirectoryError> {
    if connection.group_roles.is_empty() {
        return Ok(change);
    }
    let role = granted(connection, &vouched.groups).unwrap_or(connection.default_role);
    let old = snapshot.require_user(user)?;
    if old.role == role
        || people::is_last_admin(snapshot, user)
        || people::breaks_glass(snapshot, user)?
    {
        return Ok(change);
    }
    let mut identities = old.identities.clone();
    identities.insert(identity(vouched));
    let changed = User {
        role,
        identities,
        ..old.clone()
    };
    let details = json!({"old": old.role.name(), "new": role.name(), "by": "groups"});
    let said = people::replaced(snapshot, user, changed, Event::MemberRoleChanged, details)?;
    let mut said = session::end_sessions(snapshot, user, said);
    said.events.extend(change.events);
    Ok(said)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::connection::{Domain, Oidc};
    use super::super::object::{Kind, Organization};
    use super::super::people::{Standing, remove, set_active};
    use super::super::world::{World, id, now};
    use super::*;

    const AT: ConnectionId = ConnectionId(id(1));

    fn google(hosted_domain: Option<&str>) -> Connection {
        Connection {
            name: "Google".into(),
            protocol: Protocol::Oidc(Oidc {
                issuer: GOOGLE.into(),
                client_id: "us".into(),
                client_secret: None,
                scopes: ["email".to_owned()].into(),
                groups_claim: Some("groups".into()),
                hosted_domain: hosted_domain.map(str::to_owned),
            }),
            enabled: true,
            tested_by: [].into(),
            provisioning: true,
            default_role: Role::Viewer,
            group_roles: [].into(),
        }
    }

    fn with(world: &mut World, connection: Connection, owned: &[&str]) {
        let mut organization: Organization = world.snapshot.organization().unwrap().clone();
        for domain in owned {
            let domain_is = Domain {
                token: "x".into(),
                verified_at: Some(now()),
            };
            organization
                .sign_in
                .domains
                .insert((*domain).into(), domain_is);
        }
        let change = Change::new(Event::SettingsUpdated, None, json!({}))
            .put(RowId::Connection(AT), Body::Connection(connection))
            .put(
                RowId::Object(world.org),
                Body::Object(Object::Organization(organization)),
            );
        world.apply(Ok(change));
    }

    fn vouched(subject: &str, email: &str) -> Vouched {
        Vouched {
            connection: AT,
            subject: subject.into(),
            email: Some(email.into()),
            email_verified: true,
            name: Some("Eve".into()),
            groups: vec![],
        }
    }

    fn arrival(number: u8, user: Ref) -> Arrival {
        Arrival {
            id: id(number),
            digest: [number; 32],
            user,
            method: "oidc",
            break_glass: false,
            connection: Some(AT),
            provider_session: None,
            ends_at: None,
            agent: None,
            client: None,
        }
    }

    fn expected(snapshot: &Snapshot, vouched: &Vouched) -> Result<Expected, DirectoryError> {
        Ok(Expected {
            who: who(snapshot, vouched, now())?,
            protocol: snapshot.connection(AT).unwrap().value.protocol.clone(),
        })
    }

    fn come(world: &mut World, number: u8, vouched: &Vouched) -> Result<Ref, DirectoryError> {
        let new = Ref::new(Kind::User, id(number));
        let user = match who(&world.snapshot, vouched, now())? {
            Who::Known(user) | Who::ByAddress(user) => user,
            Who::New => new,
        };
        let expected = expected(&world.snapshot, vouched)?;
        let by = Proven::in_test(now());
        let change = enter(
            &by,
            &world.snapshot,
            (vouched, &arrival(number, user)),
            &expected,
        )?;
        world.apply(Ok(change));
        assert!(
            world
                .snapshot
                .object(Ref::new(Kind::Session, id(number)))
                .is_some()
        );
        Ok(user)
    }

    #[test]
    fn somebody_new_of_an_own_domain_becomes_a_member_and_is_known_again() {
        let mut world = World::new();
        with(&mut world, google(Some("example.com")), &["example.com"]);
        let eve = vouched("1", "eve@example.com");
        let user = come(&mut world, 90, &eve).unwrap();
        let member = world.snapshot.require_user(user).unwrap();
        assert_eq!(
            (member.role, member.email.as_str()),
            (Role::Viewer, "eve@example.com")
        );
        // Known by who they are, whatever their address has become.
        let again = vouched("1", "renamed@elsewhere.example");
        assert_eq!(come(&mut world, 91, &again).unwrap(), user);
    }

    #[test]
    fn an_address_is_believed_of_an_own_domain_and_of_the_providers_own_alone() {
        let mut world = World::new();
        with(&mut world, google(None), &[]);
        // Bob has been invited: his address is at a domain that nobody has verified.
        assert!(come(&mut world, 90, &vouched("1", "bob@example.com")).is_err());
        with(&mut world, google(Some("example.com")), &[]);
        assert_eq!(
            come(&mut world, 90, &vouched("1", "bob@example.com")).unwrap(),
            world.bob
        );
        // A domain that is the organization's own is no word of Google's about a private account under it.
        with(&mut world, google(None), &["example.com"]);
        assert!(come(&mut world, 93, &vouched("4", "ada@example.com")).is_err());
        with(&mut world, google(Some("example.org")), &[]);
        // But nobody becomes a member by it, without a domain that is the organization's own.
        assert!(come(&mut world, 91, &vouched("2", "eve@example.com")).is_err());
        let unverified = Vouched {
            email_verified: false,
            ..vouched("3", "ada@example.com")
        };
        assert!(come(&mut world, 92, &unverified).is_err());
        let silent = Vouched {
            email: None,
            ..vouched("3", "ada@example.com")
        };
        assert!(come(&mut world, 92, &silent).is_err());
    }

    #[test]
    fn an_address_that_was_somebody_elses_gives_nothing_of_theirs() {
        let mut world = World::new();
        with(&mut world, google(Some("example.com")), &["example.com"]);
        come(&mut world, 90, &vouched("1", "bob@example.com")).unwrap();
        assert!(come(&mut world, 91, &vouched("2", "bob@example.com")).is_err());
    }

    #[test]
    fn whoever_has_left_or_is_suspended_stays_out() {
        let mut world = World::new();
        with(
            &mut world,
            Connection {
                provisioning: false,
                ..google(Some("example.com"))
            },
            &["example.com"],
        );
        let bob = vouched("1", "bob@example.com");
        come(&mut world, 90, &bob).unwrap();
        let suspended = set_active(&world.by(world.bob), &world.snapshot, Standing::Suspended);
        world.apply(suspended);
        assert_eq!(
            come(&mut world, 91, &bob).unwrap_err(),
            DirectoryError::Suspended
        );
        let left = remove(&world.by(world.bob), &world.snapshot);
        world.apply(left);
        assert!(come(&mut world, 92, &bob).is_err());
    }

    #[test]
    fn saml_ends_thirty_days_after_the_plan_that_has_it_but_for_the_last_admin() {
        use crate::decide::authorized::Operator;
        use crate::directory::connection::{Binding, SAML_NOTICE, Saml};
        use crate::directory::object::Plan;
        use crate::directory::organization::set_plan;
        let mut world = World::new();
        let saml = Saml {
            entity_id: "idp".into(),
            sso_url: "https://idp.example".into(),
            binding: Binding::Post,
            certificates: vec![],
            idp_initiated: false,
            email_attribute: None,
            name_attribute: None,
            groups_attribute: None,
        };
        let connection = Connection {
            protocol: Protocol::Saml(saml),
            ..google(Some("example.com"))
        };
        with(&mut world, connection, &["example.com"]);
        let by = Operator::in_test(now());
        world.apply(set_plan(&by, &world.snapshot, Plan::Business));
        let at = |after: chrono::Duration, number: u8, user: Ref, whom: &Vouched| {
            let by = Proven::in_test(now() + after);
            let expected = expected(&world.snapshot, whom)?;
            enter(
                &by,
                &world.snapshot,
                (whom, &arrival(number, user)),
                &expected,
            )
        };
        let (bob, ada) = (
            vouched("1", "bob@example.com"),
            vouched("2", "ada@example.com"),
        );
        let almost = SAML_NOTICE - chrono::Duration::seconds(1);
        assert!(at(almost, 90, world.bob, &bob).is_ok());
        assert!(at(SAML_NOTICE, 90, world.bob, &bob).is_err());
        assert!(at(SAML_NOTICE, 90, world.ada, &ada).is_ok());
        let by = Operator::in_test(now());
        world.apply(set_plan(&by, &world.snapshot, Plan::Enterprise));
        assert_eq!(
            world.snapshot.organization().unwrap().sign_in.saml_until,
            None
        );
    }

    #[test]
    fn groups_say_what_somebody_is_but_for_the_last_admin() {
        let mut world = World::new();
        let roles = [
            ("admins".to_owned(), Role::Admin),
            ("staff".to_owned(), Role::Member),
        ];
        with(
            &mut world,
            Connection {
                group_roles: roles.into(),
                ..google(Some("example.com"))
            },
            &["example.com"],
        );
        let as_of = |groups: &[&str], one: Vouched| Vouched {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..one
        };
        let ada = vouched("1", "ada@example.com");
        come(&mut world, 90, &as_of(&["staff"], ada)).unwrap();
        let role = |world: &World, user| world.snapshot.require_user(user).unwrap().role;
        assert_eq!(role(&world, world.ada), Role::Admin);
        let bob = vouched("2", "bob@example.com");
        come(&mut world, 91, &as_of(&["staff", "admins"], bob.clone())).unwrap();
        assert_eq!(role(&world, world.bob), Role::Admin);
        assert_eq!(world.snapshot.organization().unwrap().active_admins, 2);
        come(&mut world, 92, &as_of(&[], bob)).unwrap();
        assert_eq!(role(&world, world.bob), Role::Viewer);
        // Who may less now is signed in by the newest sign-in alone.
        assert_eq!(session::sessions_of(&world.snapshot, world.bob).count(), 1);
    }
}
