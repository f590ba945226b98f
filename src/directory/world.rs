//! A small organization for the tests of this room, built by the changes that it tests.
#![expect(clippy::unwrap_used, reason = "a test")]

use cedar_policy::Schema;
use chrono::{DateTime, Utc};

use super::change::{Change, Row, RowId};
use super::circle::{CircleIds, create_circle};
use super::expiry::End;
use super::integration::{Connection, connect};
use super::made::{Audience, New, create};
use super::object::{AgentRun, Body, Kind, Level, Object, Plan, Ref, Role};
use super::organization::{Founding, found};
use super::people::{Joining, Standing, change_role, join_by_operator, set_active};
use super::share::{Grant, share};
use super::snapshot::Snapshot;
use super::{DirectoryError, memory};
use crate::decide::authorized::{
    Action, AgentCreate, Authorized, Operator, ProjectCreate, TeamCreate, ThreadCreate, ThreadShare,
};

/// The organization, its Admin Ada, its member Bob, and Ada's team with a project in it.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) org: Ref,
    pub(super) ada: Ref,
    pub(super) bob: Ref,
    pub(super) team: Ref,
    pub(super) project: Ref,
    schema: Schema,
}

/// The time of every test.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// Bits that are as good as random here.
pub(super) const fn id(number: u8) -> [u8; 16] {
    [number; 16]
}

impl World {
    pub(super) fn new() -> Self {
        let own = "entity Ticket { title: String };";
        let (schema, _) =
            Schema::from_cedarschema_str(&format!("{}\n{own}", crate::policy::SCHEMA)).unwrap();
        let org = Ref::new(Kind::Organization, id(1));
        let (ada, bob) = (Ref::new(Kind::User, id(10)), Ref::new(Kind::User, id(11)));
        let (team, project) = (
            Ref::new(Kind::Team, id(20)),
            Ref::new(Kind::Project, id(30)),
        );
        let snapshot = Snapshot::empty(org);
        let mut world = Self {
            snapshot,
            org,
            ada,
            bob,
            team,
            project,
            schema,
        };
        let by = Operator::in_test(now());
        world.apply(found(
            &by,
            org,
            &Founding {
                name: "Acme".into(),
                plan: Plan::Enterprise,
            },
            id(2),
        ));
        for (user, name, role) in [(ada, "Ada", Role::Admin), (bob, "Bob", Role::Member)] {
            let email = format!("{name}@example.com");
            let joining = Joining {
                id: user.id,
                name: name.into(),
                email,
                role,
            };
            world.apply(join_by_operator(&by, &world.snapshot, &joining));
        }
        let ids = |first| CircleIds {
            circle: id(first),
            members: id(first + 1),
            leads: id(first + 2),
        };
        world.apply(create_circle(
            &world.by::<TeamCreate>(org),
            &world.snapshot,
            ids(20),
            "Team",
        ));
        world.apply(create_circle(
            &world.by::<ProjectCreate>(team),
            &world.snapshot,
            ids(30),
            "Project",
        ));
        world
    }

    /// Allowed to Ada.
    pub(super) fn by<A: Action>(&self, resource: Ref) -> Authorized<A> {
        self.by_user(self.ada, resource)
    }

    /// Allowed to this user.
    pub(super) fn by_user<A: Action>(&self, user: Ref, resource: Ref) -> Authorized<A> {
        Authorized::in_test(Some(user), resource, now())
    }

    /// Allowed to a service that provisions.
    pub(super) fn by_nobody<A: Action>(&self, resource: Ref) -> Authorized<A> {
        Authorized::in_test(None, resource, now())
    }

    /// The snapshot with this change.
    pub(super) fn with(&self, change: &Change) -> Snapshot {
        let next = self.snapshot.as_of() + 1;
        self.snapshot
            .with(&change.rows, next, &|_| next, &self.schema)
            .unwrap()
    }

    pub(super) fn apply(&mut self, change: Result<Change, DirectoryError>) {
        self.snapshot = self.with(&change.unwrap());
    }

    /// Makes somebody an Admin.
    pub(super) fn promote(&mut self, user: Ref) {
        let by = self.by(user);
        self.apply(change_role(&by, &self.snapshot, Role::Admin));
    }

    /// Ada's thread in the project.
    pub(super) fn thread(&mut self, audience: Audience) -> Ref {
        let new = New {
            id: id(40),
            agent: id(0),
            name: "Talk".into(),
            audience,
        };
        self.apply(create(
            &self.by::<ThreadCreate>(self.project),
            &self.snapshot,
            &new,
        ));
        Ref::new(Kind::Thread, id(40))
    }

    /// The same, shared with Bob.
    pub(super) fn shared_thread(&mut self) -> (Ref, [u8; 16]) {
        let thread = self.thread(Audience::Private);
        let grant = Grant {
            grantee: self.bob,
            level: Level::Viewer,
            until: End::Never,
        };
        self.apply(share(
            &self.by::<ThreadShare>(thread),
            &self.snapshot,
            id(41),
            &grant,
        ));
        (thread, id(41))
    }

    /// A memory there.
    pub(super) fn memory_of(&mut self, at: Ref) -> Ref {
        self.apply(memory::write_new(
            &self.by(at),
            &self.snapshot,
            id(50),
            "Facts",
        ));
        Ref::new(Kind::Memory, id(50))
    }

    /// An agent's definition in the team.
    pub(super) fn definition(&mut self) -> Ref {
        let new = New {
            id: id(60),
            agent: id(61),
            name: "Clerk".into(),
            audience: Audience::Private,
        };
        self.apply(create(
            &self.by::<AgentCreate>(self.team),
            &self.snapshot,
            &new,
        ));
        Ref::new(Kind::AgentDefinition, id(60))
    }

    /// A run of an agent for Bob.
    pub(super) fn run_for_bob(&mut self) -> Ref {
        let definition = self.definition();
        let run = Ref::new(Kind::AgentRun, id(62));
        let body = Body::Object(Object::AgentRun(AgentRun {
            owner: self.bob,
            definition,
            status: super::run::Status::Running,
            started_at: None,
            ended_at: None,
        }));
        let rows = [Row::Put(RowId::Object(run), body)];
        let next = self.snapshot.as_of() + 1;
        self.snapshot = self
            .snapshot
            .with(&rows, next, &|_| next, &self.schema)
            .unwrap();
        run
    }

    /// An integration for the team's members.
    pub(super) fn integration_for_the_team(&mut self) -> Ref {
        let audience = Audience::Members(self.snapshot.members(self.team).unwrap());
        let connection = Connection {
            id: id(70),
            name: "Mail".into(),
            provider: "imap".into(),
            audience,
        };
        self.apply(connect(&self.by(self.org), &self.snapshot, &connection));
        Ref::new(Kind::Integration, id(70))
    }

    /// Nobody signs in but by OIDC, and this Admin by their link.
    pub(super) fn enforce_sso(&mut self, break_glass: Ref) {
        let mut organization = self.snapshot.organization().unwrap().clone();
        organization.sso_enforced = Some("oidc".into());
        organization.sign_in.break_glass = Some(break_glass);
        let body = Body::Object(Object::Organization(organization));
        let rows = [Row::Put(RowId::Object(self.org), body)];
        let next = self.snapshot.as_of() + 1;
        let changed = self.snapshot.with(&rows, next, &|_| next, &self.schema);
        self.snapshot = changed.unwrap();
    }

    pub(super) fn suspend_bob(&mut self) {
        self.apply(set_active(
            &self.by(self.bob),
            &self.snapshot,
            Standing::Suspended,
        ));
    }
}
