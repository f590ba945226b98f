//! Every documented route against callers who may not: the routes come from the document, so none is forgotten.

use cedarkeep::directory::object::Scope;
use cedarkeep::http;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Things, key};
use super::sessions::ORIGIN;

/// A route as the document has it.
struct Route {
    method: String,
    path: String,
    /// Whether it needs a credential.
    secured: bool,
    /// Whether that may be a session.
    by_session: bool,
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(http::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "head", "put", "post", "delete", "patch"].contains(&method.as_str()) {
                let credentials = operation["security"].as_array().unwrap();
                let takes = |name: &str| credentials.iter().any(|one| one.get(name).is_some());
                routes.push(Route {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    secured: !credentials.is_empty(),
                    by_session: takes("session"),
                });
            }
        }
    }
    routes
}

/// The directory's own: those that name their acting user.
fn ours() -> impl Iterator<Item = Route> {
    routes()
        .into_iter()
        .filter(|route| route.secured && route.path.starts_with("/v1/"))
        // Of whoever is signed in alone: `api::sessions`.
        .filter(|route| route.path != "/v1/session")
}

impl Route {
    fn changes(&self) -> bool {
        !["GET", "HEAD"].contains(&self.method.as_str())
    }

    /// The path of something that is there.
    fn place(&self, things: &Things) -> String {
        let collection = self
            .path
            .trim_start_matches("/v1/")
            .split('/')
            .next()
            .unwrap();
        let id = match collection {
            "users" => &things.user,
            "teams" => &things.team,
            "projects" => &things.project,
            "threads" => &things.thread,
            "documents" => &things.document,
            "prompt-templates" => &things.template,
            "tools" => &things.tool,
            "assistants" => &things.assistant,
            "agents" => &things.agent,
            "agent-runs" => &things.run,
            "memory" => &things.memory,
            "integrations" => &things.integration,
            "shares" => &things.share,
            "api-keys" => &things.key,
            "scim" => "key_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "invitations" => &things.invitation,
            "organization" | "policy-set" | "policy-versions" | "policy-conditions"
            | "policy-replays" | "policy-shadow" | "entities" | "audit" | "keys" | "explain"
            | "sso" => "",
            "access-requests" => &things.request,
            other => panic!("`{other}` is a new collection: say what of it there is"),
        };
        let place = self
            .path
            .replace("{id}", id)
            .replace("{user}", &things.user)
            .replace("{connection}", "con_aaaaaaaaaaaaaaaaaaaaaaaaaa")
            .replace("{domain}", "example.com")
            .replace("{session}", "ses_aaaaaaaaaaaaaaaaaaaaaaaaaa")
            .replace("{message}", "msg_aaaaaaaaaaaaaaaaaaaaaaaaaa")
            .replace("{index}", "0")
            .replace("{version}", "1")
            .replace("{key}", "epoch")
            .replace("{path}", "0/000.p/1");
        match (self.method.as_str(), self.path.as_str()) {
            ("GET", "/v1/audit/export") => format!("{place}?format=jsonl"),
            ("GET", "/v1/audit/consistency") => format!("{place}?from=1"),
            ("GET", "/v1/shares") => format!("{place}?resource={}", things.thread),
            _ => place,
        }
    }

