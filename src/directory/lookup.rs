//! Reading a snapshot for a change: what must be there is there, or the change is refused.

use super::DirectoryError;
use super::object::{Circle, Integration, Made, Memory, Object, Organization, Ref, User};
use super::snapshot::Snapshot;

impl Snapshot {
    /// An object that must be there.
    pub(super) fn require(&self, reference: Ref) -> Result<&Object, DirectoryError> {
        self.object(reference)
            .map(|stored| &stored.value)
            .ok_or_else(|| DirectoryError::absent(reference))
    }

    /// A person who must be there.
    pub(super) fn require_user(&self, reference: Ref) -> Result<&User, DirectoryError> {
        self.user(reference)
            .ok_or_else(|| DirectoryError::absent(reference))
    }

    /// A team or project that must be there.
    pub(super) fn require_circle(&self, reference: Ref) -> Result<&Circle, DirectoryError> {
        self.require(reference)?
            .circle()
            .ok_or_else(|| DirectoryError::absent(reference))
    }

    /// Something that a person made, which must be there.
    pub(super) fn require_made(&self, reference: Ref) -> Result<&Made, DirectoryError> {
        self.require(reference)?
            .made()
            .ok_or_else(|| DirectoryError::absent(reference))
    }

    /// A memory that must be there.
    pub fn require_memory(&self, reference: Ref) -> Result<&Memory, DirectoryError> {
        match self.require(reference)? {
            Object::Memory(memory) => Ok(memory),
            _ => Err(DirectoryError::absent(reference)),
        }
    }

    /// An integration that must be there.
    pub(super) fn require_integration(
        &self,
        reference: Ref,
    ) -> Result<&Integration, DirectoryError> {
        match self.require(reference)? {
            Object::Integration(integration) => Ok(integration),
            _ => Err(DirectoryError::absent(reference)),
        }
    }

    /// The members group of a container.
    pub(super) fn members(&self, container: Ref) -> Result<Ref, DirectoryError> {
        match self.require(container)? {
            Object::Organization(Organization { members, .. }) => Ok(*members),
            Object::Team(circle) | Object::Project(circle) => Ok(circle.members),
            _ => Err(DirectoryError::absent(container)),
        }
    }

    /// The members groups that may be an audience of what hangs from `parent`: its own, and those above it.
    pub(super) fn audiences(&self, parent: Ref) -> Vec<Ref> {
        std::iter::once(parent)
            .chain(self.above(parent))
            .filter_map(|container| self.members(container).ok())
            .collect()
    }

    /// Whether the group is the members group of some container.
    pub(super) fn is_members_group(&self, group: Ref) -> bool {
        match self.object(group).map(|stored| &stored.value) {
            Some(Object::Group { of }) => self.members(*of) == Ok(group),
            _ => false,
        }
    }

    /// The people in a group.
    pub(super) fn people_in(&self, group: Ref) -> impl Iterator<Item = (Ref, &User)> {
        self.objects_of(super::Kind::User, None).filter_map(
            move |(reference, stored)| match &stored.value {
                Object::User(user) if user.groups.contains(&group) => Some((reference, user)),
                _ => None,
            },
        )
    }
}
