//! Organizations with root keys of their own: made with them, refused without them, and no key is ever made over theirs.

use super::{decides, keyring_table, providers};
use crate::harness::server::Site;

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_made_under_root_keys_of_its_own() {
    let mut site = Site::sqlite();
    let own = site.beside().join("own");
    providers(&mut site, &[("own", keyring_table(&own))]);
    let said = site.refused(&["org", "create", "acme", "--keys", "nobody"]);
    assert!(said.contains("[keys.providers.nobody]"), "{said}");
    site.done(&[
        "org",
        "create",
        "acme",
        "--keys",
        "own",
        "--plan",
        "Enterprise",
    ]);
    site.add_admin("acme");
    site.load("acme", "todo");
    let key = site.create_key("acme", "decide");
    assert!(own.exists() && site.data().join("keyring").exists());
    let server = site.serve().await;
    decides(&server.client(&key)).await;
    server.stop();

    // Another key in its place, or none: refused, and nothing is made.
    let kept = std::fs::read(&own).unwrap();
    std::fs::remove_file(&own).unwrap();
    for _ in 0..2 {
        let said = site.refused(&["org", "show", "acme"]);
        assert!(said.contains("restore the file from its backup"), "{said}");
        assert!(said.contains("the root keys of `own`"), "{said}");
        let said = site.refused(&["org", "create", "beta", "--keys", "own"]);
        assert!(said.contains("restore the file"), "{said}");
        assert!(!own.exists());
    }
    std::fs::copy(site.data().join("keyring"), &own).unwrap();
    let said = site.refused(&["org", "show", "acme"]);
    assert!(said.contains("does not open"), "{said}");
    std::fs::write(&own, kept).unwrap();
    site.done(&["org", "show", "acme"]);
    site.verify("acme");
}
