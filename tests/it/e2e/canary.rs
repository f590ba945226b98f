//! Nothing that people chose is readable in what the service wrote: files, database, log lines.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::scan::{Scan, forms};
use crate::harness::server::Site;

mod content;
mod joining;

/// A word for each field that a caller or an operator fills.
struct Canaries {
    chance: Chance,
    words: Vec<String>,
}

impl Canaries {
    /// A word that nobody else writes. Lower-case letters and digits, so that no normalisation changes it and
    /// every field takes it.
    fn word(&mut self) -> String {
        let word = format!("canary{}", self.chance.word());
        self.words.push(word.clone());
        word
    }
}

/// Uses every call that there is, with a canary in every field, and searches what was written by then.
async fn use_everything(site: &Site, more: &[&Path], canaries: &mut Canaries) {
    // A slug is at most 32 characters here, which a word is.
    let (slug, name) = (canaries.word(), canaries.word());
    site.told(&[
        "org",
        "create",
        &slug,
        "--name",
        &name,
        "--plan",
        "Enterprise",
        "--json",
    ]);
    let mut admin = String::new();
    for role in ["Viewer", "Member", "Admin"] {
        let (name, email) = (canaries.word(), email(canaries));
        let member = site.told(&[
            "member", "add", &slug, "--name", &name, "--email", &email, "--role", role, "--json",
        ]);
        admin = member["id"].as_str().unwrap().to_owned();
    }

    let own = site.beside().join("own");
    let policies = own.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let (kind, attribute, action) = (canaries.word(), canaries.word(), canaries.word());
    let (id, value, other, comment) = (
        canaries.word(),
        canaries.word(),
        canaries.word(),
        canaries.word(),
    );
    let schema = format!(
        "// {comment}\nentity {kind} {{ {attribute}: String }};\n\
         action \"{action}\" appliesTo {{ principal: [{kind}], resource: [{kind}], \
         context: {{ action: {{ {attribute}?: String }}, {other}?: String }} }};\n"
    );
    std::fs::write(own.join("own.cedarschema"), &schema).unwrap();
    let (policy, reason, literal, file) = (
        canaries.word(),
        canaries.word(),
        canaries.word(),
        canaries.word(),
    );
    let text = format!(
        "// {}\n@id(\"{policy}\")\n@reason(\"{reason}\")\npermit (principal, action == Action::\"{action}\", resource)\n\
         when {{ principal.{attribute} != \"{literal}\" }};\n",
        canaries.word()
    );
    std::fs::write(policies.join(format!("{file}.cedar")), text).unwrap();
    let entities = json!([{"uid": {"type": kind, "id": id}, "attrs": {attribute.as_str(): value}, "parents": []}]);
    std::fs::write(own.join("entities.json"), entities.to_string()).unwrap();
    let command = site.load_command(&slug, &own);
    site.done(&command.iter().map(String::as_str).collect::<Vec<_>>());

    let mut key = |scopes: &str| {
        let name = canaries.word();
        let key = site.told(&[
            "key", "create", &slug, "--name", &name, "--scopes", scopes, "--json",
        ]);
        let key = key["key"].as_str().unwrap().to_owned();
        // The key is kept as a hash, so its secret is a canary too.
        canaries
            .words
            .push(key.rsplit('_').next().unwrap().to_owned());
        key
    };
    let every = "decide,directory.read,directory.write,content,events,audit.read,policy,provision";
    let (all, key) = (key(every), key("decide"));

    let server = site.serve().await;
    let client = server.client(&key);
    for decision in [true, false] {
        let subject = if decision {
            id.clone()
        } else {
            canaries.word()
        };
        let mut question = json!({
            "subject": {"type": kind, "id": subject, "properties": {attribute.as_str(): canaries.word()}},
            "action": {"name": action, "properties": {attribute.as_str(): canaries.word()}},
            "resource": {"type": kind, "id": canaries.word(), "properties": {attribute.as_str(): canaries.word()}},
            "context": {other.as_str(): canaries.word(), "unknown": {"deep": [canaries.word()]}},
        });
        if !decision {
            question["subject"]["properties"][attribute.as_str()] = json!(literal);
        }
        let (id, agent) = (canaries.word(), canaries.word());
        let headers = [
            ("content-type", "application/json"),
            ("cedarkeep-explain", "true"),
            ("x-request-id", id.as_str()),
            ("user-agent", agent.as_str()),
        ];
        let body = Some(question.to_string().into_bytes());
        let answer = client
            .send(Method::POST, "/access/v1/evaluation", &headers, body)
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.json()["decision"].as_bool()),
            (200, Some(decision)),
            "{}",
            answer.body
        );
        let batch = json!({"evaluations": [question, {"subject": {"type": canaries.word(), "id": canaries.word()}}]});
        assert_eq!(client.evaluations(&batch).await.unwrap().status, 200);
    }
    // What is refused before it is a question leaves nothing either, in the log lines least of all.
    for body in [
        format!("{{\"{}\":", canaries.word()),
        json!({"subject": canaries.word()}).to_string(),
    ] {
        assert_eq!(client.evaluations(&json!(body)).await.unwrap().status, 400);
        assert_eq!(
            client
                .post_bytes("/access/v1/evaluation", body.into_bytes())
                .await
                .unwrap()
                .status,
            400
        );
    }
    let path = format!(
        "/v1/{}?{}={}",
        canaries.word(),
        canaries.word(),
        canaries.word()
    );
    assert_eq!(client.get(&path).await.unwrap().status, 404);
    assert_eq!(
        server
            .client(&canaries.word())
            .get(&path)
            .await
            .unwrap()
            .status
            / 100,
        4
    );
    let directory = Directory {
        client: server.client(&all),
        key: all,
        admin,
    };
    let ticket = json!({"uid": {"type": kind, "id": canaries.word()}, "attrs": {attribute.as_str(): canaries.word()}, "parents": []});
    directory.use_it(canaries, &schema, &ticket).await;
    directory.use_joining(canaries).await;
    directory.use_content(canaries, &server, site).await;

    let metrics = client.get("/metrics").await.unwrap().body;
    assert_eq!(
        Scan::new(canaries.words.clone()).bytes(Path::new("/metrics"), metrics.as_bytes()),
        []
    );

    // While it runs: what a copy of the running machine's disk would hold.
    no_hits(site, more, canaries);
    // Killed: what it did not put in order.
    server.kill9();
    no_hits(site, more, canaries);
    site.serve().await.stop();
}

