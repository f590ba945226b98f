//! Canaries in invitations, in requests for access and in files of people.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Canaries, Directory, email};

/// The token of the link in an answer, whose secret is a canary: only its hash is kept.
fn token(canaries: &mut Canaries, told: &Value) -> String {
    let (_, token) = told["link"].as_str().unwrap().split_once("/join/").unwrap();
    let secret = token.rsplit('_').next().unwrap();
    canaries.words.push(secret.to_owned());
    token.to_owned()
}

impl Directory {
    /// Invites people, one of whom comes, asks for access, and imports others.
    pub(super) async fn use_joining(&self, canaries: &mut Canaries) {
        let mut tokens = Vec::new();
        let mut places = Vec::new();
        for _ in 0..2 {
            let (name, email) = (canaries.word(), email(canaries));
            let body = json!({"name": name, "email": email, "role": "Member"});
            let told = self.call(Method::POST, "/v1/invitations", "", Some(body));
            let told = told.await;
            tokens.push(token(canaries, &told));
            places.push(format!("/v1/invitations/{}", told["id"].as_str().unwrap()));
        }
        let again = format!("{}/resend", places[0]);
        let again = self.call(Method::POST, &again, "", None).await;
        tokens.push(token(canaries, &again));
        self.call(Method::DELETE, &places[1], &canaries.word(), None)
            .await;
        // Replaced, revoked, and the one that counts.
        for (token, status) in tokens.iter().zip([403, 403, 201]) {
            let headers = [("content-type", "application/json")];
            let body = json!({"token": token, "name": canaries.word()}).to_string();
            let path = "/v1/invitations/accept";
            let told = self
                .client
                .send(Method::POST, path, &headers, Some(body.into()));
            assert_eq!(told.await.unwrap().status, status);
        }
        let nothing = "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa";
        let ask = json!({"resource": nothing, "level": "viewer", "reason": canaries.word()});
        let path = "/v1/access-requests";
        self.call(Method::POST, path, &canaries.word(), Some(ask))
            .await;
        let line = format!("{},{},Member", canaries.word(), email(canaries));
        let broken = format!("{},{},Member", canaries.word(), canaries.word());
        let file = format!("name,email,role\n{line}\n{broken}\n");
        for (query, status) in [("?dry_run=true", 200), ("", 400), ("?mode=each", 200)] {
            let headers = [
                ("content-type", "text/csv"),
                ("cedarkeep-acting-user", self.admin.as_str()),
            ];
            let path = format!("/v1/users/import{query}");
            let file = Some(file.clone().into_bytes());
            let told = self.client.send(Method::POST, &path, &headers, file).await;
            assert_eq!(told.unwrap().status, status);
        }
    }
}
