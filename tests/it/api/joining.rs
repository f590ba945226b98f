//! Joining by an invitation's page: looked at as often as one likes, used once.

use serde_json::json;

use super::harness::{Service, Tenant};
use super::messages::sound;
use super::sessions::{ORIGIN, cookie, entries};

/// The link of an invitation that an Admin makes where no mail is sent, and its place on this service.
async fn invited(service: &Service, tenant: &Tenant, email: &str, role: &str) -> String {
    let body = json!({"email": email, "role": role});
    let told = service
        .post(tenant, tenant.admin, "/v1/invitations", body)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    let link = told.body["link"].as_str().unwrap();
    link.strip_prefix(ORIGIN).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_invited_joins_by_the_link_and_is_signed_in() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let link = invited(&service, &tenant, "zoe@example.com", "Member").await;
    for _ in 0..2 {
        let page = service.ask("GET", &link).send().await;
        assert_eq!(page.status, 200);
        let text = String::from_utf8(page.bytes).unwrap();
        assert!(text.contains("acme") && text.contains("Member"), "{text}");
        assert!(!text.contains("zoe@example.com"));
    }
    let form = |origin: &'static str, name: &str| {
        let ask = service.ask("POST", &link).header("origin", origin);
        let fields = format!("name={name}");
        ask.content("application/x-www-form-urlencoded", fields)
            .send()
    };
    assert_eq!(form("https://evil.example", "Zoe").await.status, 403);
    assert_eq!(form(ORIGIN, "").await.status, 400);
    let told = form(ORIGIN, "Zoe+%3Cb%3E").await;
    let zoe = cookie(&told);
    let who = service
        .signed_in(&zoe, "GET", "/v1/session")
        .send()
        .await
        .ok();
    assert_eq!(who["user"]["email"], "zoe@example.com");
    let page = service.signed_in(&zoe, "GET", "/account").send().await;
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(text.contains("Zoe &lt;b&gt;"), "{text}");
    // Used, it is one as good as any other that is none.
    let again = form(ORIGIN, "Zoe").await;
    assert_eq!(again.status, 403);
    let none = service.ask("GET", "/join/cki_none").send().await;
    assert_eq!(none.status, 403);
    let joined = entries(&service, &tenant, "member.joined").await;
    assert_eq!(joined[0]["resource"]["id"], who["user"]["id"]);
    sound(&tenant).await;
}
