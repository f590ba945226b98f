//! Canaries in content: of everything that carries it, short and long, kept and replaced, broken off and refused.

use reqwest::Method;
use serde_json::json;

use super::{Canaries, Directory};
use crate::harness::raw::{Raw, request};
use crate::harness::server::{Server, Site};

impl Directory {
    /// Content with a canary in front, of so many bytes: a word every now and then, as text has them.
    fn text(canaries: &mut Canaries, length: usize) -> Vec<u8> {
        let word = canaries.word();
        let mut text = format!("{word} ").repeat(length / word.len() + 1);
        text.truncate(length.max(word.len()));
        text.into_bytes()
    }

    /// Writes content, of a media type with a canary, and reads it back.
    async fn keep(
        &self,
        canaries: &mut Canaries,
        (method, path): (Method, &str),
        length: usize,
    ) -> String {
        let text = Self::text(canaries, length);
        let (media, once, purpose) = (
            format!("text/{}; note={}", canaries.word(), canaries.word()),
            canaries.word(),
            canaries.word(),
        );
        let headers = [
            ("content-type", media.as_str()),
            ("cedarkeep-acting-user", self.admin.as_str()),
            ("x-request-id", once.as_str()),
            ("cedarkeep-purpose", purpose.as_str()),
            ("idempotency-key", once.as_str()),
        ];
        // A PUT may be sent again as it is, and takes none.
        let headers = match method {
            Method::PUT if path.ends_with("/content") => &headers[..4],
            _ => &headers[..],
        };
        let told = self
            .client
            .send(method, path, headers, Some(text.clone()))
            .await
            .unwrap();
        assert_eq!(told.status / 100, 2, "{path}: {}", told.body);
        if path.ends_with("/token") {
            return String::new();
        }
        let told = told.json();
        let place = match path.ends_with("/messages") || path.ends_with("comment=true") {
            true => {
                let (list, _) = path.split_once('?').unwrap_or((path, ""));
                format!("{list}/{}", told["id"].as_str().unwrap())
            }
            false => path.to_owned(),
        };
        let read = self.client.send(Method::GET, &place, &headers[1..4], None);
        let read = read.await.unwrap();
        // The control: what is asserted to be nowhere on the disk is there, for those who may read it.
        assert_eq!((read.status, read.body.as_bytes()), (200, &text[..]));
        assert_eq!(read.header("content-type"), Some(media.as_str()));
        place
    }

    /// Content of all that carries it, short and long, kept, replaced and deleted; what breaks off, and what is refused.
    pub(super) async fn use_content(&self, canaries: &mut Canaries, server: &Server, site: &Site) {
        let body = json!({"name": canaries.word()});
        let team = self.make(canaries, "/v1/teams", body).await;
        let body = json!({"name": canaries.word(), "parent": team});
        let project = self.make(canaries, "/v1/projects", body).await;
        let body = json!({"name": canaries.word(), "parent": project});
        let thread = self.make(canaries, "/v1/threads", body).await;
        let mut made = Vec::new();
        for path in [
            "documents",
            "prompt-templates",
            "tools",
            "assistants",
            "agents",
        ] {
            let body = json!({"name": canaries.word(), "parent": project});
            let path = format!("/v1/{path}");
            made.push((self.make(canaries, &path, body).await, path));
        }
        for (layer, parent) in [
            ("personal", None),
            ("thread", Some(&thread)),
            ("project", Some(&project)),
            ("team", Some(&team)),
            ("organization", None),
        ] {
            let mut body = json!({"name": canaries.word(), "layer": layer});
            if let Some(parent) = parent {
                body["parent"] = json!(parent);
            }
            let id = self.make(canaries, "/v1/memory", body).await;
            made.push((id, "/v1/memory".to_owned()));
        }
        let (agent, _) = made
            .iter()
            .find(|(_, path)| path.ends_with("agents"))
            .unwrap();
        let runs = format!("/v1/agents/{agent}/runs");
        let run = self.call(Method::POST, &runs, &canaries.word(), None).await;
        made.insert(
            0,
            (
                run["id"].as_str().unwrap().to_owned(),
                "/v1/agent-runs".into(),
            ),
        );
        for (number, (id, path)) in made.iter().enumerate() {
            let place = format!("{path}/{id}/content");
            for length in [40, 200_000, 16_500, 3_000] {
                self.keep(canaries, (Method::PUT, &place), length).await;
            }
            if number % 3 == 1 {
                self.call(Method::DELETE, &place, "", None).await;
            }
            if number % 3 == 2 {
                let thing = format!("{path}/{id}");
                self.call(Method::DELETE, &thing, &canaries.word(), None)
                    .await;
            }
        }
        let messages = format!("/v1/threads/{thread}/messages");
        for (path, length) in [
            (messages.clone(), 60),
            (messages.clone(), 90_000),
            (format!("{messages}?comment=true"), 70),
        ] {
            self.keep(canaries, (Method::POST, &path), length).await;
        }
        let listed = self.call(Method::GET, &messages, "", None).await;
        assert_eq!(listed["items"].as_array().unwrap().len(), 3);
        let useful = format!("/v1/memory?for={thread}");
        let used = self.call(Method::GET, &useful, "", None).await;
        assert!(!used["items"].as_array().unwrap().is_empty());
        let body = json!({"name": canaries.word(), "provider": "calendar"});
        let integration = self.make(canaries, "/v1/integrations", body).await;
        let token = format!("/v1/integrations/{integration}/token");
        for length in [50, 20_000] {
            self.keep(canaries, (Method::PUT, &token), length).await;
        }
        let used = format!("/v1/integrations/{integration}/use");
        let used = self.call(Method::POST, &used, "", None).await;
        assert!(used["token"].is_object());
        self.what_is_not_kept(canaries, server, site).await;
    }

