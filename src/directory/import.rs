//! People in bulk: a file compared with who is there, and the one change that makes them so. Sent again it changes nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DirectoryError;
use super::change::{Change, Effect, Happening, Row, RowId};
use super::object::{Body, Kind, Object, Ref, User};
use super::own::fresh_ids;
use super::people::{breaks_glass, count_admins};
use super::roll::is_active_admin;
use super::run;
use super::session;
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, MemberImport, Operator};
use crate::log::vocabulary::Event;

mod lines;

pub use lines::{Form, Line, PEOPLE_LIMIT, Person, read};

/// How many lines one change takes where each stands for itself: others get their turn in between.
pub const LINES_AT_ONCE: usize = 500;

/// What becomes of the rest where a line cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing of the file is taken.
    All,
    /// Each line stands for itself.
    Each,
}

/// What becomes, or became, of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Somebody joins.
    Created,
    /// Somebody who is there is changed.
    Updated,
    /// Somebody is there as the line says.
    Unchanged,
    /// It cannot be taken.
    Refused,
}

/// One line of the report: who it was about stands in it by identifier alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Counted from 1 in the file.
    pub line: u64,
    /// What becomes of it.
    pub status: Status,
    /// Who, where they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Ref>,
    /// Why it cannot be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How many lines became what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Joined.
    pub created: u64,
    /// Changed.
    pub updated: u64,
    /// There already.
    pub unchanged: u64,
    /// Not taken.
    pub refused: u64,
}

impl Counts {
    /// Of these lines.
    pub fn of<'a>(told: impl IntoIterator<Item = &'a Told>) -> Self {
        let mut counts = Self::default();
        for one in told {
            let count = match one.status {
                Status::Created => &mut counts.created,
                Status::Updated => &mut counts.updated,
                Status::Unchanged => &mut counts.unchanged,
                Status::Refused => &mut counts.refused,
            };
            *count += 1;
        }
        counts
    }

    /// Of these and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            refused: self.refused + other.refused,
        }
    }

    /// How many lines.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused
    }
}

/// Which part of a file one change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Random bits: identifiers of those who join are made of it.
    pub seed: [u8; 32],
    /// Counted from 1.
    pub number: u64,
    /// Of so many.
    pub of: u64,
    /// What becomes of the rest where a line cannot be taken.
    pub mode: Mode,
}

/// What would become of these lines.
///
/// # Errors
/// The organization has not been set up.
pub fn preview(snapshot: &Snapshot, lines: &[Line]) -> Result<Vec<Told>, DirectoryError> {
    let mut told = compared(snapshot, lines, &[0; 32])?.told;
    for one in &mut told {
        // Who is not there yet has no identifier.
        if one.status == Status::Created {
            one.id = None;
        }
    }
    Ok(told)
}

/// Makes people what these lines say. What it replies is one [`Told`] a line.
///
/// # Errors
/// `Line` where all or nothing is wanted and a line cannot be taken.
pub fn import(
    by: &Authorized<MemberImport>,
    snapshot: &Snapshot,
    lines: &[Line],
    part: &Part,
) -> Result<Change, DirectoryError> {
    imported(snapshot, lines, part, by.now())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn import_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    lines: &[Line],
    part: &Part,
) -> Result<Change, DirectoryError> {
    imported(snapshot, lines, part, by.now())
}

fn imported(
    snapshot: &Snapshot,
    lines: &[Line],
    part: &Part,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let compared = compared(snapshot, lines, &part.seed)?;
    if part.mode == Mode::All {
        let refused = compared
            .told
            .iter()
            .find_map(|told| Some((told.line, told.why.clone()?)));
        if let Some((line, why)) = refused {
            return Err(DirectoryError::Line { line, why });
        }
    }
    let counts = Counts::of(&compared.told);
    let details = json!({
        "created": counts.created, "updated": counts.updated, "unchanged": counts.unchanged,
        "refused": counts.refused, "part": part.number, "parts": part.of,
    });
    let change = Change {
        rows: compared.rows,
        events: compared.events,
        effect: Effect::Nothing,
        reply: json!(compared.told),
    };
    let suspended = compared.suspended.into_iter();
    let change = suspended.fold(change, |change, person| {
        run::stop_all(snapshot, person, change, now)
    });
    let change = change.and(Event::MemberImported, Some(snapshot.org()), details);
    count_admins(snapshot, compared.admins, change)
}

