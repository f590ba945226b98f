//! What can be wrong with the bytes of a log, or with what somebody wants to write into one.

/// The one error of the log's pure part.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// An entry that no export format could carry.
    #[error(
        "the entry has {length} bytes and at most 65535 are allowed; move what is long into a part"
    )]
    LeafTooLong {
        /// What its leaf would have.
        length: usize,
    },
    /// A word or an identifier that breaks the grammar of those that the service gives.
    #[error(
        "`{text}` is not a word or an identifier of the service; what callers choose belongs in a part"
    )]
    NotOurs {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// A second part of one name.
    #[error("the entry has a part `{name}` already")]
    PartTwice {
        /// Its name.
        name: &'static str,
    },
    /// Times are from 1970 to 9999.
    #[error("{micros} microseconds is not a time between 1970 and 9999")]
    Time {
        /// Since 1970.
        micros: i64,
    },
    /// A leaf that is not an entry as the service writes it.
    #[error("the leaf is not an entry in canonical form: {wanted} was expected at byte {at}")]
    Leaf {
        /// Offset in the leaf.
        at: usize,
        /// What should have stood there.
        wanted: &'static str,
    },
    /// A leaf that reads as an entry and is not how that entry is written.
    #[error(
        "the leaf is not an entry in canonical form: it differs from what it says when that is written again"
    )]
    LeafNotCanonical,
    /// A blob of leaves or of parts that is not framed as it must be.
    #[error("the segment is damaged at byte {at}: {what}")]
    Segment {
        /// Offset in the blob.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// More leaves than a tree can have here.
    #[error("a tree has at most 2^62 leaves")]
    TreeTooLarge,
    /// The stored state of a tree that is not one.
    #[error("the state of the tree is damaged: {what}")]
    TreeState {
        /// What is wrong.
        what: &'static str,
    },
    /// A question about a leaf that the tree does not have.
    #[error("index {index} is not in a tree of {size} leaves")]
    IndexBeyond {
        /// The leaf asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A consistency proof from a larger tree to a smaller one.
    #[error("a tree of {old} leaves is not a beginning of one of {new}")]
    SizesReversed {
        /// The size that should come first.
        old: u64,
        /// The size that should come second.
        new: u64,
    },
    /// A proof with too few or too many hashes for its sizes.
    #[error("the proof has {found} hashes and {wanted} are needed")]
    ProofLength {
        /// As many as it has.
        found: usize,
        /// As many as its sizes ask for.
        wanted: usize,
    },
    /// A proof that leads elsewhere.
    #[error("the proof does not lead to the root of the tree of {size} leaves")]
    ProofRoot {
        /// The size of the tree whose root was missed.
        size: u64,
    },
    /// A tile that has not as many hashes as the tree's size asks for.
    #[error("tile {path} has {bytes} bytes, which is not what its width asks for")]
    TileWidth {
        /// Its path in the layout of C2SP tlog-tiles.
        path: String,
        /// As many as it has.
        bytes: usize,
    },
    /// A tile that cannot be had.
    #[error("tile {path} is missing")]
    TileMissing {
        /// Its path in the layout of C2SP tlog-tiles.
        path: String,
    },
    /// An origin or key name that no signed note can have.
    #[error(
        "`{text}` cannot name a log: no spaces, plus signs or control characters, and not empty"
    )]
    Origin {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// A public key that is not in the form of signed notes.
    #[error("not a verifier key of the form name+hash+key: {what}")]
    Key {
        /// What is wrong.
        what: &'static str,
    },
    /// A checkpoint that is not one.
    #[error("not a checkpoint: {what}")]
    Note {
        /// What is wrong.
        what: &'static str,
    },
    /// A signature under a known key that is not that key's.
    #[error("the signature of key {key} does not match the checkpoint")]
    Signature {
        /// Name and key id.
        key: String,
    },
    /// No signature by any of the keys that are trusted for the checkpoint's log.
    #[error(
        "no trusted key has signed the checkpoint of `{origin}`; give the verifier key of that log"
    )]
    Untrusted {
        /// The log that the checkpoint says it is of.
        origin: String,
    },
    /// A receipt that is not one.
    #[error("not a receipt: {what}")]
    Receipt {
        /// What is wrong.
        what: &'static str,
    },
    /// A receipt for one index whose entry says another.
    #[error("the receipt is for index {receipt} and its entry says {entry}")]
    ReceiptIndex {
        /// The index that the receipt proves.
        receipt: u64,
        /// The index in the entry.
        entry: u64,
    },
    /// A file of a bundle that is not what it must be, or not there.
    #[error("`{file}` of the bundle: {what}")]
    Bundle {
        /// Its path in the bundle.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A file of witnesses that is not one.
    #[error("line {line} of the policy of witnesses: {what}")]
    Policy {
        /// Counted from 1; behind the last where something is missing.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A proof of an anchor that is not one.
    #[error("not an anchor: {what}")]
    Anchor {
        /// What is wrong.
        what: &'static str,
    },
    /// Too few witnesses.
    #[error(
        "the witnesses that have cosigned the checkpoint ({cosigned}) are not the quorum of the policy"
    )]
    NoQuorum {
        /// As many as have.
        cosigned: usize,
    },
    /// A log that proves nothing, so that no evidence is made of it.
    #[error(
        "the log does not verify ({wrong}), and is not exported: `cedarkeep audit verify` lists what is wrong with it"
    )]
    Unsound {
        /// The first thing that is wrong.
        wrong: String,
    },
}
