//! What `decide` hands out once Cedar has allowed an action: nobody else can make one.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};

use crate::directory::{DirectoryError, Ref, Through};

/// A built-in action, as a type.
pub trait Action: Send + Sync + 'static {
    /// Its name in the schema.
    const NAME: &'static str;
}

/// An action that Cedar has allowed, for the state as of one index: a mutating function asks for it.
#[derive(Debug)]
pub struct Authorized<A: Action> {
    user: Option<Ref>,
    by: By,
    resource: Ref,
    as_of: u64,
    now: DateTime<Utc>,
    action: PhantomData<A>,
}

/// What credential a call came by: nothing of it for a session, and for what the operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    /// The service that it speaks for.
    pub(super) service: Option<Ref>,
    /// Whose it is.
    pub(super) through: Through,
}

impl By {
    /// By none.
    pub(super) const NONE: Self = Self {
        service: None,
        through: Through::Nobody,
    };
}

impl<A: Action> Authorized<A> {
    /// INVARIANT: called where a decision was just allowed, under the head's lock or before it is checked there.
    pub(super) const fn mint(
        (user, by): (Option<Ref>, By),
        resource: Ref,
        as_of: u64,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            user,
            by,
            resource,
            as_of,
            now,
            action: PhantomData,
        }
    }

    /// The user who acts; none for a service that provisions.
    pub const fn user(&self) -> Option<Ref> {
        self.user
    }

    /// The service whose key or certificate the call came by; none for a session.
    pub const fn service(&self) -> Option<Ref> {
        self.by.service
    }

    /// Whose that key or certificate is.
    pub const fn through(&self) -> Through {
        self.by.through
    }

    /// What was asked about.
    pub const fn resource(&self) -> Ref {
        self.resource
    }

    /// The index of the last change that the decision saw.
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The time of the decision, which is its entry's.
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

#[cfg(test)]
impl<A: Action> Authorized<A> {
    /// What a test of a pure change begins with.
    pub(crate) const fn in_test(user: Option<Ref>, resource: Ref, now: DateTime<Utc>) -> Self {
        Self::mint((user, By::NONE), resource, 0, now)
    }
}

/// What Cedar has allowed for one change that has several parts: each part asks for its own.
#[derive(Debug)]
pub struct Allowed {
    allowed: BTreeSet<(&'static str, Ref)>,
    as_of: u64,
    now: DateTime<Utc>,
}

impl Allowed {
    /// INVARIANT: called by `provisioning`, with what was just decided under the head's lock or before it is checked there.
    pub(super) const fn mint(
        allowed: BTreeSet<(&'static str, Ref)>,
        as_of: u64,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            allowed,
            as_of,
            now,
        }
    }

    /// That this action on this was allowed.
    ///
    /// # Errors
    /// It was not decided.
    pub fn to<A: Action>(&self, resource: Ref) -> Result<Authorized<A>, DirectoryError> {
        if !self.allowed.contains(&(A::NAME, resource)) {
            return Err(DirectoryError::Undecided { action: A::NAME });
        }
        Ok(Authorized {
            user: None,
            by: By::NONE,
            resource,
            as_of: self.as_of,
            now: self.now,
            action: PhantomData,
        })
    }