/// What a file comes to beside who is there.
struct Compared {
    told: Vec<Told>,
    rows: Vec<Row>,
    events: Vec<Happening>,
    /// Those for whom nothing may run any more.
    suspended: Vec<Ref>,
    /// How many active Admins there are afterwards.
    admins: usize,
}

impl Compared {
    fn happens(&mut self, event: Event, to: Ref, details: Value) {
        self.events.push(Happening {
            event,
            resource: Some(to),
            details,
            fact: None,
            reported: None,
        });
    }
}

fn compared(
    snapshot: &Snapshot,
    lines: &[Line],
    seed: &[u8; 32],
) -> Result<Compared, DirectoryError> {
    let members = snapshot.organization()?.members;
    let mut admins: BTreeSet<Ref> = snapshot.active_admins().collect();
    let mut compared = Compared {
        told: Vec::with_capacity(lines.len()),
        rows: Vec::new(),
        events: Vec::new(),
        suspended: Vec::new(),
        admins: 0,
    };
    // Whoever ceases to be an active Admin is looked at once everybody is known who becomes one: the order of the lines is nobody's choice.
    let mut ceasing: Vec<(usize, Ref, User)> = Vec::new();
    for (line, id) in lines.iter().zip(fresh_ids(seed)) {
        let mut told = Told {
            line: line.number,
            status: Status::Refused,
            id: None,
            why: None,
        };
        match &line.person {
            Err(why) => told.why = Some(why.clone()),
            Ok(person) => {
                let known = snapshot.user_at(&person.email);
                let known = known.and_then(|id| Some((id, snapshot.user(id)?)));
                if let Some((reference, old)) = known {
                    let new = changed(old, person);
                    told.id = Some(reference);
                    told.status = if new == *old {
                        Status::Unchanged
                    } else {
                        Status::Updated
                    };
                    if is_active_admin(old) && !is_active_admin(&new) {
                        ceasing.push((compared.told.len(), reference, new));
                    } else if new != *old {
                        admins.extend(is_active_admin(&new).then_some(reference));
                        update(&mut compared, snapshot, reference, (old, new));
                    }
                } else {
                    let reference = Ref::new(Kind::User, id);
                    let new = User {
                        name: person.name.clone(),
                        email: person.email.clone(),
                        role: person.role,
                        active: person.active.unwrap_or(true),
                        groups: [members].into(),
                        holds: 0,
                        identities: BTreeSet::new(),
                        provisioned: None,
                    };
                    admins.extend(is_active_admin(&new).then_some(reference));
                    join(&mut compared, snapshot, reference, new);
                    (told.id, told.status) = (Some(reference), Status::Created);
                }
            }
        }
        compared.told.push(told);
    }
    for (at, reference, new) in ceasing {
        let (Some(old), Some(told)) = (snapshot.user(reference), compared.told.get_mut(at)) else {
            continue;
        };
        if breaks_glass(snapshot, reference)? {
            let named = DirectoryError::BreaksGlass {
                id: reference.to_string(),
            };
            (told.status, told.why) = (Status::Refused, Some(named.to_string()));
        } else if admins.len() == 1 && admins.contains(&reference) {
            let last = DirectoryError::LastAdmin {
                id: reference.to_string(),
            };
            (told.status, told.why) = (Status::Refused, Some(last.to_string()));
        } else {
            admins.remove(&reference);
            update(&mut compared, snapshot, reference, (old, new));
        }
    }
    compared.admins = admins.len();
    Ok(compared)
}

/// Somebody as a line says, who is there.
fn changed(old: &User, person: &Person) -> User {
    User {
        name: person.name.clone(),
        role: person.role,
        active: person.active.unwrap_or(old.active),
        ..old.clone()
    }
}

fn join(compared: &mut Compared, snapshot: &Snapshot, reference: Ref, new: User) {
    let invitation = snapshot.invitation_at(&new.email);
    let details = json!({
        "name": new.name, "email": new.email, "role": new.role.name(), "active": new.active,
        "invitation": invitation,
    });
    compared.happens(Event::MemberJoined, reference, details);
    let ended = invitation.map(|one| Row::End(RowId::Object(one)));
    compared.rows.extend(ended);
    put(compared, reference, new);
}

