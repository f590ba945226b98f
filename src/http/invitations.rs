//! Invitations over HTTP: made, sent again, listed, revoked, and taken up by whoever has the link.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use chrono::Utc;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::attempts::Attempts;
use super::call::Call;
use super::caller::{self, Brought, From};
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::credentials::{
    Invitation, InvitationAcceptance, NewInvitation, SentInvitation,
};
use super::document::people::User;
use super::document::{self, Page};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use super::refused;
use super::request_id::RequestId;
use super::serve::Peer;
use crate::app::{App, Sent};
use crate::authn::token::{Token, Use};
use crate::authn::{self, Refusal};
use crate::crypto;
use crate::decide::authorized::{MemberInvite, MemberResendInvitation, MemberRevokeInvitation};
use crate::decide::{Caller, Changed, Door, Refused};
use crate::directory::invitation::{self, Inviting, Newcomer};
use crate::directory::{DirectoryError, Kind, Ref};
use crate::ids::TenantId;
use crate::log::Event;
use crate::log::entry::Refusal as Recorded;

/// Invite somebody. The link counts for seven days and once. Where mail is set up it is sent to them, and shown to nobody; where it is
/// not, it is in this answer, once. So the call takes no `Idempotency-Key`.
#[utoipa::path(post, path = "/v1/invitations", tag = "Directory", operation_id = "create_invitation", params(Acting),
    request_body = NewInvitation,
    responses((status = 201, description = "the invitation, with `Location`", body = SentInvitation), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    unkeyed(&call)?;
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let link = link_to(&call, id)?;
    let inviting = Inviting {
        id,
        email: body.text("email")?,
        name: body.maybe_text("name")?,
        role: body.word("role")?,
        digest: link.stored(),
    };
    body.finish()?;
    let changed = call
        .change::<MemberInvite>(call.org(), Map::new(), &body, move |by, snapshot| {
            invitation::invite(by, snapshot, &inviting)
        })
        .await?;
    let changed = delivered(&app, call.door(), &link, changed);
    Ok(unkept(page::made(Kind::Invitation.collection(), changed)))
}

/// The invitations that the acting user may send again: those that are open, and those that have expired.
#[utoipa::path(get, path = "/v1/invitations", tag = "Directory", operation_id = "list_invitations", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Invitation>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    page::list::<MemberResendInvitation>(&call, Kind::Invitation, &paging, |_, _| true).await
}

/// One invitation. `mail` is `failed` where this node knows that the letter was not sent.
#[utoipa::path(get, path = "/v1/invitations/{id}", tag = "Directory", operation_id = "read_invitation",
    params(("id" = String, Path, description = "the invitation's identifier"), Acting),
    responses((status = 200, description = "the invitation", body = Invitation), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::Invitation)?;
    let permitted = call.read::<MemberResendInvitation>(wanted).await?;
    let failed = app.has_failed(wanted);
    page::one_with(wanted, permitted.snapshot(), |view| {
        if failed {
            view.insert("mail".into(), "failed".into());
        }
    })
}

/// Send another link, again for seven days; the one before counts no more.
#[utoipa::path(post, path = "/v1/invitations/{id}/resend", tag = "Directory", operation_id = "resend_invitation",
    params(("id" = String, Path, description = "the invitation's identifier"), Acting),
    responses((status = 200, description = "the invitation, with `delivery` as when it was made", body = SentInvitation), Problems),
    security(("api_key" = [])))]
pub(super) async fn resend(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    unkeyed(&call)?;
    let wanted = call.named("id", Kind::Invitation)?;
    let link = link_to(&call, wanted.id)?;
    let digest = link.stored();
    let changed = call
        .change::<MemberResendInvitation>(
            wanted,
            Map::new(),
            &Fields::none(),
            move |by, snapshot| invitation::resend(by, snapshot, &digest),
        )
        .await?;
    let changed = delivered(&app, call.door(), &link, changed);
    Ok(unkept(page::changed_to(changed)))
}

/// Revoke an invitation: its link opens nothing from now on.
#[utoipa::path(delete, path = "/v1/invitations/{id}", tag = "Directory", operation_id = "delete_invitation",
    params(("id" = String, Path, description = "the invitation's identifier"), Acting, Keyed),
    responses((status = 204, description = "its link opens nothing from now on"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Invitation)?;
    let changed = call
        .change::<MemberRevokeInvitation>(wanted, Map::new(), &Fields::none(), invitation::revoke)
        .await?;
    Ok(page::gone(&changed))
}

