//! `cedarkeep member scim-token`: a token by which a customer's directory provisions people over SCIM.

use std::sync::Arc;

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::directory::scim::setup::{self, NewToken};

/// Makes one, and shows it once.
pub(super) async fn token(app: &Arc<App>, out: &Out, (slug, name): (&str, &str)) -> Outcome {
    let door = door(app, slug).await?;
    let id = crypto::random()?;
    let token = Token::mint(Use::Scim, *door.store().id().bytes(), id, crypto::random()?);
    let new = NewToken {
        id,
        service: crypto::random()?,
        name: name.to_owned(),
        expires_at: None,
        digest: token.digest(),
    };
    let changed = door
        .operate(move |by, snapshot| setup::create_token_by_operator(by, snapshot, &new))
        .await?;
    let mut told = changed.reply;
    if let Some(told) = told.as_object_mut() {
        told.insert("token".into(), token.expose().into());
    }
    let base = app.config().http.base_url.as_str();
    out.say(
        &told,
        &format!(
            "{}\nfor {base}/scim/v2; it is not shown again, and needs the Enterprise plan",
            token.expose()
        ),
    )?;
    Ok(())
}
