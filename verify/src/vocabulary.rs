//! The closed lists of words that an entry may use: events and their categories, outcomes, refusals and the names of parts.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it stands in an entry.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one that stands in an entry as `text`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

macro_rules! events {
    ($($category:ident { $($variant:ident = $text:literal,)* })*) => {
        words! {
            /// What happened.
            Event { $($($variant = $text,)*)* }
        }

        impl Event {
            /// The chapter that reviewers filter by.
            #[must_use]
            pub const fn category(self) -> Category {
                match self { $($(Self::$variant => Category::$category,)*)* }
            }
        }
    };
}

impl Event {
    /// Whether its entry is of a change, which moves the log's last change; the others only say what was asked or seen.
    #[must_use]
    pub const fn changes_state(self) -> bool {
        !matches!(
            self,
            Self::DecisionMade
                | Self::SearchMade
                | Self::AuditLogRead
                | Self::AuditLogExported
                | Self::ContentRead
                | Self::IntegrationUsed
                | Self::ApiKeyRejected
                | Self::RequestsLimited
                | Self::UserLogin
                | Self::UserLoginFailed
                | Self::UserLogout
                | Self::LogHeartbeat
                | Self::LogAnchored
        )
    }

    /// Whether its entry may be of content alone: then no decision is made on what changed, and the log's last change stays where it is.
    #[must_use]
    pub const fn may_be_of_content(self) -> bool {
        matches!(
            self,
            Self::ThreadPosted
                | Self::DocumentEdited
                | Self::MemoryWritten
                | Self::MemoryForgotten
                | Self::PromptTemplateEdited
                | Self::ToolEdited
                | Self::AssistantEdited
                | Self::AgentEdited
                | Self::AgentRunRecorded
        )
    }
}

words! {
    /// The chapters of the events.
    Category {
        Decision = "decision",
        Authentication = "authentication",
        Membership = "membership",
        Settings = "settings",
        Integrations = "integrations",
        AiActivity = "ai_activity",
        DataOperations = "data_operations",
    }
}

words! {
    /// Why something was denied or failed. Nothing of it is a caller's own words.
    Refusal {
        // Of decisions.
        Forbidden = "forbidden",
        NotPermitted = "not_permitted",
        PolicyError = "error",
        PlanRequired = "plan_required",
        // Of credentials.
        UnknownCredential = "unknown_credential",
        WrongCredential = "wrong_credential",
        Expired = "expired",
        Revoked = "revoked",
        Suspended = "suspended",
        LockedOut = "locked_out",
        MethodNotAllowed = "method_not_allowed",
        // Of everything else.
        RateLimited = "rate_limited",
        Invalid = "invalid",
        Conflict = "conflict",
        Unavailable = "unavailable",
        Cancelled = "cancelled",
    }
}

words! {
    /// What a sealed part holds. The variants stand in the order of their names: a map of them is written in canonical order.
    PartName {
        Action = "action",
        Actor = "actor",
        ActsFor = "acts_for",
        After = "after",
        Before = "before",
        Client = "client",
        Details = "details",
        Policies = "policies",
        Request = "request",
        RequestId = "request_id",
        Resource = "resource",
        Response = "response",
    }
}

