//! PKCS#11 libraries, each on a thread of its own: sessions, log-ins, objects, and the way back when a token was away.
//!
//! A library is a thing of the whole process: it is initialized once, and whoever is logged in to a token is so in all of
//! its sessions. One thread a library therefore speaks for all tokens in it, and what it is asked waits in a short queue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::pkcs11::{IV, Settings, TAG};
use super::{CryptoError, ProviderError};
use crate::crypto::random;
use crate::crypto::secret::same;

/// How many calls may wait for one library.
const QUEUE: usize = 256;

/// What a thread is asked to do; whoever asked is told by the call itself.
pub(super) type Job = Box<dyn FnOnce(&mut Library) + Send>;

/// The threads of this process, by the file of their library. They end with the process.
static THREADS: Mutex<BTreeMap<PathBuf, SyncSender<Job>>> = Mutex::new(BTreeMap::new());

/// Asks the thread of a library, and starts it where there is none.
pub(super) fn ask(module: &Path, what: &str, job: Job) -> Result<(), ProviderError> {
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let out_of_reach = |why: String| ProviderError::OutOfReach {
        what: what.to_owned(),
        why,
    };
    let queue = match threads.get(module) {
        Some(queue) => queue,
        None => {
            let (queue, jobs) = sync_channel(QUEUE);
            let module = module.to_owned();
            let library = Library::new(module.clone());
            std::thread::Builder::new()
                .name("pkcs11".to_owned())
                .spawn(move || library.serve(&jobs))
                .map_err(|error| out_of_reach(error.to_string()))?;
            threads.entry(module).or_insert(queue)
        }
    };
    queue.try_send(job).map_err(|refused| match refused {
        TrySendError::Full(_) => ProviderError::Busy {
            what: what.to_owned(),
        },
        TrySendError::Disconnected(_) => {
            out_of_reach("its library's thread has ended: start again".to_owned())
        }
    })
}

/// A library, and the tokens that it is logged in to.
pub(super) struct Library {
    module: PathBuf,
    context: Option<Pkcs11>,
    open: BTreeMap<String, Open>,
    /// By token: PINs that it has refused. They are not tried again, since a few wrong ones lock a token for good.
    refused: BTreeMap<String, Zeroizing<String>>,
}

struct Open {
    slot: Slot,
    session: Session,
}

