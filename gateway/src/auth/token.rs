//! Access tokens: biscuits (<https://www.biscuitsec.org>), signed by the gateway's token key.
//!
//! The first block, which only the gateway can write, names the token and its grants as facts:
//!
//! ```text
//! token("5f0c..."); name("trainer-7"); expires(1767225600);
//! verb(0, "read"); bucket(0, "datasets"); prefix(0, "mnist/");
//! ```
//!
//! Whoever holds a token can append blocks with further checks, offline, and so hand on less than
//! they have. Blocks with anything but checks are refused. Checks see these facts about each
//! request:
//!
//! ```text
//! time(2026-01-01T00:00:00Z); operation("read"); bucket("datasets"); key("mnist/0.tar");
//! ```
//!
//! For a listing, `key` is the prefix that is listed. A request must be within a grant of the first
//! block and pass every check of every block.

use super::appended;
use super::identity::Identity;
use biscuit_auth::builder::{BiscuitBuilder, Fact, Term};
use biscuit_auth::builder_ext::AuthorizerExt;
use biscuit_auth::{Algorithm, AuthorizerBuilder, AuthorizerLimits, Biscuit, KeyPair, PrivateKey};
use coffer_core::access::{Grant, Target, Verb};
use coffer_core::ids::{BucketName, TokenId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token that is looked at, in bytes of base64.
const MAX_TOKEN: usize = 16 * 1024;
/// Verified tokens that are remembered, so that a signature is not checked for every request.
const REMEMBERED: usize = 1024;

/// Why a token is no good. Says no more than its holder knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours, or changed.
    #[error("the access token is malformed or was not issued here")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
}

/// A new token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token can't be made: {0}")]
pub struct IssueError(String);

/// Issues and verifies tokens.
pub struct Tokens {
    root: KeyPair,
    remembered: Mutex<HashMap<blake3::Hash, Arc<Verified>>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.root.public())
    }
}

/// What a good token says.
#[derive(Debug)]
struct Verified {
    expires: u64,
    identity: Arc<Identity>,
}

/// The checks of a token, to be run for each request.
#[derive(Debug, Clone)]
pub struct Checks(Biscuit);

impl Tokens {
    /// From the private key, 64 hexadecimal digits.
    ///
    /// # Errors
    /// A sentence, when it is not an Ed25519 private key.
    pub fn from_hex(key: &str) -> Result<Self, String> {
        let private = PrivateKey::from_bytes_hex(key.trim(), Algorithm::Ed25519)
            .map_err(|_| "it is not an Ed25519 private key in 64 hexadecimal digits".to_owned())?;
        Ok(Self { root: KeyPair::from(&private), remembered: Mutex::default() })
    }

    /// A fresh private key, for [`Tokens::from_hex`].
    pub fn new_key() -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(KeyPair::new().private().to_bytes_hex())
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`IssueError`] when the token library refuses.
    pub fn issue(
        &self,
        id: TokenId,
        name: &str,
        grants: &[Grant],
        expires: u64,
    ) -> Result<String, IssueError> {
        let failed = |e: biscuit_auth::error::Token| IssueError(e.to_string());
        let text = |s: &str| Term::Str(s.to_owned());
        let number = |n: u64| Term::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let mut facts = vec![
            ("token", vec![text(&id.to_string())]),
            ("name", vec![text(name)]),
            ("expires", vec![number(expires)]),
        ];
        for (i, grant) in (0u64..).zip(grants) {
            facts.extend(grant.verbs.iter().map(|v| ("verb", vec![number(i), text(v.as_str())])));
            facts
                .extend(grant.bucket.iter().map(|b| ("bucket", vec![number(i), text(b.as_str())])));
            facts.extend(grant.prefix.iter().map(|p| ("prefix", vec![number(i), text(p)])));
        }
        let mut builder = BiscuitBuilder::new();
        for (name, terms) in facts {
            builder = builder.fact(Fact::new(name.to_owned(), terms)).map_err(failed)?;
        }
        builder.build(&self.root).and_then(|b| b.to_base64()).map_err(failed)
    }

    /// Verifies a token's signatures and its time; what it allows is decided per request.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Arc<Identity>, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let hash = blake3::hash(token.as_bytes());
        let known = self.lock().get(&hash).cloned();
        let verified = match known {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.verify_signature(token)?);
                let mut remembered = self.lock();
                if remembered.len() >= REMEMBERED {
                    remembered.clear();
                }
                remembered.insert(hash, verified.clone());
                verified
            }
        };
        if seconds(now) >= verified.expires {
            return Err(TokenError::Expired);
        }
        Ok(verified.identity.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<blake3::Hash, Arc<Verified>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verify_signature(&self, token: &str) -> Result<Verified, TokenError> {
        let invalid = |_| TokenError::Invalid;
        let biscuit = Biscuit::from_base64(token, self.root.public()).map_err(invalid)?;
        let authority = Authority::read(&biscuit).ok_or(TokenError::Invalid)?;
        let id: TokenId = authority.id.parse().map_err(|_| TokenError::Invalid)?;
        let identity = Identity::of_token(authority.name, id, authority.grants, Checks(biscuit));
        Ok(Verified { expires: authority.expires, identity: Arc::new(identity) })
    }
}