fn update(compared: &mut Compared, snapshot: &Snapshot, reference: Ref, (old, new): (&User, User)) {
    if old.role != new.role || old.active != new.active {
        let ended = session::sessions_of(snapshot, reference).map(|(one, _)| RowId::Object(one));
        compared.rows.extend(ended.map(Row::End));
    }
    if old.role != new.role {
        let details = json!({"old": old.role.name(), "new": new.role.name()});
        compared.happens(Event::MemberRoleChanged, reference, details);
    }
    match (old.active, new.active) {
        (true, false) => {
            compared.suspended.push(reference);
            compared.happens(Event::MemberSuspended, reference, json!({}));
        }
        (false, true) => compared.happens(Event::MemberResumed, reference, json!({})),
        (true, true) | (false, false) => {}
    }
    if old.name != new.name {
        let details = json!({"name": {"old": old.name, "new": new.name}});
        compared.happens(Event::MemberImported, reference, details);
    }
    put(compared, reference, new);
}

fn put(compared: &mut Compared, reference: Ref, user: User) {
    let body = Body::Object(Object::User(user));
    compared.rows.push(Row::Put(RowId::Object(reference), body));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::invitation::{self, Inviting};
    use super::super::object::{Role, Session};
    use super::super::world::{World, id, now};
    use super::*;

    fn file(text: &str) -> Vec<Line> {
        read(
            Form::Csv,
            format!("name,email,role,active\n{text}").as_bytes(),
        )
        .unwrap()
    }

    fn part(mode: Mode) -> Part {
        Part {
            seed: [7; 32],
            number: 1,
            of: 1,
            mode,
        }
    }

    fn done(world: &World, text: &str, mode: Mode) -> Result<Change, DirectoryError> {
        import(
            &world.by(world.org),
            &world.snapshot,
            &file(text),
            &part(mode),
        )
    }

    fn statuses(world: &World, text: &str) -> Vec<Status> {
        let told = preview(&world.snapshot, &file(text)).unwrap();
        told.iter().map(|one| one.status).collect()
    }

    const NEW: &str = "Zoe,zoe@example.com,Admin,\nIan,ian@example.com,Viewer,false\n";

    #[test]
    fn an_import_made_twice_changes_nothing_the_second_time() {
        let mut world = World::new();
        let change = done(&world, NEW, Mode::All).unwrap();
        let events: Vec<Event> = change.events.iter().map(|one| one.event).collect();
        assert_eq!(
            events,
            [
                Event::MemberJoined,
                Event::MemberJoined,
                Event::MemberImported
            ]
        );
        // Computed anew on the same state it is the same.
        assert_eq!(change.rows, done(&world, NEW, Mode::All).unwrap().rows);
        world.apply(Ok(change));
        assert_eq!(world.snapshot.organization().unwrap().active_admins, 2);
        assert_eq!(statuses(&world, NEW), [Status::Unchanged; 2]);
        let again = done(&world, NEW, Mode::All).unwrap();
        assert!(again.rows.is_empty());
        assert_eq!(again.events.len(), 1);
    }

    #[test]
    fn what_a_line_changes_is_recorded_of_its_person() {
        let mut world = World::new();
        world.apply(done(&world, NEW, Mode::All));
        let other = "Zoë,zoe@example.com,Member,\nIan,ian@example.com,Viewer,true\n";
        assert_eq!(statuses(&world, other), [Status::Updated; 2]);
        let change = done(&world, other, Mode::All).unwrap();
        let zoe = world.snapshot.user_at("zoe@example.com");
        let of_zoe: Vec<Event> = change
            .events
            .iter()
            .filter(|one| one.resource == zoe)
            .map(|one| one.event)
            .collect();
        assert_eq!(of_zoe, [Event::MemberRoleChanged, Event::MemberImported]);
        assert!(
            change
                .events
                .iter()
                .any(|one| one.event == Event::MemberResumed)
        );
        // Who does not say whether they are active stays as they are.
        world.apply(done(&world, NEW, Mode::All));
        assert_eq!(
            statuses(&world, "Ian,ian@example.com,Viewer,\n"),
            [Status::Unchanged]
        );
    }

    #[test]
    fn all_or_nothing_is_nothing_where_a_line_cannot_be_taken() {
        let world = World::new();
        let broken = format!("{NEW}Eve,nobody,Member,\n");
        let refused = done(&world, &broken, Mode::All).unwrap_err();
        assert!(refused.to_string().starts_with("line 4: `email`"));
        let taken = done(&world, &broken, Mode::Each).unwrap();
        let next = world.with(&taken);
        assert!(next.user_at("zoe@example.com").is_some());
        let counts = &taken.events.last().unwrap().details;
        assert_eq!(
            (&counts["created"], &counts["refused"]),
            (&json!(2), &json!(1))
        );
    }

    #[test]
    fn the_last_active_admin_stays_whatever_a_file_says() {
        let world = World::new();
        for text in [
            "Ada,ada@example.com,Member,\n",
            "Ada,ada@example.com,Admin,false\n",
        ] {
            let refused = done(&world, text, Mode::All).unwrap_err();
            assert!(
                refused.to_string().contains("last active Admin"),
                "{refused}"
            );
            assert_eq!(statuses(&world, text), [Status::Refused]);
            let rows = done(&world, text, Mode::Each).unwrap().rows;
            assert!(rows.is_empty());
        }
        // A suspended Admin is no help; another one is, wherever their line stands.
        let suspended = "Ada,ada@example.com,Member,\nZoe,zoe@example.com,Admin,false\n";
        assert_eq!(
            statuses(&world, suspended),
            [Status::Refused, Status::Created]
        );
        let handed = "Ada,ada@example.com,Member,\nZoe,zoe@example.com,Admin,\n";
        let next = world.with(&done(&world, handed, Mode::All).unwrap());
        assert_eq!(next.organization().unwrap().active_admins, 1);
        assert_eq!(next.user(world.ada).unwrap().role, Role::Member);
        // Of two that go the second stays.
        let both = format!("{handed}Bob,bob@example.com,Member,\n");
        let mut world = world;
        world.apply(done(&world, "Bob,bob@example.com,Admin,\n", Mode::All));
        let neither = "Ada,ada@example.com,Member,\nBob,bob@example.com,Member,\n";
        assert_eq!(
            statuses(&world, neither),
            [Status::Updated, Status::Refused]
        );
        assert_eq!(
            statuses(&world, &both),
            [Status::Updated, Status::Created, Status::Updated]
        );
    }

    #[test]
    fn an_invitation_ends_with_the_import_of_whom_it_is_for() {
        let mut world = World::new();
        let inviting = Inviting {
            id: id(90),
            email: "zoe@example.com".into(),
            name: None,
            role: Role::Viewer,
            digest: "digest".into(),
        };
        let by = Operator::in_test(now());
        world.apply(invitation::invite_by_operator(
            &by,
            &world.snapshot,
            &inviting,
        ));
        world.apply(done(&world, NEW, Mode::All));
        assert_eq!(world.snapshot.invitation_at("zoe@example.com"), None);
        assert!(
            world
                .snapshot
                .object(Ref::new(Kind::Invitation, id(90)))
                .is_none()
        );
    }

    #[test]
    fn sessions_end_where_somebody_becomes_another_and_not_with_another_name() {
        let session = Ref::new(Kind::Session, id(95));
        let signed_in = || {
            let mut world = World::new();
            let body = Body::Object(Object::Session(Session {
                owner: world.bob,
                digest: "digest".into(),
                method: "oidc".into(),
                break_glass: false,
                connection: None,
                provider_session: None,
                created_at: now(),
                expires_at: now() + chrono::Duration::hours(1),
                agent: None,
                client: None,
            }));
            let begun = Change::new(Event::UserLogin, Some(world.bob), json!({}));
            world.apply(Ok(begun.put(RowId::Object(session), body)));
            world
        };
        for (line, stays) in [
            ("Bob,bob@example.com,Viewer,\n", false),
            ("Bob,bob@example.com,Member,false\n", false),
            ("Robert,bob@example.com,Member,\n", true),
        ] {
            let world = signed_in();
            assert_eq!(statuses(&world, line), [Status::Updated]);
            let next = world.with(&done(&world, line, Mode::All).unwrap());
            assert_eq!(next.object(session).is_some(), stays, "{line}");
        }
    }

    #[test]
    fn a_report_names_nobody() {
        let world = World::new();
        let told = json!(preview(&world.snapshot, &file(NEW)).unwrap()).to_string();
        assert!(!told.contains("example.com") && !told.contains("Zoe"));
    }
}