/// Why a call came to nothing.
pub(super) enum Fault {
    /// The library or the token failed; a fresh session may do better.
    Token(Error),
    /// What is looked for is not there. Of a token that was taken out some libraries say no more than that.
    Missing(CryptoError),
    /// Nothing that another try would change.
    Final(CryptoError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl From<CryptoError> for Fault {
    fn from(error: CryptoError) -> Self {
        Self::Final(error)
    }
}

impl From<ProviderError> for Fault {
    fn from(error: ProviderError) -> Self {
        Self::Final(error.into())
    }
}

/// A token with somebody logged in, for the time of one call.
pub(super) struct Desk<'a> {
    settings: &'a Settings,
    context: &'a Pkcs11,
    open: &'a Open,
}

impl Library {
    const fn new(module: PathBuf) -> Self {
        Self {
            module,
            context: None,
            open: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn serve(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            job(&mut self);
        }
    }

    /// Makes a call on the token. Where it fails the library is begun anew and the call made once more: a token that was
    /// taken out and put back is another slot with other sessions, and most libraries see it only then.
    pub(super) fn with<T>(
        &mut self,
        settings: &Settings,
        mut call: impl FnMut(&Desk<'_>) -> Result<T, Fault>,
    ) -> Result<T, CryptoError> {
        let mut again = true;
        loop {
            let failed = match self.desk(settings).and_then(|desk| call(&desk)) {
                Ok(told) => return Ok(told),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Missing(error)) => error,
                Err(Fault::Token(error)) => settings.out_of_reach(said(&error)).into(),
            };
            if !again {
                return Err(failed);
            }
            self.let_go();
            again = false;
        }
    }

    /// Begins anew with the next call. Sessions first: their numbers may be others' in the library's next life.
    fn let_go(&mut self) {
        self.open.clear();
        if let Some(context) = self.context.take() {
            // One that fails to end is as gone as one that ends.
            drop(context.finalize());
        }
    }

    fn desk<'a>(&'a mut self, settings: &'a Settings) -> Result<Desk<'a>, Fault> {
        if self.context.is_none() {
            let context = Pkcs11::new(&self.module).map_err(|error| {
                settings.out_of_reach(format!(
                    "its library `{}` cannot be loaded: {error}",
                    self.module.display()
                ))
            })?;
            match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
                Err(error) => return Err(settings.out_of_reach(error.to_string()).into()),
            }
            self.context = Some(context);
        }
        let Some(context) = &self.context else {
            return Err(settings.out_of_reach("no library".to_owned()).into());
        };
        if !self.open.contains_key(&settings.token) {
            let opened = log_in(context, settings, &mut self.refused)?;
            self.open.insert(settings.token.clone(), opened);
        }
        let Some(open) = self.open.get(&settings.token) else {
            return Err(settings.out_of_reach("no session".to_owned()).into());
        };
        Ok(Desk {
            settings,
            context,
            open,
        })
    }
}

fn log_in(
    context: &Pkcs11,
    settings: &Settings,
    refused: &mut BTreeMap<String, Zeroizing<String>>,
) -> Result<Open, Fault> {
    let mut found = None;
    for slot in context.get_slots_with_initialized_token()? {
        // One that is just being taken out has nothing to say, and is not ours to wait for.
        let Ok(info) = context.get_token_info(slot) else {
            continue;
        };
        if info.label() == settings.token {
            found = Some((slot, info));
            break;
        }
    }
    // Not a final fault: begun anew, the library may see it.
    let (slot, info) = found.ok_or(Error::Pkcs11(
        RvError::TokenNotPresent,
        cryptoki::context::Function::GetSlotList,
    ))?;
    let refuse = |why: String| settings.refused(why);
    if info.user_pin_locked() {
        return Err(refuse(
            "its user PIN is locked: have its security officer set it anew".to_owned(),
        )
        .into());
    }
    if info.user_pin_final_try() {
        return Err(refuse(
            "only one try of its user PIN is left, which is not used up here: log in by hand, so that the token counts anew".to_owned(),
        )
        .into());
    }
    let pin = settings.pin.read().map_err(refuse)?;
    let known = refused.get(&settings.token);
    if known.is_some_and(|known| same(known.as_bytes(), pin.as_bytes())) {
        return Err(refuse(wrong_pin()).into());
    }
    let session = context.open_ro_session(slot)?;
    match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            refused.remove(&settings.token);
            Ok(Open { slot, session })
        }
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => {
            refused.insert(settings.token.clone(), pin);
            Err(refuse(wrong_pin()).into())
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(refuse(
            "its user PIN is locked: have its security officer set it anew".to_owned(),
        )
        .into()),
        Err(Error::Pkcs11(RvError::PinExpired, _)) => {
            Err(refuse("its user PIN has expired: set a new one".to_owned()).into())
        }
        Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => {
            Err(refuse("it has no user PIN yet: set one".to_owned()).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What a library said, without how we called it.
fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::TokenNotPresent, _) => "it is in no slot".to_owned(),
        other => other.to_string(),
    }
}

fn wrong_pin() -> String {
    "the PIN is wrong, and is not tried again, since that would lock the token: correct it"
        .to_owned()
}

impl Desk<'_> {
    fn label(&self, version: u32) -> String {
        format!("{}-{version}", self.settings.key)
    }

    /// The root keys of this version. There is one, but where two first starts at once have each made theirs: then
    /// whoever opens tries both, and everybody wraps with the first of them.
    pub(super) fn keys(&self, version: u32) -> Result<Vec<ObjectHandle>, Fault> {
        let session = &self.open.session;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(self.label(version).into_bytes()),
        ];
        let mut found = Vec::new();
        for key in session.find_objects(&template)? {
            self.check(key, version)?;
            let id = session
                .get_attributes(key, &[AttributeType::Id])?
                .into_iter()
                .find_map(|attribute| match attribute {
                    Attribute::Id(id) => Some(id),
                    _ => None,
                });
            found.push((id, key));
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(found.into_iter().map(|(_, key)| key).collect())
    }

