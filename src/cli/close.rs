//! `cedarkeep org close`: an organization is closed later, or now.

use std::sync::Arc;

use serde_json::json;

use super::Outcome;
use super::org::tenant;
use super::print::{Out, with_causes};
use crate::app::{App, AppError};
use crate::directory::closing;

/// Says when an organization is closed, and closes it where that is now. What does not open, because its database is lost or its key is
/// another, has no way to say so, and goes only where `unopened` is said: nodes that have it open let go of it within seconds.
pub(super) async fn close(
    app: &Arc<App>,
    out: &Out,
    slug: &str,
    (grace, unopened): (u32, bool),
) -> Outcome {
    let id = tenant(app, slug).await?;
    match app.door(id).await {
        Ok(door) => {
            let asked = door.glance().snapshot().organization()?.closes_at.is_some();
            if asked && grace == 0 {
                // What was to be closed later is closed now.
                door.operate(closing::call_off_by_operator).await?;
            }
            let asked = door
                .operate(move |by, snapshot| closing::request_by_operator(by, snapshot, grace))
                .await?;
            if grace > 0 {
                let at = asked.reply.get("closes_at").cloned().unwrap_or_default();
                let at = at.as_str().unwrap_or_default();
                out.say(
                    &json!({ "slug": slug, "closes_at": at }),
                    &format!("{slug} is closed at {at}; `cedarkeep org keep {slug}` calls it off"),
                )?;
                return Ok(());
            }
        }
        // What is only out of reach may be under a legal hold, and is not destroyed unseen.
        Err(error) => {
            let said = with_causes(&error);
            let lost = match &error {
                AppError::Tenant(error) => app.control().is_lost(id, error).await?,
                _ => false,
            };
            if !lost {
                return Err(format!(
                    "`{slug}` does not open, so it cannot be asked whether a legal hold stands, and nothing is destroyed: {said}; \
                     close it once it opens, or once its database is taken away for good"
                )
                .into());
            }
            if grace > 0 || !unopened {
                return Err(format!(
                    "`{slug}` does not open, so it cannot be asked whether a legal hold stands, and nothing is destroyed: {said}; \
                     put it back from a backup, or, if it may go for good, say so with --grace 0 --unopened"
                )
                .into());
            }
            out.progress(&format!("`{slug}` does not open ({said})"));
            app.destroy_for_good(id).await?;
            return closed(app, out, slug);
        }
    }
    app.close_for_good(id).await?;
    closed(app, out, slug)
}

fn closed(app: &App, out: &Out, slug: &str) -> Outcome {
    let shred = match (app.control().rotates_root()?, app.config().keys.shred_after()) {
        (true, Some(after)) => format!(
            "once the root key is rotated no backup of the control database opens it: a running service does that within {} s",
            after.num_seconds()
        ),
        (true, None) => "once the root key is rotated no backup of the control database opens it: `cedarkeep keys rotate root` does that".to_owned(),
        (false, _) => "a backup of the control database opens it until everything is wrapped by another key (`cedarkeep keys rewrap`) and \
             this one is deleted where it is kept".to_owned(),
    };
    out.say(
        &json!({ "slug": slug, "closed": true }),
        &format!("{slug} is closed; {shred}"),
    )?;
    Ok(())
}
