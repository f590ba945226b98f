//! How the link of an invitation reaches whom it is for: by mail, or through the hands of whoever invited them.

use zeroize::Zeroizing;

use super::App;
use crate::decide::Door;
use crate::directory::invitation::DAYS;
use crate::directory::{Object, Ref};
use crate::mail::{Letter, MailError};

/// How a link goes on.
#[derive(Debug, Clone)]
pub enum Sent {
    /// By mail, which is on its way or was taken by the server.
    Posted,
    /// Mail is set up and could not take it: it is to be sent again.
    Failed,
    /// No mail is set up: this is the link. It opens an account, and is shown once.
    ToBeHandedOver(Zeroizing<String>),
}

impl App {
    /// Has the link of an invitation that was just committed sent, and does not wait for it.
    #[must_use]
    pub fn send_invitation(&self, door: &Door, invitation: Ref, token: &str) -> Sent {
        let url = self.join_url(token);
        let Some(mail) = &self.mail else {
            return Sent::ToBeHandedOver(url);
        };
        let posted = letter(door, invitation, &url).map(|letter| mail.post(&letter));
        match posted {
            Some(Ok(())) => Sent::Posted,
            Some(Err(error)) => {
                tracing::error!(about = %invitation, %error, "a letter was not sent");
                Sent::Failed
            }
            None => Sent::Failed,
        }
    }

    /// The same, and waits until the server has it.
    ///
    /// # Errors
    /// It has not.
    pub async fn deliver_invitation(
        &self,
        door: &Door,
        invitation: Ref,
        token: &str,
    ) -> Result<Sent, MailError> {
        let url = self.join_url(token);
        let Some(mail) = &self.mail else {
            return Ok(Sent::ToBeHandedOver(url));
        };
        match letter(door, invitation, &url) {
            Some(letter) => mail.deliver(&letter).await.map(|()| Sent::Posted),
            None => Ok(Sent::Failed),
        }
    }

    /// Whether this node knows that the last letter about an invitation was not sent.
    #[must_use]
    pub fn has_failed(&self, invitation: Ref) -> bool {
        let mail = self.mail.as_ref();
        mail.is_some_and(|mail| mail.has_failed(&invitation.to_string()))
    }

    /// In the path, since what is behind `#` reaches no server and would need a script.
    fn join_url(&self, token: &str) -> Zeroizing<String> {
        let base = self.config.http.base_url.as_str();
        Zeroizing::new(format!("{base}/join/{token}"))
    }
}

/// Nothing where it has been taken back meanwhile.
fn letter(door: &Door, invitation: Ref, url: &str) -> Option<Letter> {
    let world = door.glance();
    let snapshot = world.snapshot();
    let Object::Invitation(invited) = &snapshot.object(invitation)?.value else {
        return None;
    };
    let organization = &snapshot.organization().ok()?.name;
    let until = invited.expires_at.format("%-d %B %Y, %H:%M UTC");
    let text = format!(
        "You are invited to join {organization} as {role}.\r\n\r\n\
         Open this link to join:\r\n\r\n{url}\r\n\r\n\
         It works once, for {DAYS} days, until {until}. Whoever has it can join in your place: do not pass it on.\r\n\
         If you do not know {organization}, you need not do anything.\r\n",
        role = invited.role.name(),
    );
    Some(Letter {
        about: invitation.to_string(),
        to: invited.email.clone(),
        name: invited.name.clone(),
        subject: format!("Join {organization}"),
        text: Zeroizing::new(text),
    })
}
