//! More than can be answered: it is shed with a word on when to come again, recorded or not asked at all, and no other tenant's wait.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};
use super::messages::sound;

/// Waiting room for so many.
const QUEUE: usize = 32;

fn question(tenant: &Tenant) -> Value {
    json!({
        "subject": {"type": "User", "id": tenant.member.to_string()},
        "action": {"name": "settings.read"},
        "resource": {"type": "Settings", "id": format!("set_{}", &tenant.org.to_string()[4..])},
    })
}

async fn asks(service: &Service, tenant: &Tenant) -> Told {
    service
        .ask("POST", "/access/v1/evaluation")
        .key(&tenant.key)
        .body(&question(tenant))
        .send()
        .await
}

/// The same so often in one call.
async fn asks_much(service: &Service, tenant: &Tenant, times: usize) -> Told {
    let mut asked = question(tenant);
    asked["evaluations"] = Value::Array(vec![json!({}); times]);
    service
        .ask("POST", "/access/v1/evaluations")
        .key(&tenant.key)
        .body(&asked)
        .send()
        .await
}

/// What is shed is told so, and is no decision.
fn is_shed(told: &Told) {
    assert_eq!(told.status, 429);
    assert_eq!(told.headers["retry-after"], "1");
    let said = String::from_utf8_lossy(&told.bytes);
    assert!(
        said.contains("Retry-After") && !said.contains("decision"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_shed_and_nothing_that_was_answered_is_lost() {
    let service = Service::crowded(QUEUE).await;
    let [flooding, quiet] = [service.tenant("flood").await, service.tenant("quiet").await];
    assert_eq!(asks(&service, &quiet).await.status, 200);
    let before = flooding.door.tip().size;

    let flood = join_all((0..600).map(|_| asks(&service, &flooding)));
    let other = async {
        for _ in 0..10 {
            let begun = Instant::now();
            let told = asks(&service, &quiet).await;
            assert_eq!(told.status, 200, "{}", told.body);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    };
    let (told, ()) = tokio::join!(flood, other);

    let answered = told.iter().filter(|told| told.status == 200).count();
    let shed: Vec<_> = told.iter().filter(|told| told.status != 200).collect();
    assert!(answered > 0 && !shed.is_empty(), "{answered} answered");
    for told in shed {
        is_shed(told);
    }
    // An entry for each answer, and none for what was shed.
    let entries = flooding.door.tip().size - before;
    assert_eq!(entries, u64::try_from(answered).unwrap());
    for tenant in [&flooding, &quiet] {
        sound(tenant).await;
    }
    // And when it is over, it is over.
    assert_eq!(asks(&service, &flooding).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_batches_is_shed_and_single_questions_are_answered() {
    let items = 100;
    // Four questions for each call that may wait.
    let service = Service::crowded(4 * QUEUE).await;
    let [flooding, quiet] = [service.tenant("flood").await, service.tenant("quiet").await];
    assert_eq!(asks(&service, &flooding).await.status, 200);
    let before = flooding.door.tip().size;

    let singles = async |tenant| {
        for _ in 0..10 {
            let told = asks(&service, tenant).await;
            assert_eq!(told.status, 200, "{}", told.body);
        }
    };
    let flood = join_all((0..60).map(|_| asks_much(&service, &flooding, items)));
    let (told, (), ()) = tokio::join!(flood, singles(&flooding), singles(&quiet));

    let answered: Vec<_> = told.iter().filter(|told| told.status == 200).collect();
    assert!(!answered.is_empty() && answered.len() < told.len());
    for told in &answered {
        let decisions = told.body["evaluations"].as_array().unwrap();
        assert_eq!(decisions.len(), items);
    }
    for told in told.iter().filter(|told| told.status != 200) {
        is_shed(told);
    }
    let entries = flooding.door.tip().size - before;
    assert_eq!(entries, u64::try_from(answered.len() * items + 10).unwrap());
    for tenant in [&flooding, &quiet] {
        assert!(tenant.door.is_healthy());
        sound(tenant).await;
    }
    // One call always fits, however much it asks.
    let told = asks_much(&service, &flooding, 1_000).await;
    assert_eq!(told.status, 200, "{}", told.body);
}
