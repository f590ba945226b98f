//! What callers and operators get wrong: a clear word each, and nothing lost by it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::client::{Client, may_morty_change};
use crate::harness::server::{Server, Site, case_directory};

const SINGLE: &str = "/access/v1/evaluation";
const BATCH: &str = "/access/v1/evaluations";

async fn todo() -> (Site, Server, Client) {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    let server = site.serve().await;
    let client = server.client(&key);
    (site, server, client)
}

/// A body is refused with this status, and with a message that says this.
async fn refused(client: &Client, path: &str, body: Vec<u8>, status: u16, says: &str) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    let answer = client.post_bytes(path, body).await.unwrap();
    assert_eq!(answer.status, status, "{path} {shown}: {}", answer.body);
    assert!(
        answer.body.contains(says),
        "{path} {shown}: `{}` does not say `{says}`",
        answer.body
    );
    assert!(
        answer.body.len() < 500,
        "{path} {shown}: {} bytes of message",
        answer.body.len()
    );
    let unseen = |c: char| {
        c.is_control()
            || ('\u{202A}'..='\u{202E}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert!(
        !answer.body.contains(unseen),
        "{path} {shown}: {:?}",
        answer.body
    );
}

/// The service still answers, and its log holds and verifies.
async fn nothing_lost(site: &Site, server: Server, client: &Client) {
    let said = client
        .explain(&may_morty_change("after it all", true))
        .await
        .unwrap()
        .json();
    assert_eq!(said["decision"], true);
    server.stop();
    site.verify("todo");
    let recorded = site
        .entries("todo")
        .iter()
        .filter(|entry| entry["request"].to_string().contains("after it all"))
        .count();
    assert_eq!(recorded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_json_or_could_be_read_in_two_ways() {
    let (site, server, client) = todo().await;
    let good = may_morty_change("t", true).to_string();
    let twice = good.replacen(
        "\"subject\":",
        "\"subject\":{\"type\":\"user\",\"id\":\"rick\"},\"subject\":",
        1,
    );
    let twice_within = good.replacen(
        "\"name\":",
        "\"name\":\"can_read_todos\",\"n\\u0061me\":",
        1,
    );
    for path in [SINGLE, BATCH] {
        for (body, says) in [
            ("{\"subject\":".to_owned(), "line 1"),
            (good.replace('}', ",}"), "line 1"),
            (format!("{good}{good}"), "trailing"),
            ("[]".to_owned(), "not a JSON object"),
            (String::new(), "empty"),
            (twice.clone(), "`subject` is there twice"),
            (twice_within.clone(), "`name` is there twice"),
            (
                format!("{{\"context\":{{\"n\":1e400}},{}", &good[1..]),
                "number",
            ),
            (
                format!("{{\"context\":{{\"n\":9007199254740993}},{}", &good[1..]),
                "number beyond",
            ),
            (
                format!("{{\"context\":{{\"t\":\"\\ud800\"}},{}", &good[1..]),
                "line 1",
            ),
        ] {
            refused(&client, path, body.into_bytes(), 400, says).await;
        }
        let mut bytes = good.clone().into_bytes();
        bytes[2] = 0xFF;
        refused(&client, path, bytes, 400, "not UTF-8 at byte 2").await;
    }
    nothing_lost(&site, server, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_much() {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    let server = site.serve().await;
    let client = server.client(&key);
    for path in [SINGLE, BATCH] {
        let mut great = may_morty_change("t", true);
        great["context"] = json!({"text": "x".repeat(2 << 20)});
        // A service that answers before it has read everything may close the connection, which nobody shares.
        match server.client(&key).post(path, &great).await {
            Ok(answer) => assert_eq!(answer.status, 413, "{}", answer.body),
            Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for levels in [33, 1_000, 100_000] {
                let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                let body = format!(
                    "{{\"context\":{{\"deep\":{deep}}},{}",
                    &may_morty_change("t", true).to_string()[1..]
                );
                refused(
                    &client,
                    path,
                    body.into_bytes(),
                    400,
                    "nested deeper than 32 levels",
                )
                .await;
            }
        }
    }
    let items = vec![json!({}); 1_001];
    let mut many = may_morty_change("t", true);
    many["evaluations"] = json!(items);
    refused(
        &client,
        BATCH,
        many.to_string().into_bytes(),
        400,
        "1001 items",
    )
    .await;
    many["evaluations"] = json!(&items[..1_000]);
    many["context"] = json!({"text": "x".repeat(500_000)});
    refused(
        &client,
        BATCH,
        many.to_string().into_bytes(),
        400,
        "smaller batches",
    )
    .await;
    nothing_lost(&site, server, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_what_they_look_like() {
    let (site, server, client) = todo().await;
    let with = |pointer: &str, text: &str| {
        let mut asked = may_morty_change("t", true);
        *asked.pointer_mut(pointer).unwrap() = json!(text);
        asked.to_string().into_bytes()
    };
    let long = "n".repeat(10_000);
    for (pointer, named) in [
        ("/subject/id", "subject.id"),
        ("/subject/type", "subject.type"),
        ("/resource/id", "resource.id"),
        ("/resource/type", "resource.type"),
        ("/action/name", "action.name"),
    ] {
        for (text, says) in [
            (long.as_str(), "10000 bytes long".to_owned()),
            ("a\0b", "U+0000".to_owned()),
            ("a\u{202E}b", "U+202E".to_owned()),
            ("a\u{2066}b", "U+2066".to_owned()),
            ("a\u{200F}b", "U+200F".to_owned()),
            ("a\nb", "U+000A".to_owned()),
            ("", "must not be empty".to_owned()),
        ] {
            refused(&client, SINGLE, with(pointer, text), 400, named).await;
            refused(&client, SINGLE, with(pointer, text), 400, &says).await;
        }
    }
    // What is said beside the names is not a name, and may be anything that JSON can hold.
    let mut asked = may_morty_change("t", true);
    asked["context"] = json!({"text": "a\0b\u{202E}c", "long": long});
    asked["resource"]["properties"]["note"] = json!("a\0b\u{2066}c");
    assert!(client.decision(&asked).await);
    nothing_lost(&site, server, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_actions_that_nobody_declared_and_values_of_the_wrong_type() {
    let (site, server, client) = todo().await;
    for (pointer, text) in [
        ("/subject/type", "starship"),
        ("/resource/type", "starship"),
        ("/resource/type", "Cedarkeep::Thread"),
        ("/resource/type", "a b; c"),
        ("/action/name", "fly"),
    ] {
        let mut asked = may_morty_change("t", true);
        *asked.pointer_mut(pointer).unwrap() = json!(text);
        refused(
            &client,
            SINGLE,
            asked.to_string().into_bytes(),
            400,
            &format!("`{text}`"),
        )
        .await;
    }
    let mut asked = may_morty_change("t", true);
    asked["resource"]["properties"]["ownerID"] = json!(["morty@the-citadel.com"]);
    let answer = client.evaluate(&asked).await.unwrap();
    assert!(
        answer.status == 400 || answer.json()["decision"] == false,
        "{}",
        answer.body
    );
    nothing_lost(&site, server, &client).await;
}

/// Copies the todo case, so that a test can spoil it.
fn spoilt(site: &Site, name: &str, file: &str, text: &str) -> PathBuf {
    let (from, to) = (case_directory("todo"), site.beside().join(name));
    copy(&from, &to);
    std::fs::write(to.join(file), text).unwrap();
    to
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_refused_says_where_and_changes_nothing() {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    let before = site.entries("todo").len();
    let entity = |kind: &str, attrs: Value| {
        json!([{"uid": {"type": kind, "id": "x"}, "attrs": attrs, "parents": []}]).to_string()
    };
    for (name, file, text, says) in [
        (
            "does-not-parse",
            "policies/todo.cedar",
            "permit(principal, action, resource)\nwhen { principal.email = \"x\" };\n".to_owned(),
            &["todo.cedar", "line 2", "column 8", "=="][..],
        ),
        (
            "second-file",
            "policies/zzz.cedar",
            "\n\npermit(principal, action, resourc);\n".to_owned(),
            &["zzz.cedar", "line 3"],
        ),
        (
            "unknown-attribute",
            "policies/todo.cedar",
            "permit(principal is user, action, resource) when { principal.nose == 1 };".to_owned(),
            &["todo.cedar", "line 1", "nose"],
        ),
        (
            "takes-an-id",
            "policies/todo.cedar",
            "@id(\"viewer.ceiling\") permit(principal, action, resource);".to_owned(),
            &["viewer.ceiling", "built-in"],
        ),
        (
            "schema-does-not-parse",
            "todo.cedarschema",
            "entity a;\nentity b {".to_owned(),
            &["todo.cedarschema` line 2"],
        ),
        (
            "shadows-a-type",
            "todo.cedarschema",
            "entity a;\nentity User;".to_owned(),
            &["`User`", "built-in", "line 2", "another name"],
        ),
        (
            "shadows-an-action",
            "todo.cedarschema",
            "entity a; action \"model.train\" appliesTo { principal: [a], resource: [a] };"
                .to_owned(),
            &["`model.train`", "built-in"],
        ),
        (
            "shadows-the-namespace",
            "todo.cedarschema",
            "namespace Cedarkeep { entity Extra; }".to_owned(),
            &["`Cedarkeep`", "built in"],
        ),
        (
            "entities-are-no-json",
            "entities.json",
            "[{".to_owned(),
            &["entities.json"],
        ),
        (
            "entity-of-an-unknown-type",
            "entities.json",
            entity("starship", json!({})),
            &["starship"],
        ),
        (
            "entity-of-a-built-in-type",
            "entities.json",
            entity("Cedarkeep::User", json!({})),
            &["Cedarkeep::User"],
        ),
        (
            "entity-with-a-wrong-attribute",
            "entities.json",
            entity("user", json!({"email": 7})),
            &["email"],
        ),
    ] {
        let directory = spoilt(&site, name, file, &text);
        let mut command = site.load_command("todo", &directory);
        if file == "entities.json" {
            // Types and policies are a change of their own, and would come first.
            let entities = command
                .iter()
                .position(|word| word == "--entities")
                .unwrap();
            command.drain(3..entities);
        }
        let said = site.refused(&command.iter().map(String::as_str).collect::<Vec<_>>());
        for word in says {
            assert!(
                said.contains(word),
                "{name}: `{said}` does not say `{word}`"
            );
        }
    }
    let changes: Vec<_> = site.entries("todo")[before..]
        .iter()
        .filter(|entry| {
            // That the operator has read the log is an entry too.
            let leaf = &entry["leaf"];
            let read = leaf["event"] == "audit_log.read";
            leaf["outcome"] != "deny" && leaf["category"] != "decision" && !read
        })
        .map(ToString::to_string)
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
    let server = site.serve().await;
    let client = server.client(&key);
    assert!(client.decision(&may_morty_change("t", true)).await);
    assert!(!client.decision(&may_morty_change("t", false)).await);
    nothing_lost(&site, server, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_about_what_is_not_there() {
    let site = Site::sqlite();
    site.create_org("todo");
    let missing = site.beside().join("missing").to_str().unwrap().to_owned();
    for (command, says) in [
        (&["audit", "verify", "nobody"][..], "`nobody`"),
        (&["audit", "tail", "nobody"], "`nobody`"),
        (
            &[
                "key", "create", "nobody", "--name", "n", "--scopes", "decide",
            ],
            "`nobody`",
        ),
        (
            &["key", "create", "todo", "--name", "n", "--scopes", "fly"],
            "fly",
        ),
        (
            &[
                "member",
                "add",
                "todo",
                "--name",
                "n",
                "--email",
                "a@b.example",
                "--role",
                "King",
            ],
            "King",
        ),
        (
            &[
                "org",
                "create",
                "todo",
                "--name",
                "again",
                "--plan",
                "Enterprise",
            ],
            "`todo`",
        ),
        (
            &[
                "org",
                "create",
                "No Slug!",
                "--name",
                "n",
                "--plan",
                "Enterprise",
            ],
            "No Slug!",
        ),
        (
            &["org", "create", "other", "--name", "n", "--plan", "Free"],
            "Free",
        ),
        (
            &[
                "org",
                "load",
                "todo",
                "--schema",
                &missing,
                "--policies",
                &missing,
                "--entities",
                &missing,
            ],
            "missing",
        ),
        (&["--config", &missing, "serve"], "missing"),
        (&["fly"], "fly"),
    ] {
        let said = site.refused(command);
        assert!(said.contains(says), "{command:?}: {said}");
    }
    site.verify("todo");
}

fn keyring(site: &Site) -> PathBuf {
    site.data().join("keyring")
}

/// Every way in is refused with these words, and the keyring stays as it is.
fn nothing_opens(site: &Site, says: &[&str]) {
    let before = std::fs::read(keyring(site)).ok();
    for command in [
        &["serve"][..],
        &["org", "list", "--json"],
        &["audit", "verify", "todo"],
        &["org", "create", "other", "--name", "n", "--plan", "Starter"],
    ] {
        let said = site.refused(command);
        for word in says {
            assert!(
                said.contains(word),
                "{command:?}: `{said}` does not say `{word}`"
            );
        }
        assert_eq!(
            std::fs::read(keyring(site)).ok(),
            before,
            "{command:?} touched the keyring"
        );
    }
}

async fn opens_with_everything(site: &Site, key: &str) {
    let server = site.serve().await;
    let client = server.client(key);
    nothing_lost(site, server, &client).await;
    assert_eq!(
        site.told(&["org", "list", "--json"])
            .to_string()
            .matches("\"todo\"")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_others_may_read_is_refused() {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    for mode in [0o644, 0o640, 0o604] {
        std::fs::set_permissions(keyring(&site), std::fs::Permissions::from_mode(mode)).unwrap();
        nothing_opens(&site, &["keyring", &format!("mode 0{mode:o}"), "chmod 600"]);
    }
    std::fs::set_permissions(keyring(&site), std::fs::Permissions::from_mode(0o600)).unwrap();
    opens_with_everything(&site, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_keyring_is_another_or_gone_is_refused() {
    let (site, other) = (Site::sqlite(), Site::sqlite());
    let key = site.create_todo_org("todo");
    other.create_org("other");
    let own = std::fs::read(keyring(&site)).unwrap();

    std::fs::write(keyring(&site), std::fs::read(keyring(&other)).unwrap()).unwrap();
    nothing_opens(&site, &["key"]);
    std::fs::remove_file(keyring(&site)).unwrap();
    nothing_opens(&site, &["no keyring", "restore"]);
    std::fs::write(keyring(&site), &own[..own.len() / 2]).unwrap();
    std::fs::set_permissions(keyring(&site), std::fs::Permissions::from_mode(0o600)).unwrap();
    nothing_opens(&site, &["damaged"]);

    std::fs::write(keyring(&site), &own).unwrap();
    opens_with_everything(&site, &key).await;
}
