//! Links: a built-in template, whom it is for, what it opens, and until when.

use cedar_policy::{EntityUid, PolicyId, PolicySet, SlotId};
use chrono::{DateTime, Utc};

use super::builtin::{Library, NAMESPACE};
use super::error::PolicyError;
use super::evaluate::Determining;

/// A share of one thing with somebody, or the making of an auditor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its own id, unique in its tenant.
    pub id: String,
    /// The template's id: `share-viewer`, `share-commenter`, `share-editor` or `auditor`.
    pub template: String,
    /// A user, a group or an agent's definition.
    pub principal: EntityUid,
    /// What it opens.
    pub resource: EntityUid,
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

/// A link with its policy, made once and shared.
#[derive(Debug)]
pub struct CompiledLink {
    link: Link,
    pub(crate) set: PolicySet,
    reason: String,
}

impl CompiledLink {
    /// The link itself.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The link as an answer names it.
    pub(crate) fn determining(&self) -> Determining {
        Determining {
            id: self.link.template.clone(),
            link: Some(self.link.id.clone()),
            reason: self.reason.clone(),
            plan: None,
        }
    }
}

impl Library {
    /// The policy of a link. Links open what is shared one by one, and never a container with all that is in it.
    ///
    /// # Errors
    /// `UnknownTemplate`, or `NotLinkable` where principal or resource is of a type that the template is not for.
    pub fn link(&self, link: Link) -> Result<CompiledLink, PolicyError> {
        let unknown = || PolicyError::UnknownTemplate(link.template.clone());
        let mut set = self
            .templates
            .get(&link.template)
            .ok_or_else(unknown)?
            .clone();
        let note = self
            .template_notes
            .get(&link.template)
            .ok_or_else(unknown)?;
        let (principals, resources): (&[&str], &[&str]) = match link.template.as_str() {
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
            let kind = uid.type_name();
            if kind.namespace() != NAMESPACE || !kinds.contains(&kind.basename()) {
                return Err(PolicyError::NotLinkable {
                    template: link.template.clone(),
                    entity: uid.to_string(),
                });
            }
        }
        let slots = [
            (SlotId::principal(), link.principal.clone()),
            (SlotId::resource(), link.resource.clone()),
        ];
        // The id is Cedar's own business here: the set holds one link alone, and answers name it by its fields.
        set.link(
            PolicyId::new(&link.template),
            PolicyId::new("link"),
            slots.into_iter().collect(),
        )
        .map_err(|source| PolicyError::Link {
            id: link.id.clone(),
            source: Box::new(source),
        })?;
        Ok(CompiledLink {
            reason: note.reason.clone(),
            link,
            set,
        })
    }
}
