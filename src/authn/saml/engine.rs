//! The signature engine: xmlsec by way of samael, with no way left to open anything.

use std::ffi::c_int;
use std::slice;
use std::sync::Once;

use samael::crypto::{
    AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider as _, ReduceMode,
};

use super::refusal::SamlRefusal;

/// The algorithms that are taken; the gate lists the same by their URIs.
const ALLOWED: &[AllowedSignatureAlgorithm] = &[
    AllowedSignatureAlgorithm::RsaSha256,
    AllowedSignatureAlgorithm::RsaSha384,
    AllowedSignatureAlgorithm::RsaSha512,
    AllowedSignatureAlgorithm::EcdsaSha256,
    AllowedSignatureAlgorithm::EcdsaSha384,
    AllowedSignatureAlgorithm::EcdsaSha512,
];

#[expect(
    unsafe_code,
    reason = "samael binds neither; both take and give nothing that could dangle, see <xmlsec/io.h> and <xmlsec/errors.h>"
)]
mod xmlsec {
    use super::c_int;

    // Linked by samael's build script.
    unsafe extern "C" {
        /// Forgets every way of opening what a reference's URI names.
        #[link_name = "xmlSecIOCleanupCallbacks"]
        pub(super) safe fn close_every_way();
        /// Whether errors are written to standard error, where whoever sends responses could fill a log.
        #[link_name = "xmlSecErrorsDefaultCallbackEnableOutput"]
        pub(super) safe fn write_errors(enabled: c_int);
    }
}

/// Makes the engine ready and closes what it could open: after that a reference can name nothing but the document itself.
///
/// Once a process, by whoever comes first; everyone else waits for it. A start may call it, so that no sign-in pays for it.
pub fn prepare() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        xmlsec::write_errors(0);
        // samael initialises xmlsec for whatever it takes for a key, and only then do the ways exist that are closed here.
        drop(Crypto::sign_xml("<none/>", b"no key"));
        xmlsec::close_every_way();
    });
}

/// Verifies every signature of a document that has passed the gate, and gives exactly the bytes that a signature covers: the
/// response where it is signed, else the assertion.
///
/// One certificate must verify all of them. Each is tried on its own: a certificate whose key is of another kind than the
/// signature makes samael give up on those after it.
pub(super) fn covered(text: &str, certificates: &[CertificateDer]) -> Result<String, SamlRefusal> {
    prepare();
    certificates
        .iter()
        .find_map(|certificate| {
            Crypto::reduce_xml_to_signed_with_allowed_algorithms(
                text,
                slice::from_ref(certificate),
                ReduceMode::PreDigest,
                Some(ALLOWED),
            )
            .ok()
        })
        .ok_or(SamlRefusal::Signature)
}
