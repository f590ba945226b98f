//! Links: a built-in template, whom it is for, what it opens, and until when.

use std::borrow::Cow;
use std::sync::Arc;

use cedar_policy::{PolicyId, PolicySet, SlotId, Template};
use chrono::{DateTime, Utc};

use super::builtin::Library;
use super::error::PolicyError;
use super::evaluate::Determining;
use super::index::{Body, Note};
use super::program::Scope;
use super::shape::authzen_type;
use super::value::{Type, Uid};
use super::vocabulary::Vocabulary;

/// A share of one thing with somebody, or the making of an auditor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its own id, unique in its tenant.
    pub id: String,
    /// The template's id: `share-viewer`, `share-commenter`, `share-editor` or `auditor`.
    pub template: Cow<'static, str>,
    /// A user, a group or an agent's definition.
    pub principal: Uid,
    /// What it opens.
    pub resource: Uid,
    /// When it stops counting; absent: it doesn't.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Link {
    /// Whether it counts for a question whose entry has this time. Whether it was there at the index that the question
    /// sees, its row says.
    #[must_use]
    pub fn counts_at(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A template, compiled.
#[derive(Debug)]
pub(crate) struct Linkable {
    pub(crate) id: Arc<str>,
    pub(crate) note: Note,
    pub(crate) template: Template,
    pub(crate) body: Body,
}

impl Linkable {
    pub(crate) fn new(template: Template, note: Note, vocabulary: &Vocabulary) -> Self {
        let scopes = (
            Scope::from(template.principal_constraint()),
            Scope::from(template.resource_constraint()),
        );
        let json = template.to_json().ok();
        Self {
            id: AsRef::<str>::as_ref(template.id()).into(),
            body: Body::new(
                scopes,
                &template.action_constraint(),
                json.as_ref(),
                vocabulary,
            ),
            note,
            template,
        }
    }
}

/// A link with its policy.
#[derive(Debug)]
pub struct CompiledLink {
    link: Link,
    pub(crate) template: Arc<Linkable>,
}

impl CompiledLink {
    /// The link itself.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// The link as an answer names it.
    pub(crate) fn determining(&self) -> Determining {
        Determining {
            id: Arc::clone(&self.template.id),
            link: Some(self.link.id.clone()),
            reason: Arc::clone(&self.template.note.reason),
            plan: None,
        }
    }

    /// The link as a policy of Cedar's, alone.
    pub(super) fn in_cedar(&self) -> Option<PolicySet> {
        let mut set = PolicySet::new();
        set.add_template(self.template.template.clone()).ok()?;
        let slots = [
            (SlotId::principal(), self.link.principal.to_cedar()?),
            (SlotId::resource(), self.link.resource.to_cedar()?),
        ];
        // The id is Cedar's own business here: the set holds one link alone, and answers name it by its fields.
        let slots = slots.into_iter().collect();
        set.link(
            self.template.template.id().clone(),
            PolicyId::new("link"),
            slots,
        )
        .ok()?;
        Some(set)
    }
}

impl Library {
    /// The policy of a link. Links open what is shared one by one, and never a container with all that is in it.
    ///
    /// # Errors
    /// `UnknownTemplate`, or `NotLinkable` where principal or resource is of a type that the template is not for.
    pub fn link(&self, link: Link) -> Result<CompiledLink, PolicyError> {
        let template = self
            .templates
            .get(&*link.template)
            .ok_or_else(|| PolicyError::UnknownTemplate(link.template.to_string()))?;
        let (principals, resources): (&[&str], &[&str]) = match &*link.template {
            "auditor" => (&["User", "Group"], &["AuditLog"]),
            _ => (
                &["User", "Group", "AgentDefinition"],
                &[
                    "Thread",
                    "PromptTemplate",
                    "Tool",
                    "Assistant",
                    "AgentDefinition",
                ],
            ),
        };
        for (uid, kinds) in [(&link.principal, principals), (&link.resource, resources)] {
            let kind = uid.kind();
            if !matches!(kind, Type::Ours(_)) || !kinds.contains(&authzen_type(&kind)) {
                return Err(PolicyError::NotLinkable {
                    template: link.template.to_string(),
                    entity: uid.to_string(),
                });
            }
        }
        Ok(CompiledLink {
            template: Arc::clone(template),
            link,
        })
    }
}