    /// A body that the route takes.
    fn body(&self, tenant: &Tenant, things: &Things) -> Option<Value> {
        let made = json!({"name": "New", "audience": tenant.everybody});
        let renamed = json!({"name": "Renamed"});
        let body = match (self.method.as_str(), self.path.as_str()) {
            ("POST", "/v1/users") => {
                json!({"name": "Eve", "email": "eve@example.com", "role": "Viewer"})
            }
            ("POST", "/v1/invitations") => json!({"email": "eve@example.com", "role": "Viewer"}),
            ("POST", "/v1/access-requests") => {
                json!({"resource": things.tool, "level": "editor", "reason": "to mend it"})
            }
            ("POST", "/v1/access-requests/{id}/approve") => json!({}),
            ("PATCH", "/v1/shares/{id}") => json!({"for_minutes": 5}),
            ("PATCH", "/v1/users/{id}") => json!({"active": false}),
            ("POST", "/v1/teams" | "/v1/projects") => json!({"name": "New"}),
            ("POST", "/v1/teams/{id}/members" | "/v1/projects/{id}/members") => {
                json!({"user": things.user})
            }
            ("PATCH", "/v1/threads/{id}") => json!({"audience": null}),
            ("POST", "/v1/memory") => json!({"name": "New", "layer": "organization"}),
            ("POST", "/v1/integrations") => json!({"name": "New", "provider": "mail"}),
            ("POST", "/v1/shares") => {
                json!({"resource": things.thread, "grantee": things.user, "level": "viewer"})
            }
            ("POST", "/v1/api-keys/{id}/rotation") => json!({"overlap_hours": 1}),
            ("POST", "/v1/api-keys") => json!({"name": "New"}),
            ("POST", "/v1/explain") => json!({
                "subject": {"type": "User", "id": things.user},
                "action": {"name": "thread.read"},
                "resource": {"type": "Thread", "id": things.thread},
            }),
            ("PUT", "/v1/policy-set") | ("POST", "/v1/policy-versions") => json!({"policies": {}}),
            ("POST", "/v1/policy-replays") => json!({"policies": {}}),
            ("PUT", "/v1/policy-shadow") => json!({"version": 1}),
            ("PUT", "/v1/policy-conditions") | ("POST", "/v1/policy-conditions/approve") => {
                json!({"tests": true})
            }
            (
                "POST",
                "/v1/policy-versions/{version}/activate" | "/v1/policy-versions/{version}/check",
            ) => json!({}),
            ("POST", "/v1/policy-set/rollback") => json!({"version": 1}),
            ("PUT", "/v1/entities") => {
                json!({"entities": [{"uid": {"type": "Ticket", "id": "1"}, "attrs": {}, "parents": []}]})
            }
            ("DELETE", "/v1/entities") => json!({"type": "Ticket", "id": "1"}),
            ("PUT", "/v1/organization/retention") => json!({"retention_days": 365}),
            ("POST", "/v1/agent-runs") => json!({"definition": things.agent}),
            ("POST", "/v1/audit/events") => json!({"events": [{
                "event": "user.login", "actor": tenant.member, "at": chrono::Utc::now(), "outcome": "ok",
            }]}),
            ("PATCH", "/v1/agent-runs/{id}") => json!({"status": "failed"}),
            ("POST", "/v1/sso/connections") => json!({
                "name": "New", "protocol": "oidc", "issuer": "https://idp.example", "client_id": "us",
            }),
            ("POST", "/v1/sso/metadata") => json!({"metadata": "<none/>"}),
            ("PUT", "/v1/sso/sessions") => json!({"idle_minutes": 5, "session_minutes": null}),
            ("PUT", "/v1/sso/enforcement") => {
                json!({"method": "oidc", "break_glass": tenant.admin})
            }
            ("PUT", "/v1/scim") => json!({"default_role": "Viewer"}),
            ("POST", "/v1/scim/token") => json!({"name": "New"}),
            ("POST", "/v1/sso/domains") => json!({"domain": "example.com"}),
            ("POST", "/v1/organization/closing") => json!({"days": 7}),
            ("POST", "/v1/organization/hold" | "/v1/organization/release") => {
                json!({"reason": "a lawsuit"})
            }
            ("PUT", path) if path.ends_with("/content") || path.ends_with("/token") => {
                json!({"any": "content"})
            }
            (
                "POST",
                "/v1/agents/{id}/runs"
                | "/v1/agent-runs/{id}/cancel"
                | "/v1/agent-runs/{id}/complete"
                | "/v1/agent-runs/{id}/fail"
                | "/v1/organization/private-export"
                | "/v1/organization/private-export/approval"
                | "/v1/integrations/{id}/use"
                | "/v1/audit/key"
                | "/v1/keys/{key}/rotation"
                | "/v1/sso/connections/{connection}/test"
                | "/v1/sso/domains/{domain}/verification"
                | "/v1/invitations/{id}/resend"
                | "/v1/policy-versions/{version}/approve"
                | "/v1/access-requests/{id}/decline"
                | "/v1/users/{id}/erasure",
            )
            | ("DELETE" | "GET" | "HEAD", _) => return None,
            ("PATCH", _) => renamed,
            ("POST", _) => made,
            (method, path) => panic!("{method} {path} is new: say what it takes"),
        };
        Some(body)
    }
}

