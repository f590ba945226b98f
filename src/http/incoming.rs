//! Content on its way in: short content is decided on once it is here, long content before its first byte is read, and again at its end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use chrono::Utc;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::page;
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{Action, Authorized};
use crate::decide::{Beside, Changed, Deposit, Refused};
use crate::directory::content::Written;
use crate::directory::{Change, DirectoryError, Ref, Snapshot};
use crate::ids;
use crate::vault::{Condition, Keeping, Label, SHORT, Sealed, Shelved, Spot, VaultError};

/// How much is gathered before it is sealed.
const PIECE: usize = 256 * 1024;

/// What content is taken for that came without a media type.
const OCTETS: &str = "application/octet-stream";

/// A request's body that is to be kept.
pub(super) struct Incoming {
    body: Body,
    media_type: String,
    declared: Option<u64>,
    limit: u64,
    patience: Duration,
    comment: bool,
}

/// Content that has arrived, sealed.
pub(super) struct Arrived {
    sealed: Arc<Sealed>,
    shelved: Option<Shelved>,
    label: Label,
    owner: Option<Ref>,
    /// SHA-256 of the content, where the call has an `Idempotency-Key`.
    digest: [u8; 32],
}

impl Incoming {
    /// Refuses at once what says that it is too long, a part of something (RFC 9110, section 14.5), or encoded.
    pub(super) fn of(request: Request, limit: u64, patience: Duration) -> Result<Self, Problem> {
        let headers = request.headers();
        if headers.contains_key(header::CONTENT_RANGE) {
            return Err(Problem::Malformed(
                "content is taken whole: send all of it, without `Content-Range`".into(),
            ));
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Problem::Encoded);
        }
        let declared = headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(Problem::TooLarge);
        }
        Ok(Self {
            media_type: media_type(headers)?,
            declared,
            limit,
            patience,
            comment: false,
            body: request.into_body(),
        })
    }

    /// It is a comment, and no post.
    pub(super) const fn comment(mut self) -> Self {
        self.comment = true;
        self
    }

    /// Takes it in and seals it. Where it is not here already, the action is decided first.
    pub(super) async fn take<A: Action>(
        self,
        call: &Call,
        (resource, prefix): (Ref, &str),
        owner: impl Fn(&Snapshot) -> Result<Option<Ref>, DirectoryError>,
    ) -> Result<Arrived, Problem> {
        let Self {
            body,
            media_type,
            declared,
            limit,
            patience,
            comment,
        } = self;
        let mut body = body.into_data_stream();
        let chance = crypto::random().map_err(|_| Problem::Internal)?;
        let version = ids::text(prefix, &ids::in_order(Utc::now(), chance));
        let label = |length| Label {
            media_type: media_type.clone(),
            length,
            author: call.user().map(|user| user.to_string()),
            at: Utc::now().timestamp_micros(),
            comment,
        };
        let spot = |owner: Option<Ref>| Spot {
            resource: resource.to_string(),
            version: version.clone(),
            subject: owner.map(|owner| owner.to_string()),
        };
        let vault = call.door().vault();
        // The same bytes as something else are another request.
        let kind = format!("{media_type}\n{comment}\n");
        let mut hash = call.is_keyed().then(|| Sha256::new().chain_update(kind));
        let mut heard = |piece: &[u8]| {
            if let Some(hash) = &mut hash {
                hash.update(piece);
            }
        };
        let mut gathered = Vec::new();
        let mut ended = false;
        // What came with the head is here, and costs nothing to look at.
        let short = u64::try_from(SHORT).unwrap_or(u64::MAX);
        if declared.is_some_and(|length| length <= short) {
            while let Some(piece) = futures_util::FutureExt::now_or_never(body.next()) {
                match piece {
                    Some(piece) => {
                        let piece = piece.map_err(|_| broken())?;
                        heard(&piece);
                        gathered.extend_from_slice(&piece);
                    }
                    None => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        let decided;
        let snapshot = if ended {
            // Only to find the key that it is sealed under: whose it is, is asked again when it is decided.
            decided = None;
            call.door().glance()
        } else {
            decided = Some(call.permit_change::<A>(resource).await?);
            call.door().glance()
        };
        let seen = match &decided {
            Some(permitted) => permitted.snapshot(),
            None => snapshot.snapshot(),
        };
        let Ok(owner) = owner(seen) else {
            page::is_whole(seen)?;
            // The decision says what a caller may know of that.
            if decided.is_none() {
                call.permit_change::<A>(resource).await?;
            }
            return Err(Problem::NotFound);
        };
        let mut upload = None;
        while !ended {
            match tokio::time::timeout(patience, body.next()).await {
                Err(_) => return Err(Problem::TooSlow),
                Ok(None) => ended = true,
                Ok(Some(piece)) => {
                    let piece = piece.map_err(|_| broken())?;
                    heard(&piece);
                    gathered.extend_from_slice(&piece);
                }
            }
            let now = Utc::now().timestamp_micros();
            let before = upload
                .as_ref()
                .map_or(0, |upload: &crate::vault::Upload| upload.length());
            let length = u64::try_from(gathered.len()).unwrap_or(u64::MAX);
            if before.saturating_add(length) > limit {
                return Err(Problem::TooLarge);
            }
            if upload.is_none() && gathered.len() > SHORT {
                upload = Some(vault.begin(spot(owner), now).await.map_err(unkept)?);
                // It does not grow from here on, step by step, for each piece anew.
                gathered.reserve(2 * PIECE);
            }
            if let Some(upload) = &mut upload
                && (gathered.len() >= PIECE || ended)
            {
                upload.push(&mut gathered, now).await.map_err(unkept)?;
            }
        }
        if declared.is_some_and(|declared| {
            let here = upload.as_ref().map_or(0, crate::vault::Upload::length);
            here.saturating_add(u64::try_from(gathered.len()).unwrap_or(u64::MAX)) != declared
        }) {
            return Err(broken());
        }
        let (sealed, shelved, label) = match upload {
            Some(upload) => {
                let label = label(upload.length());
                let now = Utc::now().timestamp_micros();
                let finished = vault.finish(upload, &label, now).await;
                let (sealed, shelved) = finished.map_err(unkept)?;
                (sealed, Some(shelved), label)
            }
            None => {
                let gathered = zeroize::Zeroizing::new(gathered);
                let label = label(u64::try_from(gathered.len()).unwrap_or(u64::MAX));
                let sealed = match vault.seal(spot(owner), &label, &gathered).await {
                    Ok(sealed) => sealed,
                    Err(error) => {
                        // Why it cannot be kept is told to whoever may write it, and to nobody else.
                        if decided.is_none() {
                            call.permit_change::<A>(resource).await?;
                        }
                        return Err(unkept(error));
                    }
                };
                (sealed, None, label)
            }
        };
        Ok(Arrived {
            sealed: Arc::new(sealed),
            shelved,
            label,
            owner,
            digest: hash.map(|hash| hash.finalize().into()).unwrap_or_default(),
        })
    }
}

impl Arrived {
    /// What is recorded of it.
    pub(super) fn written(&self) -> Written {
        Written {
            version: self.sealed.spot().version.clone(),
            owner: self.owner,
            media_type: self.label.media_type.clone(),
            length: self.label.length,
        }
    }

    /// Decides, and makes it the resource's. It is not broken off when the caller goes: what was committed keeps its bytes.
    pub(super) async fn deposit<A: Action>(
        self,
        call: &Arc<Call>,
        resource: Ref,
        (keeping, condition, beside): (Keeping, Condition, Beside),
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Problem> {
        let deposit = Deposit {
            sealed: Some(Arc::clone(&self.sealed)),
            keeping,
            condition,
        };
        let call = Arc::clone(call);
        let task = tokio::spawn(async move {
            let changed = call
                .ask_change::<A>(resource, &self.digest, (deposit, beside), plan)
                .await;
            match (self.shelved, &changed) {
                (None, _) => {}
                // One that was made before has its own bytes.
                (Some(shelved), Ok(changed)) if changed.recorded.is_none() => {
                    shelved.discard().await;
                }
                (Some(shelved), Ok(_)) => shelved.keep(),
                // Whether it was committed is not known: whoever tidies the shelf looks.
                (Some(shelved), Err(Refused::Unavailable)) => drop(shelved),
                (Some(shelved), Err(_)) => shelved.discard().await,
            }
            call.told(resource, changed).await
        });
        task.await.map_err(|_| Problem::Internal)?
    }
}

fn broken() -> Problem {
    Problem::Malformed("the body broke off: nothing of it was kept".into())
}

/// What a caller is told when content cannot be kept.
pub(super) fn unkept(error: VaultError) -> Problem {
    match error {
        VaultError::Forgotten => {
            Problem::Conflict("the person whose content this would be was erased".into())
        }
        error => {
            tracing::error!(%error, "content is not kept or not shown");
            Problem::Unavailable("the content cannot be kept or read now: try again".into())
        }
    }
}

fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let wrong = || {
        Problem::Malformed("`Content-Type` must be there at most once, a media type of at most 255 visible ASCII characters".into())
    };
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(OCTETS.to_owned()),
        (Some(value), None) => value.to_str().map_err(|_| wrong())?.trim(),
        (Some(_), Some(_)) => return Err(wrong()),
    };
    let (kind, _) = value.split_once(';').unwrap_or((value, ""));
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let fits = kind
        .trim()
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if fits && value.len() <= 255 {
        Ok(value.to_owned())
    } else {
        Err(wrong())
    }
}
