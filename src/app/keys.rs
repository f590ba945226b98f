//! Keys above those of organizations in the running service: gone on with, and rotated where an organization was closed.

use chrono::{DateTime, Utc};

use super::{App, AppError};
use crate::decide::above::{self, Above, By, Unrotated};

impl App {
    /// Rotates the root key or the deployment's own, or goes on where that was begun: the version that is destroyed, and the one in use.
    ///
    /// # Errors
    /// Somebody else is at it, or a database or the keyring cannot be written.
    pub async fn rotate_above(&self, key: Above, by: By) -> Result<(u32, u32), AppError> {
        let deployment = self.deployment().await?;
        let above = (self.control().as_ref(), deployment.as_ref());
        Ok(above::rotate(above, key, by).await?)
    }

    /// What is due of these keys at this moment: what was begun is gone on with, and where an organization was closed long enough ago the root
    /// key is rotated, so that no old backup of the control database opens it.
    ///
    /// # Errors
    /// A database or the keyring cannot be read or written; it is tried again.
    pub async fn keep_keys(&self, now: DateTime<Utc>) -> Result<(), AppError> {
        let standing = self.control().standing().await?;
        let patience = self.config().keys.shred_after();
        let is_due = standing
            .shred_due_since
            .zip(patience)
            .is_some_and(|(since, patience)| now - since >= patience);
        let due = [
            (
                Above::Root,
                // AWS KMS rotates its keys by itself, and destroys none.
                standing.root_rotation.is_some() || (is_due && self.control().rotates_root()?),
            ),
            (Above::Deployment, standing.deployment_rotation.is_some()),
        ];
        for (key, _) in due.into_iter().filter(|(_, is_due)| *is_due) {
            match self.rotate_above(key, By::System).await {
                Ok((old, new)) => {
                    tracing::warn!(
                        key = key.as_str(),
                        old,
                        new,
                        "a key was rotated: where it is the root key, put the keyring into its backup anew"
                    );
                }
                // Another node is at it.
                Err(AppError::Unrotated(Unrotated::Busy)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