events! {
    Decision {
        DecisionMade = "decision.made",
    }
    Authentication {
        UserLogin = "user.login",
        UserLoginFailed = "user.login_failed",
        UserLogout = "user.logout",
        // A one-time link, made at the command line.
        UserLinkIssued = "user.link_issued",
        SessionRevoked = "session.revoked",
        ApiKeyCreated = "api_key.created",
        ApiKeyRevoked = "api_key.revoked",
        ApiKeyRejected = "api_key.rejected",
        // Refused requests that a rate limit kept out of the log; the entry has their count.
        RequestsLimited = "requests.limited",
    }
    Membership {
        MemberInvited = "member.invited",
        MemberInvitationResent = "member.invitation_resent",
        MemberInvitationRevoked = "member.invitation_revoked",
        MemberInvitationExpired = "member.invitation_expired",
        MemberJoined = "member.joined",
        MemberRoleChanged = "member.role_changed",
        MemberSuspended = "member.suspended",
        // Brought back after a suspension.
        MemberResumed = "member.resumed",
        MemberRemoved = "member.removed",
        MemberImported = "member.imported",
        // What a customer's directory says of somebody has changed.
        MemberUpdated = "member.updated",
        DirectoryGroupCreated = "directory_group.created",
        DirectoryGroupUpdated = "directory_group.updated",
        DirectoryGroupDeleted = "directory_group.deleted",
        TeamCreated = "team.created",
        TeamDeleted = "team.deleted",
        TeamMemberAdded = "team.member_added",
        TeamMemberRemoved = "team.member_removed",
        ProjectCreated = "project.created",
        ProjectDeleted = "project.deleted",
        ProjectMemberAdded = "project.member_added",
        ProjectMemberRemoved = "project.member_removed",
    }
    Settings {
        // The tenant's own life, moved by the operator.
        OrganizationCreated = "organization.created",
        OrganizationSuspended = "organization.suspended",
        OrganizationResumed = "organization.resumed",
        OrganizationClosed = "organization.closed",
        SsoConfigured = "sso.configured",
        SsoDisabled = "sso.disabled",
        SettingsUpdated = "settings.updated",
        PlanChanged = "plan.changed",
        RegionChanged = "region.changed",
        RetentionUpdated = "retention.updated",
        LegalHoldSet = "legal_hold.set",
        LegalHoldReleased = "legal_hold.released",
        ScimConfigured = "scim.configured",
        SchemaEdited = "schema.edited",
        LogKeyRotated = "log.key_rotated",
        LogPruned = "log.pruned",
        LogHeartbeat = "log.heartbeat",
        LogAnchored = "log.anchored",
        LogRestored = "log.restored",
        PolicyDrafted = "policy.drafted",
        PolicyDiscarded = "policy.discarded",
        PolicyChecked = "policy.checked",
        PolicyApproved = "policy.approved",
        PolicyConditionsChanged = "policy.conditions_changed",
        PolicyShadowed = "policy.shadowed",
        // Every node makes it ready.
        PolicyAnnounced = "policy.announced",
        PolicyActivated = "policy.activated",
        PolicyRolledBack = "policy.rolled_back",
        KeyRotated = "key.rotated",
    }
    Integrations {
        IntegrationConnected = "integration.connected",
        IntegrationDisconnected = "integration.disconnected",
        IntegrationTokenRefreshed = "integration.token_refreshed",
        IntegrationUsed = "integration.used",
    }
    AiActivity {
        AgentRunStarted = "agent.run_started",
        // What it did was kept.
        AgentRunRecorded = "agent.run_recorded",
        AgentRunCompleted = "agent.run_completed",
        AgentRunFailed = "agent.run_failed",
        AgentRunCancelled = "agent.run_cancelled",
    }
    DataOperations {
        ThreadCreated = "thread.created",
        ThreadPosted = "thread.posted",
        ThreadShared = "thread.shared",
        ThreadUnshared = "thread.unshared",
        ThreadTransferred = "thread.transferred",
        ThreadRestricted = "thread.restricted",
        ThreadDeleted = "thread.deleted",
        DocumentUploaded = "document.uploaded",
        DocumentEdited = "document.edited",
        DocumentDeleted = "document.deleted",
        MemoryWritten = "memory.written",
        MemoryForgotten = "memory.forgotten",
        PromptTemplateCreated = "prompt_template.created",
        PromptTemplateEdited = "prompt_template.edited",
        PromptTemplateShared = "prompt_template.shared",
        PromptTemplateUnshared = "prompt_template.unshared",
        PromptTemplateDeleted = "prompt_template.deleted",
        ToolCreated = "tool.created",
        ToolEdited = "tool.edited",
        ToolShared = "tool.shared",
        ToolUnshared = "tool.unshared",
        ToolDeleted = "tool.deleted",
        AssistantCreated = "assistant.created",
        AssistantEdited = "assistant.edited",
        AssistantShared = "assistant.shared",
        AssistantUnshared = "assistant.unshared",
        AssistantDeleted = "assistant.deleted",
        AgentCreated = "agent.created",
        AgentEdited = "agent.edited",
        AgentShared = "agent.shared",
        AgentUnshared = "agent.unshared",
        AgentDeleted = "agent.deleted",
        // A share whose time was over has been taken away.
        ShareExpired = "share.expired",
        AccessRequested = "access.requested",
        AccessApproved = "access.approved",
        AccessDeclined = "access.declined",
        AccessWithdrawn = "access.withdrawn",
        AccessLapsed = "access.lapsed",
        EntityWritten = "entity.written",
        EntityDeleted = "entity.deleted",
        ContentRead = "content.read",
        SearchMade = "search.made",
        // What is private is handed out only where two Admins want it.
        DataExportRequested = "data.export_requested",
        DataExportApproved = "data.export_approved",
        DataExported = "data.exported",
        DataErasureRequested = "data.erasure_requested",
        // The closing of an organization was called off.
        DataErasureCancelled = "data.erasure_cancelled",
        DataErased = "data.erased",
        AuditLogRead = "audit_log.read",
        AuditLogExported = "audit_log.exported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_in_canonical_order() {
        let mut sorted = PartName::ALL.to_vec();
        sorted.sort_by_key(|name| name.as_str());
        assert_eq!(sorted, PartName::ALL);
        assert!(PartName::ALL.is_sorted());
    }

    #[test]
    fn every_word_reads_back() {
        assert!(
            Event::ALL
                .iter()
                .all(|word| Event::parse(word.as_str()) == Some(*word))
        );
        assert!(
            Refusal::ALL
                .iter()
                .all(|word| Refusal::parse(word.as_str()) == Some(*word))
        );
        assert!(
            Category::ALL
                .iter()
                .all(|word| Category::parse(word.as_str()) == Some(*word))
        );
    }

    #[test]
    fn an_event_is_of_its_category() {
        assert_eq!(Event::DecisionMade.category(), Category::Decision);
        assert_eq!(Event::LogHeartbeat.category(), Category::Settings);
        assert_eq!(Event::AgentRunFailed.category(), Category::AiActivity);
        assert_eq!(Event::AgentDeleted.category(), Category::DataOperations);
    }
}
