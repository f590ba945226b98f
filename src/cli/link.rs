//! `cedarkeep member link`: a one-time link that signs a person in.

use std::sync::Arc;

use chrono::{Duration, Utc};
use serde_json::json;

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::Room;
use crate::directory::session::{self, Link};
use crate::directory::{Kind, Ref, Snapshot, people};

/// For how long a link may be opened.
const LASTS: Duration = Duration::minutes(15);

/// Makes one, and shows it once.
pub(super) async fn link(
    app: &Arc<App>,
    out: &Out,
    (slug, who, break_glass): (&str, &str, bool),
) -> Outcome {
    let door = door(app, slug).await?;
    let user = find(door.glance().snapshot(), who)
        .ok_or_else(|| format!("there is nobody with the id or the address `{who}`: `cedarkeep member list {slug}` shows everybody"))?;
    let link = Link { user, break_glass };
    let issued = link.clone();
    // Recorded before it opens anything.
    door.operate(move |by, snapshot| session::issue(by, snapshot, &issued))
        .await?;
    let token = Token::mint(
        Use::Link,
        *door.store().id().bytes(),
        crypto::random()?,
        crypto::random()?,
    );
    let expires_at = Utc::now() + LASTS;
    let body = serde_json::to_vec(&link)?;
    door.expect((&token.digest(), Room::Granted), &body, expires_at)
        .await?;
    let url = format!(
        "{}/signin/link/{}",
        app.config().http.base_url.as_str(),
        token.expose()
    );
    out.say(
        &json!({ "user": user, "url": url, "expires_at": expires_at, "break_glass": break_glass }),
        &format!(
            "{url}\nsigns them in, once, until {}; it is not shown again",
            expires_at.format("%H:%M UTC")
        ),
    )?;
    Ok(())
}

/// The person of that id or address.
pub(super) fn find(snapshot: &Snapshot, who: &str) -> Option<Ref> {
    if let Some(user) = Ref::of(Kind::User, who) {
        return snapshot.user(user).map(|_| user);
    }
    let address = people::address(who).ok()?;
    snapshot.user_at(&address)
}
