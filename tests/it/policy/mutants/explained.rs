//! The mutants that no check notices, each with the reason for which it is no other policy.

use std::collections::BTreeMap;

/// A reason, and the mutants that it is the reason for: the policy, a colon, and what was done.
type Reason = (&'static str, &'static [&'static str]);

/// The one reason that analysis knows nothing of: it looks at every request that the schema allows, also at those that the service never makes.
pub const NEVER_ASKED: &str = "only an agent's and a key's question has an acting person, and what keys may is permitted to all of them and held by their scopes";

const REASONS: &[Reason] = &[
    (
        "nothing is in a role or a layer but itself",
        &[
            "access.log: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.administer: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.audit: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.create: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.export: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.members: in for ==: 1: principal.role == Role::\"Admin\"",
            "admin.tend: in for ==: 1: principal.role == Role::\"Admin\"",
            "admins.administer: in for ==: 1: principal.role == Role::\"Admin\"",
            "agents.integration: in for ==: 1: context.cedarkeep.acts_for.role == Role::\"Admin\"",
            "agents.memory_organization: in for ==: 1: resource.layer == Layer::\"organization\"",
            "agents.memory_personal: in for ==: 1: resource.layer == Layer::\"personal\"",
            "integrations.admin: in for ==: 1: principal.role == Role::\"Admin\"",
            "last_admin.demoted: in for ==: 1: resource.role == Role::\"Admin\"",
            "last_admin.demoted: in for ==: 2: context.new_role == Role::\"Admin\"",
            "last_admin.leaves: in for ==: 1: resource.role == Role::\"Admin\"",
            "memory.admin_forget: in for ==: 1: principal.role == Role::\"Admin\"",
            "memory.organization: in for ==: 1: resource.layer == Layer::\"organization\"",
            "memory.organization_new: in for ==: 1: principal.role == Role::\"Admin\"",
            "memory.organization_write: in for ==: 1: principal.role == Role::\"Admin\"",
            "memory.organization_write: in for ==: 1: resource.layer == Layer::\"organization\"",
            "memory.personal: in for ==: 1: resource.layer == Layer::\"personal\"",
            "personal.acts_for: in for ==: 1: resource.layer == Layer::\"personal\"",
            "personal.user: in for ==: 1: resource.layer == Layer::\"personal\"",
            "viewer.ceiling: in for ==: 1: principal.role == Role::\"Viewer\"",
            "viewer.ceiling: in for ==: 2: resource.layer == Layer::\"personal\"",
        ],
    ),
    (
        "the action is no group: nothing is in it but itself",
        &[
            "viewer.ceiling: in for ==: 2: action == Action::\"access.withdraw\"",
            "admins.administer: in for ==: 1: action == Action::\"project.delete\"",
            "admins.administer: in for ==: 1: action == Action::\"thread.restrict\"",
            "viewer.ceiling: in for ==: 2: action == Action::\"data.export\"",
            "viewer.ceiling: in for ==: 2: action == Action::\"memory.forget\"",
        ],
    ),
    (
        "nothing is in a person, an organization or an agent's definition of these but itself",
        &[
            "access.own: in for ==: 1: resource.owner == principal",
            "viewer.ceiling: in for ==: 2: resource.owner == principal",
            "admins.administer: in for ==: 1: resource == principal",
            "admins.administer: in for ==: 1: resource.owner == principal",
            "agents.runs: in for ==: 1: context.cedarkeep.acts_for == resource.owner",
            "agents.runs: in for ==: 1: principal.definition == resource.definition",
            "everyone.self: in for ==: 1: resource == principal",
            "isolation.resource: in for ==: 1: principal.org == resource.org",
            "memory.thread_new: in for ==: 1: resource.owner == principal",
            "owner.document: in for ==: 1: resource.owner == principal",
            "owner.made: in for ==: 1: resource.owner == principal",
            "owner.thread: in for ==: 1: resource.owner == principal",
            "personal.acts_for: in for ==: 2: context.cedarkeep.acts_for == resource.owner",
            "personal.acts_for_new: in for ==: 2: context.cedarkeep.acts_for == resource",
            "personal.run: in for ==: 1: resource.owner == principal",
            "personal.run_agent: in for ==: 1: context.cedarkeep.acts_for == resource.owner",
            "personal.user: in for ==: 2: resource.owner == principal",
            "personal.user_new: in for ==: 1: resource == principal",
            "viewer.ceiling: in for ==: 2: resource == principal",
        ],
    ),
    (
        "the actions apply to nothing else, or nothing else has what the condition asks for",
        &[
            "agents.memory_organization: scope widened: resource",
            "agents.memory_project: scope widened: resource",
            "agents.memory_team: scope widened: resource",
            "everyone.self: scope widened: resource",
            "last_admin.demoted: scope widened: resource",
            "memory.organization: scope widened: resource",
            "memory.project: scope widened: resource",
            "memory.project_forget: scope widened: resource",
            "memory.team: scope widened: resource",
            "memory.team_forget: scope widened: resource",
            "memory.thread_audience: scope widened: resource",
            "memory.thread_owner: scope widened: resource",
        ],
    ),
    (
        NEVER_ASKED,
        &[
            "agents.memory_project: scope widened: principal",
            "agents.memory_project_new: scope widened: principal",
            "agents.memory_team: scope widened: principal",
            "agents.memory_team_new: scope widened: principal",
        ],
    ),
    (
        "of those who may ask, only a person is in a group or owns something, and is somebody; agents and keys have the same by policies of their own",
        &[
            "access.own: scope widened: principal",
            "access.owner: scope widened: principal",
            "audience.read: scope widened: principal",
            "audience.thread_document: scope widened: principal",
            "audience.use: scope widened: principal",
            "everyone.directory: scope widened: principal",
            "everyone.self: scope widened: principal",
            "integrations.audience: scope widened: principal",
            "leads.delete_project: scope widened: principal",
            "leads.members: scope widened: principal",
            "members.create: scope widened: principal",
            "members.create_project: scope widened: principal",
            "members.upload_organization: scope widened: principal",
            "members.upload_project: scope widened: principal",
            "members.upload_team: scope widened: principal",
            "memory.organization: scope widened: principal",
            "memory.personal_new: scope widened: principal",
            "memory.project: scope widened: principal",
            "memory.project_forget: scope widened: principal",
            "memory.project_new: scope widened: principal",
            "memory.team: scope widened: principal",
            "memory.team_forget: scope widened: principal",
            "memory.team_new: scope widened: principal",
            "memory.thread_audience: scope widened: principal",
            "memory.thread_new: scope widened: principal",
            "memory.thread_owner: scope widened: principal",
            "owner.document: scope widened: principal",
            "owner.made: scope widened: principal",
            "owner.thread: scope widened: principal",
            "owner.thread_document: scope widened: principal",
        ],
    ),
    (
        "a guardrail forbids it to agents, and to a key its scope opens it",
        &["access.ask: scope widened: principal"],
    ),
    (
        "a question for training is refused by its purpose before any policy is asked",
        &["never.train_purpose: scope widened: action"],
    ),
    (
        "the schema lets none but a service ask for these",
        &[
            "services.decide: scope widened: principal",
            "services.explain: scope widened: principal",
            "services.search: scope widened: principal",
        ],
    ),
];

/// Each by its name, with its reason.
pub fn by_name() -> BTreeMap<String, &'static str> {
    let mut all = BTreeMap::new();
    for (why, names) in REASONS {
        for name in *names {
            let twice = all.insert((*name).to_owned(), *why);
            assert!(twice.is_none(), "{name} is explained twice");
        }
    }
    all
}