fn email(canaries: &mut Canaries) -> String {
    format!("{}@{}.example", canaries.word(), canaries.word())
}

/// The directory's calls, as an Admin.
struct Directory {
    client: Client,
    key: String,
    admin: String,
}

impl Directory {
    async fn call(&self, method: Method, path: &str, once: &str, body: Option<Value>) -> Value {
        let headers = [
            ("content-type", "application/json"),
            ("cedarkeep-acting-user", self.admin.as_str()),
            ("idempotency-key", once),
            ("x-request-id", once),
        ];
        let headers = if once.is_empty() {
            &headers[..2]
        } else {
            &headers[..]
        };
        let sent = body.as_ref().map(|body| body.to_string().into_bytes());
        let answer = self
            .client
            .send(method.clone(), path, headers, sent)
            .await
            .unwrap();
        assert_eq!(answer.status / 100, 2, "{method} {path}: {}", answer.body);
        if answer.body.is_empty() {
            return Value::Null;
        }
        answer.json()
    }

    async fn make(&self, canaries: &mut Canaries, path: &str, body: Value) -> String {
        let once = canaries.word();
        let made = self.call(Method::POST, path, &once, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes one of each, renames, shares and reads it, and deletes what can be deleted.
    async fn use_it(&self, canaries: &mut Canaries, schema: &str, ticket: &Value) {
        let user = json!({"name": canaries.word(), "email": email(canaries), "role": "Member"});
        let user = self.make(canaries, "/v1/users", user).await;
        let body = json!({"name": canaries.word()});
        let team = self.make(canaries, "/v1/teams", body).await;
        let body = json!({"name": canaries.word(), "parent": team});
        let project = self.make(canaries, "/v1/projects", body).await;
        let body = json!({"name": canaries.word(), "parent": project});
        let thread = self.make(canaries, "/v1/threads", body).await;
        let mut made = vec![
            format!("/v1/teams/{team}"),
            format!("/v1/projects/{project}"),
            format!("/v1/threads/{thread}"),
        ];
        for collection in [
            "documents",
            "prompt-templates",
            "tools",
            "assistants",
            "agents",
        ] {
            let parent = if collection == "documents" {
                &thread
            } else {
                &project
            };
            let body = json!({"name": canaries.word(), "parent": parent});
            let path = format!("/v1/{collection}");
            let id = self.make(canaries, &path, body).await;
            made.push(format!("{path}/{id}"));
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
            made.push(format!("/v1/memory/{id}"));
        }
        let body = json!({"name": canaries.word(), "provider": "calendar"});
        self.make(canaries, "/v1/integrations", body).await;
        let body = json!({"name": canaries.word()});
        // Its answer holds a secret, so it takes no Idempotency-Key.
        self.call(Method::POST, "/v1/api-keys", "", Some(body))
            .await;
        let body = json!({"resource": thread, "grantee": user, "level": "viewer"});
        let share = self.make(canaries, "/v1/shares", body).await;
        for place in &made {
            let read = self.call(Method::GET, place, "", None).await;
            // The control: what is asserted to be nowhere on the disk is there, for those who may read it.
            assert!(
                canaries
                    .words
                    .contains(&read["name"].as_str().unwrap().to_owned())
            );
            if ["documents", "tools", "agents"].contains(&place.split('/').nth(2).unwrap()) {
                let (once, body) = (canaries.word(), json!({"name": canaries.word()}));
                self.call(Method::PATCH, place, &once, Some(body)).await;
            }
        }
        let body = json!({"name": canaries.word()});
        let once = canaries.word();
        self.call(Method::PATCH, "/v1/organization", &once, Some(body))
            .await;
        let body = json!({"entities": [ticket]});
        self.call(Method::PUT, "/v1/entities", &canaries.word(), Some(body))
            .await;
        let policy = format!(
            "// {}\n@id(\"{}\")\n@reason(\"{}\")\npermit (principal, action, resource) when {{ false }};\n",
            canaries.word(),
            canaries.word(),
            canaries.word()
        );
        let file = format!("{}.cedar", canaries.word());
        let schema = format!("{schema}// {}\n", canaries.word());
        let body = json!({"schema": schema, "policies": {file.as_str(): policy}});
        self.call(Method::PUT, "/v1/policy-set", &canaries.word(), Some(body))
            .await;
        let body = ticket["uid"].clone();
        self.call(Method::DELETE, "/v1/entities", &canaries.word(), Some(body))
            .await;
        for place in [format!("/v1/shares/{share}"), format!("/v1/users/{user}")] {
            self.call(Method::DELETE, &place, &canaries.word(), None)
                .await;
        }
        for place in ["/v1/users", "/v1/threads"] {
            self.call(Method::GET, place, "", None).await;
        }
    }
}

fn no_hits(site: &Site, more: &[&Path], canaries: &Canaries) {
    let stderr = site.stderr_file();
    let roots: Vec<&Path> = [site.data(), &stderr]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let scan = Scan::new(canaries.words.iter().cloned());
    let (hits, read) = scan.files(&roots);
    assert!(read > 10_000, "only {read} bytes were there to be read");
    let shown: Vec<String> = hits.iter().map(ToString::to_string).collect();
    assert!(
        hits.is_empty(),
        "{} hits:\n{}",
        hits.len(),
        shown.join("\n")
    );
}

/// Plants every form of one of the canaries where the service writes, and asserts that each is found.
fn control(directory: &Path, canaries: &Canaries) {
    let word = canaries.words.last().unwrap();
    let scan = Scan::new(canaries.words.iter().cloned());
    for (number, (form, bytes)) in forms(word).into_iter().enumerate() {
        let file = directory.join(format!("planted-{number}"));
        // In the middle of other things, as in a page of a database.
        std::fs::write(&file, [&[0xFF; 4_093][..], &bytes, &[0xFF; 77]].concat()).unwrap();
        let (hits, _) = scan.files(&[directory]);
        std::fs::remove_file(&file).unwrap();
        let found: Vec<_> = hits
            .iter()
            .map(|hit| (hit.file.clone(), hit.at, hit.word.as_str()))
            .collect();
        assert!(
            found.contains(&(file, 4_093, word.as_str())),
            "{form} is not found"
        );
    }
}

fn canaries(test: &str) -> Canaries {
    Canaries {
        chance: Chance::of_this_run(test),
        words: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_what_people_chose_on_sqlite() {
    let mut canaries = canaries("canaries on SQLite");
    let mut site = Site::sqlite();
    site.set("CEDARKEEP_TELEMETRY__FILTER", "debug,cedarkeep=trace");
    use_everything(&site, &[], &mut canaries).await;
    no_hits(&site, &[], &canaries);
    control(site.data(), &canaries);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_what_people_chose_on_postgresql() {
    let mut canaries = canaries("canaries on PostgreSQL");
    let database = postgres::start();
    let mut site = Site::postgres(&database.url());
    site.set("CEDARKEEP_TELEMETRY__FILTER", "debug,cedarkeep=trace");
    let directory = database.directory();
    use_everything(&site, &[&directory], &mut canaries).await;
    // What is in its memory alone would not be found.
    database.stop_now();
    database.start_again();
    no_hits(&site, &[&directory], &canaries);
    control(&directory, &canaries);
}

/// The scan itself, apart from any service: a word is found however it lies in other text.
#[test]
fn the_scan_finds_a_word_in_every_form_and_at_every_place() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    let word = "canary7f3k9x2m5q8w";
    let scan = Scan::new([word.to_owned()]);
    let found = |bytes: &[u8]| !scan.bytes(&PathBuf::from("here"), bytes).is_empty();
    for before in 0..7 {
        for after in 0..7 {
            let text = [
                "é>?~+/".repeat(2).chars().take(before).collect::<String>(),
                word.to_owned(),
                "ÿ?>".repeat(3).chars().take(after).collect(),
            ]
            .concat();
            assert!(found(text.as_bytes()), "{text}");
            assert!(found(STANDARD.encode(&text).as_bytes()), "{text}");
            assert!(found(URL_SAFE_NO_PAD.encode(&text).as_bytes()), "{text}");
            assert!(
                found(data_encoding::HEXLOWER.encode(text.as_bytes()).as_bytes()),
                "{text}"
            );
            assert!(
                found(data_encoding::HEXUPPER.encode(text.as_bytes()).as_bytes()),
                "{text}"
            );
            let (little, big): (Vec<_>, Vec<_>) = text
                .encode_utf16()
                .map(|unit| (unit.to_le_bytes(), unit.to_be_bytes()))
                .unzip();
            assert!(found(&little.concat()) && found(&big.concat()), "{text}");
        }
    }
    assert!(!found(b"canary7f3k9x2m5q8") && !found(&[0; 64]));
}