    /// The versions that there are, oldest first.
    pub(super) fn versions(&self) -> Result<Vec<u32>, Fault> {
        let session = &self.open.session;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
        ];
        let mut versions = Vec::new();
        for key in session.find_objects(&template)? {
            for attribute in session.get_attributes(key, &[AttributeType::Label])? {
                let Attribute::Label(label) = attribute else {
                    continue;
                };
                let version = std::str::from_utf8(&label)
                    .ok()
                    .and_then(|label| label.strip_prefix(self.settings.key.as_str()))
                    .and_then(|rest| rest.strip_prefix('-'))
                    .and_then(|number| number.parse::<u32>().ok())
                    // `-01` is not what we would look for.
                    .filter(|version| *version > 0 && label == self.label(*version).as_bytes());
                versions.extend(version);
            }
        }
        versions.sort_unstable();
        versions.dedup();
        Ok(versions)
    }

    fn check(&self, key: ObjectHandle, version: u32) -> Result<(), Fault> {
        let asked = [
            AttributeType::KeyType,
            AttributeType::ValueLen,
            AttributeType::Extractable,
            AttributeType::Sensitive,
            AttributeType::Token,
        ];
        for attribute in self.open.session.get_attributes(key, &asked)? {
            let why = match attribute {
                Attribute::KeyType(found) if found != KeyType::AES => "it is no AES key",
                Attribute::ValueLen(length) if *length != 32 => "it has not 256 bits",
                Attribute::Extractable(true) => {
                    "it is extractable: make one with CKA_EXTRACTABLE false"
                }
                Attribute::Sensitive(false) => {
                    "it is not sensitive: make one with CKA_SENSITIVE true"
                }
                Attribute::Token(false) => "it ends with the session that made it",
                _ => continue,
            };
            return Err(ProviderError::UnfitKey {
                what: self.settings.what(),
                key: self.label(version),
                why,
            }
            .into());
        }
        Ok(())
    }

    /// AES-256-GCM in the token: `IV || text and tag`.
    pub(super) fn seal(
        &self,
        key: ObjectHandle,
        bound: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let mut iv = random::<IV>()?;
        let sealed = {
            let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, bound, TAG_BITS.into())?);
            self.open.session.encrypt(&mechanism, key, text)?
        };
        // A token that draws its own puts it in the place of ours.
        let mut out = Vec::with_capacity(IV.saturating_add(sealed.len()));
        out.extend_from_slice(&iv);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// The text of what was sealed for this place; nothing where the key or the place is another one.
    pub(super) fn open(
        &self,
        key: ObjectHandle,
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let Some((iv, sealed)) = sealed.split_first_chunk::<IV>() else {
            return Ok(None);
        };
        let mut iv = *iv;
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, bound, TAG_BITS.into())?);
        match self.open.session.decrypt(&mechanism, key, sealed) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) => {
                // Libraries say it in many ways, some of which also mean that the token is gone. One that still seals and
                // opens has answered.
                let probe = self.seal(key, bound, b"does it answer?")?;
                let (iv, rest) = probe.split_first_chunk::<IV>().ok_or(error)?;
                let mut iv = *iv;
                let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, bound, TAG_BITS.into())?);
                self.open.session.decrypt(&mechanism, key, rest)?;
                Ok(None)
            }
        }
    }

    /// Makes the root key of this version: it never leaves the token, and serves for nothing else.
    pub(super) fn make(&self, version: u32) -> Result<(), Fault> {
        let session = self.writing()?;
        session.generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::ValueLen(32.into()),
                Attribute::Label(self.label(version).into_bytes()),
                Attribute::Id(random::<16>()?.to_vec()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
                Attribute::Sign(false),
                Attribute::Verify(false),
                Attribute::Derive(false),
            ],
        )?;
        Ok(())
    }

    /// Destroys the root keys of this version.
    pub(super) fn destroy(&self, version: u32) -> Result<(), Fault> {
        let keys = self.keys(version)?;
        let session = self.writing()?;
        for key in keys {
            session.destroy_object(key)?;
        }
        Ok(())
    }

    /// A session that may change the token; it shares the log-in.
    fn writing(&self) -> Result<Session, Fault> {
        Ok(self.context.open_rw_session(self.open.slot)?)
    }
}

/// The tag's length as the mechanism takes it.
const TAG_BITS: u64 = TAG as u64 * 8;