/// The facts of the first block. Only that block: facts of blocks that holders append say nothing.
struct Authority {
    id: String,
    name: String,
    expires: u64,
    grants: Vec<Grant>,
}

impl Authority {
    fn read(biscuit: &Biscuit) -> Option<Self> {
        // Queries see the first block's facts and the authorizer's, which has none.
        let mut facts = AuthorizerBuilder::new().set_limits(limits()).build(biscuit).ok()?;
        let id: Vec<(String,)> = facts.query("data($x) <- token($x)").ok()?;
        let name: Vec<(String,)> = facts.query("data($x) <- name($x)").ok()?;
        let expires: Vec<(i64,)> = facts.query("data($x) <- expires($x)").ok()?;
        let verbs: Vec<(i64, String)> = facts.query("data($i, $x) <- verb($i, $x)").ok()?;
        let buckets: Vec<(i64, String)> = facts.query("data($i, $x) <- bucket($i, $x)").ok()?;
        let prefixes: Vec<(i64, String)> = facts.query("data($i, $x) <- prefix($i, $x)").ok()?;
        let own = id.len() + name.len() + expires.len() + verbs.len() + buckets.len();
        if !appended::is_cheap(&facts, own + prefixes.len()) {
            return None;
        }
        let mut grants: BTreeMap<i64, Grant> = BTreeMap::new();
        for (i, verb) in verbs {
            let empty = || Grant { verbs: Vec::new(), bucket: None, prefix: None, owned: false };
            grants.entry(i).or_insert_with(empty).verbs.push(verb.parse().ok()?);
        }
        for (i, bucket) in buckets {
            grants.get_mut(&i)?.bucket = Some(BucketName::new(bucket).ok()?);
        }
        for (i, prefix) in prefixes {
            grants.get_mut(&i)?.prefix = Some(prefix);
        }
        Some(Self {
            id: one(id)?.0,
            name: one(name)?.0,
            expires: u64::try_from(one(expires)?.0).ok()?,
            grants: grants.into_values().collect(),
        })
    }
}

fn one<T>(mut rows: Vec<T>) -> Option<T> {
    let only = rows.pop();
    only.filter(|_| rows.is_empty())
}

impl Checks {
    /// Whether all checks of the token hold for a request.
    pub fn hold(&self, verb: Verb, target: Target<'_>, now: SystemTime) -> bool {
        let text = |s: &str| Term::Str(s.to_owned());
        let mut facts =
            vec![("operation", text(verb.as_str())), ("time", Term::Date(seconds(now)))];
        match target {
            Target::Cluster => {}
            Target::Bucket(bucket) => facts.push(("bucket", text(bucket.as_str()))),
            Target::Prefix(bucket, prefix) => {
                facts.push(("bucket", text(bucket.as_str())));
                facts.push(("key", text(prefix)));
            }
            Target::Object(bucket, key) => {
                facts.push(("bucket", text(bucket.as_str())));
                facts.push(("key", text(key.as_str())));
            }
        }
        let mut builder = AuthorizerBuilder::new().set_limits(limits());
        for (name, term) in facts {
            match builder.fact(Fact::new(name.to_owned(), vec![term])) {
                Ok(next) => builder = next,
                Err(_) => return false,
            }
        }
        // The grants have been looked at before; here only checks can fail.
        let authorizer = builder.allow_all().build(&self.0);
        authorizer.and_then(|mut a| a.authorize()).is_ok()
    }
}

/// What a token's own rules may cost per request.
fn limits() -> AuthorizerLimits {
    AuthorizerLimits {
        max_facts: 200,
        max_iterations: 20,
        // A thousand times what it takes: a busy machine must not deny what is allowed. What bounds
        // the work are the two above.
        max_time: Duration::from_secs(1),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