/// Join by an invitation: the token of its link is the proof, and counts once. An unknown one, one that was used, replaced or revoked,
/// and one whose time is over are answered alike.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "Directory", operation_id = "accept_invitation",
    request_body = InvitationAcceptance,
    responses(Problems, (status = 201, description = "the person, with `Location`", body = User),
        (status = 403, description = "the link is not valid, or not any more", body = document::Problem, content_type = "application/problem+json"),
        (status = 429, description = "too many links that were not valid came from there", body = document::Problem, content_type = "application/problem+json")))]
pub(super) async fn accept(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    Extension(attempts): Extension<Arc<Attempts>>,
    mut body: Fields,
) -> Result<Response, Problem> {
    let token = Zeroizing::new(body.text("token")?);
    let name = body.maybe_text("name")?;
    body.finish()?;
    let from = From {
        peer,
        id: &id,
        shown: None,
    };
    let (door, link, invited) = found(&app, from, &attempts, &token).await?;
    let newcomer = Newcomer {
        id: crypto::random().map_err(|_| Problem::Internal)?,
        name,
    };
    let digest = link.stored();
    let joined = door
        .arrive(from.asker(Caller::System), move |by, snapshot| {
            invitation::accept(by, snapshot, (invited, &digest), &newcomer)
        })
        .await;
    match joined {
        Ok(joined) => Ok(unkept(page::made(Kind::User.collection(), joined))),
        Err(Refused::Directory(DirectoryError::DeadLink)) => {
            // It was used, or taken back, since it was looked up.
            let why = (Event::UserLoginFailed, Recorded::Revoked);
            let brought = Brought::of(&app, from, &door, (Use::Invitation.word(), link.id()));
            attempts.failed(peer, Instant::now());
            Err(brought.refuse_as(why, Problem::BadLink).await?)
        }
        Err(refused) => Err(refused::problem(refused)),
    }
}

/// The invitation that a link is to: one that is none is told as every other that is none.
///
/// # Errors
/// It is none, or too many that were none came from there. Whoever has the right one is let in, however many wrong ones others have sent from
/// there.
pub(super) async fn found(
    app: &App,
    from: From<'_>,
    attempts: &Attempts,
    text: &str,
) -> Result<(Arc<Door>, Token, Ref), Problem> {
    let found = looked_up(app, from, attempts, text).await;
    if matches!(found, Err(Problem::BadLink)) {
        attempts.failed(from.peer, Instant::now());
    }
    found
}

async fn looked_up(
    app: &App,
    from: From<'_>,
    attempts: &Attempts,
    text: &str,
) -> Result<(Arc<Door>, Token, Ref), Problem> {
    let limit = || attempts.check(from.peer, Instant::now());
    // A token that is none costs nothing: neither a look-up nor an entry.
    let Some(link) = Token::parse(Use::Invitation, text) else {
        return Err(limit().err().unwrap_or(Problem::BadLink));
    };
    let door = caller::organization(app, TenantId::new(link.tenant())).await;
    let door = door.map_err(|problem| match problem {
        // There is no such organization.
        Problem::BadCredential => Problem::BadLink,
        problem => problem,
    })?;
    let brought = Brought::of(app, from, &door, (Use::Invitation.word(), link.id()));
    brought.admit()?;
    let find = || authn::invitation_of(door.glance().snapshot(), &link, Utc::now());
    let mut found = find();
    if found.is_err() {
        limit()?;
    }
    if matches!(found, Err(Refusal::Unknown | Refusal::Wrong)) {
        // It may have been sent by another process a moment ago.
        door.refresh().await.map_err(refused::problem)?;
        found = find();
    }
    match found {
        Ok(invited) => Ok((door, link, invited)),
        Err(why) => Err(brought.refuse_link(why).await?),
    }
}

fn unkeyed(call: &Call) -> Result<(), Problem> {
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "this call takes no `Idempotency-Key`: each makes another link, which is not kept"
                .into(),
        ));
    }
    Ok(())
}

fn link_to(call: &Call, invitation: [u8; 16]) -> Result<Token, Problem> {
    let tenant = *call.door().store().id().bytes();
    let secret = crypto::random().map_err(|_| Problem::Internal)?;
    Ok(Token::mint(Use::Invitation, tenant, invitation, secret))
}

/// What whoever invited is told of how the link goes on.
fn delivered(app: &App, door: &Door, link: &Token, mut changed: Changed) -> Changed {
    let sent = app.send_invitation(door, Ref::new(Kind::Invitation, link.id()), link.expose());
    if let Some(reply) = changed.reply.as_object_mut() {
        let told = match sent {
            Sent::Posted => "mail",
            Sent::Failed => "failed",
            Sent::ToBeHandedOver(url) => {
                reply.insert("link".into(), Value::String(url.as_str().to_owned()));
                "link"
            }
        };
        reply.insert("delivery".into(), told.into());
    }
    changed
}

fn unkept(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
