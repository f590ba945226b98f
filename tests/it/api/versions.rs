//! Versions of policies compared, tried without being drafted, drafted once, and held once they are announced.

use std::sync::Arc;

use cedarkeep::config::Database;
use cedarkeep::decide::upkeep;
use cedarkeep::directory::policies;
use chrono::Utc;
use serde_json::json;

use super::policies::{HARMLESS, OTHER, Scene};

/// What differs is told between any two versions, and a dry run leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_compared_and_tried() {
    let scene = Scene::on(Database::Sqlite).await;
    let (first, second) = (scene.draft(HARMLESS).await, scene.draft(OTHER).await);
    let path = |from: &str| format!("/v1/policy-versions/{second}/difference{from}");
    let with = scene.get(&path(&format!("?from={first}"))).await;
    let words = with["words"].to_string();
    assert!(
        words.contains("harmless") && words.contains("other"),
        "{words}"
    );
    assert!(
        !scene.get(&path("")).await["words"]
            .to_string()
            .contains("harmless")
    );
    assert_eq!(
        scene.get(&path("?from=0")).await,
        scene.get(&path("")).await
    );
    for wrong in [path("?from=x"), path("?from=9")] {
        let told = scene
            .service
            .get(&scene.tenant, scene.tenant.admin, &wrong)
            .await;
        assert!([400, 404].contains(&told.status), "{}", told.body);
    }
    let body = json!({"policies": {"a.cedar": HARMLESS}, "dry_run": true});
    let tried = scene.post("/v1/policy-versions", body).await.ok();
    assert!(
        tried["digest"].as_str().unwrap().starts_with("sha256:"),
        "{tried}"
    );
    assert_eq!(
        scene.get("/v1/policy-versions").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_drafts_one_version() {
    let scene = Scene::on(Database::Sqlite).await;
    let body = json!({"policies": {"own.cedar": HARMLESS}});
    let mut told = Vec::new();
    for _ in 0..2 {
        let ask = scene.service.by(
            &scene.tenant,
            scene.tenant.admin,
            "POST",
            "/v1/policy-versions",
        );
        told.push(
            ask.header("idempotency-key", "one")
                .body(&body)
                .send()
                .await,
        );
    }
    assert_eq!(told[0].body, told[1].body);
    assert_eq!(
        scene.get("/v1/policy-versions").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_stays_ready_whatever_is_drafted_meanwhile() {
    let scene = Scene::on(Database::Sqlite).await;
    let door = &scene.tenant.door;
    let number = scene.draft(HARMLESS).await;
    door.operate(move |by, snapshot| policies::announce_by_operator(by, snapshot, number))
        .await
        .unwrap();
    upkeep::round(door, Utc::now(), false).await.unwrap();
    let world = door.glance();
    let version = world.snapshot().version(number).unwrap();
    let files = version.files(number).unwrap();
    let ready = door.prepare(&files).await.unwrap().compiled;
    for drafted in 0..6 {
        let other = OTHER.replace("other", &format!("other.{drafted}"));
        scene.draft(&other).await;
    }
    let still = door.prepare(&files).await.unwrap().compiled;
    assert!(Arc::ptr_eq(&ready, &still), "it was compiled again");
}