    /// Uploads that break off or are refused, before and after their first byte.
    async fn what_is_not_kept(&self, canaries: &mut Canaries, server: &Server, site: &Site) {
        let body = json!({"name": canaries.word()});
        let document = self.make(canaries, "/v1/documents", body).await;
        let place = format!("/v1/documents/{document}/content");
        let ca = site.data().join("tls/ca.crt");
        for (length, sent) in [(400, 200), (3 << 20, 1 << 20), (30_000, 20_000)] {
            let text = Self::text(canaries, sent);
            let head = request("PUT", &place, &self.key, &self.admin);
            let mut raw = Raw::tls(&ca, server.port()).await;
            let head = format!("{head}content-length: {length}\r\n\r\n");
            raw.send(head.as_bytes()).await.unwrap();
            raw.send(&text).await.unwrap();
            // It is on its way by now; then whoever sends it is gone.
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            drop(raw);
        }
        let (user, media) = (self.admin.as_str(), "text/plain");
        let refused = canaries.word();
        for (path, more, length) in [
            // Another version than the one that is there, which is none.
            (place.as_str(), ("if-match", "\"ver_other\""), 100),
            (place.as_str(), ("if-match", "*"), 100_000),
            (place.as_str(), ("cedarkeep-purpose", "train"), 100),
            (place.as_str(), ("cedarkeep-purpose", "train"), 100_000),
            (place.as_str(), ("idempotency-key", refused.as_str()), 100),
            (
                "/v1/documents/doc_aaaaaaaaaaaaaaaaaaaaaaaaaa/content",
                ("x-request-id", "one"),
                100,
            ),
            (
                "/v1/documents/doc_aaaaaaaaaaaaaaaaaaaaaaaaaa/content",
                ("x-request-id", "two"),
                100_000,
            ),
        ] {
            let headers = [
                ("content-type", media),
                ("cedarkeep-acting-user", user),
                more,
            ];
            let text = Self::text(canaries, length);
            let told = self.client.send(Method::PUT, path, &headers, Some(text));
            // Whoever is refused before the first byte is told so all the same.
            let told = told.await.unwrap();
            assert_eq!(told.status / 100, 4, "{path}: {}", told.body);
        }
        let bad = format!("text {}", canaries.word());
        let headers = [
            ("content-type", bad.as_str()),
            ("cedarkeep-acting-user", user),
        ];
        let text = Self::text(canaries, 100);
        let told = self.client.send(Method::PUT, &place, &headers, Some(text));
        assert_eq!(told.await.unwrap().status, 400);
        let none = self.client.send(Method::GET, &place, &headers[1..], None);
        assert_eq!(none.await.unwrap().status, 404);
    }
}
