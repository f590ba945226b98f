//! Joining by an invitation's link: whoever opens it sees what it is to, and is signed in once they join. That it is looked at uses nothing up.

use std::sync::Arc;

use axum::extract::{Extension, Path};
use axum::response::Response;
use maud::html;

use super::super::attempts::Attempts;
use super::super::invitations::found;
use super::enter::{self, Shown};
use super::page::{Forms, Refused, page};
use super::{Browser, Form, HOME};
use crate::crypto;
use crate::directory::invitation::{self, Newcomer};
use crate::directory::{Kind, Object, Ref};
use crate::http::problem::Problem;

/// Shows what the link is to.
pub(super) async fn ask(
    browser: Browser,
    Extension(attempts): Extension<Arc<Attempts>>,
    Path(text): Path<String>,
) -> Result<Response, Refused> {
    let (door, _, invitation) = found(&browser.app, browser.from(), &attempts, &text).await?;
    let world = door.glance();
    let snapshot = world.snapshot();
    let organization = snapshot.organization().map_err(|_| Problem::BadLink)?;
    let Some(Object::Invitation(invited)) = snapshot.object(invitation).map(|stored| &stored.value)
    else {
        return Err(Problem::BadLink.into());
    };
    let body = html! {
        p { "You are invited to " strong { (organization.name) } " as " (invited.role.name()) "." }
        form method="post" {
            label for="name" { "What people call you" }
            input id="name" name="name" autocomplete="name" required maxlength="100"
                value=(invited.name.as_deref().unwrap_or_default());
            p {}
            button type="submit" { "Join" }
        }
        p class="soft" { "Or sign in with your organization: " a href={ "/signin/" (door.store().id()) } { "other ways" } "." }
    };
    Ok(page("Join", Forms::Ours, &body))
}

/// Joins, and signs in.
pub(super) async fn take(
    browser: Browser,
    Extension(attempts): Extension<Arc<Attempts>>,
    Path(text): Path<String>,
    form: Form,
) -> Result<Response, Refused> {
    browser.is_ours()?;
    let (door, link, invitation) = found(&browser.app, browser.from(), &attempts, &text).await?;
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let name = form.get("name").map(str::trim);
    let newcomer = Newcomer {
        id,
        name: name.filter(|name| !name.is_empty()).map(str::to_owned),
    };
    let shown = Shown {
        user: Ref::new(Kind::User, id),
        method: "link",
        break_glass: false,
        connection: None,
        provider_session: None,
        ends_at: None,
    };
    let digest = link.stored();
    enter::enter(
        &browser,
        &door,
        (shown, HOME),
        move |by, snapshot, arrival| {
            invitation::accept_and_enter(by, snapshot, (invitation, &digest), (&newcomer, arrival))
        },
    )
    .await
}