async fn told(
    service: &Service,
    route: &Route,
    place: &str,
    body: Option<&Value>,
    with: &[(&str, &str)],
) -> super::harness::Told {
    let mut ask = service.ask(&route.method, place);
    for (name, value) in with {
        ask = ask.header(name, value);
    }
    match body {
        Some(body) => ask.body(body).send().await,
        None => ask.send().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_there_for_everybody() {
    let service = Service::open().await;
    let told = service.ask("GET", "/openapi.json").send().await;
    assert_eq!(told.headers["content-type"], "application/json");
    let document = serde_json::to_value(http::openapi()).unwrap();
    assert_eq!(told.ok(), document);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_credential_nothing_is_answered() {
    let service = Service::open().await;
    for route in routes().iter().filter(|route| route.secured) {
        let place = route.path.replace(['{', '}'], "");
        let place = place.replace("/index", "/0");
        let told = told(&service, route, &place, Some(&json!({})), &[]).await;
        assert_eq!(
            told.status, 401,
            "{} {}: {}",
            route.method, route.path, told.body
        );
        assert!(told.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_a_credential_where_the_document_says_so_and_nowhere_else() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let cookie = service.sign_in(&tenant, tenant.viewer).await;
    // A viewer's, so that the calls leave everything as it is.
    let with = [("cookie", cookie.as_str()), ("origin", ORIGIN)];
    let (ours, others): (Vec<_>, Vec<_>) = ours().partition(|route| route.by_session);
    // A back end's alone.
    let paths: Vec<_> = others.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/v1/audit/events", "/v1/integrations/{id}/use"]);
    for route in others {
        let (place, body) = (route.place(&things), route.body(&tenant, &things));
        let answer = told(&service, &route, &place, body.as_ref(), &with).await;
        assert_eq!(answer.status, 403, "{}", route.path);
    }
    for route in ours {
        let (place, body) = (route.place(&things), route.body(&tenant, &things));
        let answer = told(&service, &route, &place, body.as_ref(), &with).await;
        assert_ne!(answer.status, 401, "{} {}", route.method, route.path);
    }
    let theirs = routes().into_iter();
    let theirs = theirs.filter(|route| route.secured && !route.path.starts_with("/v1/"));
    for route in theirs {
        assert!(!route.by_session, "{}", route.path);
        let answer = told(&service, &route, &route.path, Some(&json!({})), &with).await;
        assert_eq!(answer.status, 401, "{} {}", route.method, route.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_reaches_nothing() {
    let service = Service::open().await;
    let (ours_is, theirs) = (service.tenant("acme").await, service.tenant("other").await);
    let things = service.things(&ours_is).await;
    let bearer = format!("Bearer {}", theirs.key);
    let (our_admin, their_admin) = (ours_is.admin.to_string(), theirs.admin.to_string());
    for route in ours() {
        let (place, body) = (route.place(&things), route.body(&ours_is, &things));
        // Their key in the name of our Admin: nobody whom their organization knows.
        let with = [
            ("authorization", bearer.as_str()),
            ("cedarkeep-acting-user", our_admin.as_str()),
        ];
        let answer = told(&service, &route, &place, body.as_ref(), &with).await;
        assert_eq!(
            answer.status, 403,
            "{} {}: {}",
            route.method, route.path, answer.body
        );
        // Their key in the name of their own Admin: our things are not there.
        let names_ours = place.contains("?resource=") || route.path.contains("{id}");
        if names_ours {
            let with = [
                ("authorization", bearer.as_str()),
                ("cedarkeep-acting-user", their_admin.as_str()),
            ];
            let answer = told(&service, &route, &place, body.as_ref(), &with).await;
            assert_eq!(
                answer.status, 404,
                "{} {}: {}",
                route.method, route.path, answer.body
            );
        }
    }
    // A control: all of it is there still.
    service
        .get(
            &ours_is,
            ours_is.admin,
            &format!("/v1/threads/{}", things.thread),
        )
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_changes_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let (bearer, viewer) = (format!("Bearer {}", tenant.key), tenant.viewer.to_string());
    let with = [
        ("authorization", bearer.as_str()),
        ("cedarkeep-acting-user", viewer.as_str()),
    ];
    let mut tried = 0;
    // But ask: that is how somebody comes to read what they may not.
    let asks = |route: &Route| route.path == "/v1/access-requests";
    for route in ours().filter(|route| route.changes() && !asks(route)) {
        let (place, body) = (route.place(&things), route.body(&tenant, &things));
        let answer = told(&service, &route, &place, body.as_ref(), &with).await;
        assert!(
            matches!(answer.status, 403 | 404),
            "{} {}: {} {}",
            route.method,
            route.path,
            answer.status,
            answer.body
        );
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_the_scope_opens_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let bearer = format!("Bearer {}", key(&tenant.door, &[Scope::Decide]).await);
    let admin = tenant.admin.to_string();
    let with = [
        ("authorization", bearer.as_str()),
        ("cedarkeep-acting-user", admin.as_str()),
    ];
    for route in ours() {
        let (place, body) = (route.place(&things), route.body(&tenant, &things));
        let answer = told(&service, &route, &place, body.as_ref(), &with).await;
        assert_eq!(
            answer.status, 403,
            "{} {}: {}",
            route.method, route.path, answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_names_nobody_opens_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let bearer = format!("Bearer {}", tenant.key);
    // People may be brought in and out without an acting user: that is what the scope `provision` is for.
    let provisions = |route: &Route| {
        route.path.starts_with("/v1/users")
            || route.path.contains("/members")
            || (route.method == "POST" && route.path == "/v1/invitations")
    };
    // And a back end asks about anybody why: that is what the scope `explain` is for.
    // And it reports what happened in the app: that is what the scope `events` is for.
    let about_anybody = ["/v1/explain", "/v1/audit/events"];
    let exempt = |route: &Route| provisions(route) || about_anybody.contains(&route.path.as_str());
    for route in ours().filter(|route| !exempt(route)) {
        let (place, body) = (route.place(&things), route.body(&tenant, &things));
        let answer = told(
            &service,
            &route,
            &place,
            body.as_ref(),
            &[("authorization", bearer.as_str())],
        )
        .await;
        assert!(
            matches!(answer.status, 400 | 403),
            "{} {}: {} {}",
            route.method,
            route.path,
            answer.status,
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_route_is_routed_and_no_other_method_is() {
    let service = Service::open().await;
    let routes = routes();
    let mut paths: Vec<&str> = routes.iter().map(|route| route.path.as_str()).collect();
    paths.dedup();
    for path in paths {
        let place = path.replace(['{', '}'], "").replace("/index", "/0");
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"] {
            // What may be read may be asked about.
            let documented = routes.iter().any(|route| {
                route.path == path
                    && (route.method == method || (route.method == "GET" && method == "HEAD"))
            });
            let answer = service.ask(method, &place).raw(b"{}".to_vec()).send().await;
            assert_eq!(
                answer.status != 405,
                documented,
                "{method} {path}: {}",
                answer.status
            );
        }
    }
}