    /// The time of the change, which is its entries'.
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

#[cfg(test)]
impl Allowed {
    /// What a test of a pure change begins with.
    pub(crate) fn in_test(allowed: &[(&'static str, Ref)], now: DateTime<Utc>) -> Self {
        Self::mint(allowed.iter().copied().collect(), 0, now)
    }
}

/// Somebody who has proven who they are by something else than a key or a session: no policy decides, and each is recorded.
#[derive(Debug)]
pub struct Proven {
    now: DateTime<Utc>,
}

impl Proven {
    /// INVARIANT: called by `arriving`, for what has passed a provider's gate, or for a secret that was compared.
    pub(super) const fn mint(now: DateTime<Utc>) -> Self {
        Self { now }
    }

    /// The time of the change, which is its entry's.
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

#[cfg(test)]
impl Proven {
    /// What a test of a pure change begins with.
    pub(crate) const fn in_test(now: DateTime<Utc>) -> Self {
        Self::mint(now)
    }
}

#[cfg(test)]
impl Operator {
    /// What a test of a pure change begins with.
    pub(crate) const fn in_test(now: DateTime<Utc>) -> Self {
        Self::mint(now)
    }
}

/// The operator at the machine, who holds the keys: no policy decides, and each use is recorded.
#[derive(Debug)]
pub struct Operator {
    now: DateTime<Utc>,
}

impl Operator {
    pub(super) const fn mint(now: DateTime<Utc>) -> Self {
        Self { now }
    }

    /// The time of the change, which is its entry's.
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

macro_rules! actions {
    ($($action:ident = $name:literal,)*) => {
        $(
            #[doc = concat!("The action `", $name, "`.")]
            #[derive(Debug)]
            pub struct $action;

            impl Action for $action {
                const NAME: &'static str = $name;
            }
        )*
    };
}

actions! {
    AccessRequest = "access.request",
    AccessRead = "access.read",
    AccessWithdraw = "access.withdraw",
    AccessDecline = "access.decline",
    ThreadComment = "thread.comment",
    ThreadCreate = "thread.create",
    ThreadPost = "thread.post",
    ThreadRead = "thread.read",
    ThreadShare = "thread.share",
    ThreadUnshare = "thread.unshare",
    ThreadTransfer = "thread.transfer",
    ThreadRestrict = "thread.restrict",
    ThreadDelete = "thread.delete",
    DocumentUpload = "document.upload",
    DocumentRead = "document.read",
    DocumentEdit = "document.edit",
    DocumentDelete = "document.delete",
    MemoryRead = "memory.read",
    MemoryWrite = "memory.write",
    MemoryForget = "memory.forget",
    PromptTemplateCreate = "prompt_template.create",
    PromptTemplateRead = "prompt_template.read",
    PromptTemplateEdit = "prompt_template.edit",
    PromptTemplateShare = "prompt_template.share",
    PromptTemplateUnshare = "prompt_template.unshare",
    PromptTemplateDelete = "prompt_template.delete",
    ToolCreate = "tool.create",
    ToolRead = "tool.read",
    ToolEdit = "tool.edit",
    ToolShare = "tool.share",
    ToolUnshare = "tool.unshare",
    ToolDelete = "tool.delete",
    AssistantCreate = "assistant.create",
    AssistantRead = "assistant.read",
    AssistantEdit = "assistant.edit",
    AssistantShare = "assistant.share",
    AssistantUnshare = "assistant.unshare",
    AssistantDelete = "assistant.delete",
    AgentCancel = "agent.cancel",
    AgentCreate = "agent.create",
    AgentRead = "agent.read",
    AgentRun = "agent.run",
    AgentEdit = "agent.edit",
    AgentShare = "agent.share",
    AgentUnshare = "agent.unshare",
    AgentDelete = "agent.delete",
    IntegrationRead = "integration.read",
    IntegrationConnect = "integration.connect",
    IntegrationDisconnect = "integration.disconnect",
    IntegrationRefreshToken = "integration.refresh_token",
    IntegrationUse = "integration.use",
    TeamCreate = "team.create",
    TeamDelete = "team.delete",
    TeamAddMember = "team.add_member",
    TeamRemoveMember = "team.remove_member",
    ProjectCreate = "project.create",
    ProjectDelete = "project.delete",
    ProjectAddMember = "project.add_member",
    ProjectRemoveMember = "project.remove_member",
    MemberRead = "member.read",
    MemberInvite = "member.invite",
    MemberImport = "member.import",
    MemberResendInvitation = "member.resend_invitation",
    MemberRevokeInvitation = "member.revoke_invitation",
    MemberChangeRole = "member.change_role",
    MemberSuspend = "member.suspend",
    MemberRemove = "member.remove",
    MemberUpdate = "member.update",
    DirectoryGroupWrite = "directory_group.write",
    ProvisioningRead = "provisioning.read",
    ScimConfigure = "scim.configure",
    SettingsRead = "settings.read",
    SettingsUpdate = "settings.update",
    RegionUpdate = "region.update",
    PolicyActivate = "policy.activate",
    PolicyRead = "policy.read",
    PolicyRollback = "policy.rollback",
    SchemaEdit = "schema.edit",
    PolicyEdit = "policy.edit",
    EntityRead = "entity.read",
    EntityWrite = "entity.write",
    EntityDelete = "entity.delete",
    ApiKeyCreate = "api_key.create",
    ApiKeyRead = "api_key.read",
    ApiKeyRevoke = "api_key.revoke",
    SessionRead = "session.read",
    SessionRevoke = "session.revoke",
    SsoConfigure = "sso.configure",
    SsoDisable = "sso.disable",
    AuditLogRead = "audit_log.read",
    AuditLogExport = "audit_log.export",
    EventRecord = "event.record",
    DataErase = "data.erase",
    DataExport = "data.export",
    KeyRotate = "key.rotate",
    LegalHoldRelease = "legal_hold.release",
    LegalHoldSet = "legal_hold.set",
    RetentionUpdate = "retention.update",
}
