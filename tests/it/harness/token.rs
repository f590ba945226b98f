//! A PKCS#11 token of its own for a test: SoftHSM with its own folder, which can be taken out and put back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::server::Site;

/// The token's label.
pub const TOKEN: &str = "cedarkeep";
/// Its user PIN.
pub const PIN: &str = "731946-user";

/// A token; it is gone when this is dropped.
pub struct Token {
    dir: TempDir,
}

impl Token {
    /// One that is initialized and has no keys.
    pub fn start() -> Self {
        let token = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let tokens = token.dir.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(token.conf(), conf).unwrap();
        token.write_pin(PIN);
        token.initialize(TOKEN);
        token
    }

    /// Makes a token in it.
    pub fn initialize(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label])
            .args(["--so-pin", "officer-4711", "--pin", PIN])
            .env("SOFTHSM2_CONF", self.conf())
            .stdout(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("softhsm2-util: {error}; `make test` installs it"));
        assert!(made.success());
    }

    /// What `SOFTHSM2_CONF` must say.
    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    /// A folder beside the token.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file with its PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.dir.path().join("pin")
    }

    /// What the file with the PIN says.
    pub fn write_pin(&self, pin: &str) {
        std::fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        std::fs::set_permissions(self.pin_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Takes the token out of its slot.
    pub fn take_out(&self) {
        let (tokens, away) = self.places();
        std::fs::rename(&tokens, away).unwrap();
        std::fs::create_dir(tokens).unwrap();
    }

    /// Puts it back.
    pub fn put_back(&self) {
        let (tokens, away) = self.places();
        std::fs::remove_dir_all(&tokens).unwrap();
        std::fs::rename(away, tokens).unwrap();
    }

    fn places(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("tokens"), self.dir.path().join("away"))
    }

    /// Has a site know it as the provider `hsm`, through this library.
    pub fn known_to(&self, site: &mut Site, module: &Path) {
        site.set("SOFTHSM2_CONF", self.conf().to_str().unwrap());
        site.set(
            "CEDARKEEP_KEYS__PROVIDERS",
            &format!("{{ hsm = {} }}", self.settings(module)),
        );
    }

    /// Its settings as an inline table.
    pub fn settings(&self, module: &Path) -> String {
        format!(
            "{{ kind = \"pkcs11\", module = \"{}\", token = \"{TOKEN}\", pin_file = \"{}\" }}",
            module.display(),
            self.pin_file().display()
        )
    }
}

/// SoftHSM's library.
pub fn module() -> PathBuf {
    PathBuf::from("/usr/lib/softhsm/libsofthsm2.so")
}

/// A library that writes down each call on its way to SoftHSM's, in the file that `PKCS11SPY_OUTPUT` names.
pub fn spy() -> PathBuf {
    let library = format!(
        "/usr/lib/{}-linux-gnu/pkcs11-spy.so",
        std::env::consts::ARCH
    );
    assert!(
        Path::new(&library).exists(),
        "{library} is missing; `make test` installs it"
    );
    library.into()
}

/// Runs a test in a process whose environment names a new token; `name` is the test's.
pub fn in_a_token(name: &str, body: impl AsyncFnOnce(&Path)) {
    const INSIDE: &str = "TOKEN_DIRECTORY";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body(Path::new(&dir)));
        return;
    }
    let token = Token::start();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SOFTHSM2_CONF", token.conf())
        .env(INSIDE, token.dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
