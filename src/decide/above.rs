//! Rotation of the keys above those of organizations: the root key and the deployment's own, recorded in the deployment's own log.

use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::door::Door;
use super::error::Refused;
use crate::directory::keys::{self, Phase};
use crate::tenant::{Control, Standing, TenantError};

/// For how long one process has the work: whoever dies at it keeps others from it no longer. Whoever lives has it for longer.
const LEASE: chrono::Duration = chrono::Duration::seconds(15);
const RENEWED: Duration = Duration::from_secs(5);

/// How long it is waited for whoever has it.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Why a key above those of organizations was not rotated, or not to the end: doing it again goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum Unrotated {
    /// The control database, the keyring, or a key that does not open.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The deployment's log does not answer.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Somebody else is at it.
    #[error("another process is rotating these keys: `cedarkeep keys status` says how far it is")]
    Busy,
}

/// A key above those of organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// Wraps every tenant key.
    Root,
    /// Seals what the control database says of organizations, and finds them by their short names.
    Deployment,
}

impl Above {
    /// As it is said.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Deployment => "deployment",
        }
    }

    /// The rotation of it that is under way.
    #[must_use]
    pub const fn under_way(self, standing: &Standing) -> Option<(u32, u32)> {
        match self {
            Self::Root => standing.root_rotation,
            Self::Deployment => standing.deployment_rotation,
        }
    }
}

/// Who has it rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The operator at the machine.
    Operator,
    /// The service itself: it is due, or is gone on with.
    System,
}

/// Rotates a key, or goes on where that was begun: the version that is destroyed, and the one in use.
///
/// # Errors
/// What was begun is gone on with the next time; nothing is destroyed that anything still lies under.
pub async fn rotate(
    (control, deployment): (&Control, &Door),
    key: Above,
    by: By,
) -> Result<(u32, u32), Unrotated> {
    let begun = Instant::now();
    let held = loop {
        let now = Utc::now();
        if control.lease(now, now + LEASE).await? {
            break now + LEASE;
        }
        if by == By::System || begun.elapsed() > PATIENCE {
            return Err(Unrotated::Busy);
        }
        tokio::time::sleep(PAUSE).await;
    };
    let (rotated, held) = renewed(control, held, leased((control, deployment), key, by)).await;
    let released = control.release(held).await;
    let versions = rotated?;
    released?;
    Ok(versions)
}

/// Has the lease for as long as the work lasts; what came of it, and until when the lease is. Work whose lease somebody else has taken stops
/// where it is, and is gone on with by them.
async fn renewed<T>(
    control: &Control,
    mut held: DateTime<Utc>,
    work: impl Future<Output = Result<T, Unrotated>>,
) -> (Result<T, Unrotated>, DateTime<Utc>) {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return (done, held),
            () = tokio::time::sleep(RENEWED) => {}
        }
        let until = Utc::now() + LEASE;
        tokio::select! {
            // A lease that was renewed at this very moment is not given back, and ends by itself.
            done = &mut work => return (done, held),
            renewed = control.renew(held, until) => match renewed {
                Ok(true) => held = until,
                Ok(false) => return (Err(Unrotated::Busy), held),
                // It outlasts a database that does not answer once.
                Err(_) => {}
            },
        }
    }
}

async fn leased(
    (control, deployment): (&Control, &Door),
    key: Above,
    by: By,
) -> Result<(u32, u32), Unrotated> {
    let standing = control.standing().await?;
    let versions = match key.under_way(&standing) {
        Some(versions) => versions,
        None => {
            let next = match key {
                Above::Root => (standing.root, control.prepare_root().await?),
                Above::Deployment => (standing.deployment, standing.deployment.saturating_add(1)),
            };
            // Said ahead of the first step: whoever dies in between says it again.
            record(deployment, key, by, (next, Phase::Begun)).await?;
            match key {
                Above::Root => control.begin_root().await?,
                Above::Deployment => control.begin_deployment().await?,
            }
        }
    };
    match key {
        Above::Root => control.rotate_root().await?,
        Above::Deployment => control.rotate_deployment().await?,
    }
    record(deployment, key, by, (versions, Phase::Done)).await?;
    match key {
        Above::Root => control.end_root().await?,
        Above::Deployment => control.end_deployment().await?,
    }
    Ok(versions)
}

async fn record(
    deployment: &Door,
    key: Above,
    by: By,
    (versions, phase): ((u32, u32), Phase),
) -> Result<(), Refused> {
    let said = keys::said(key.as_str(), versions, phase);
    let plan = move |by: &_, snapshot: &_| keys::rotated_above(by, snapshot, &said);
    match by {
        By::Operator => deployment.operate(plan).await?,
        By::System => deployment.keep(plan).await?,
    };
    Ok(())
}
