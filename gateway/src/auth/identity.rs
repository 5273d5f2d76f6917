//! Who asks, and what they may do by their own grants.

use super::token::Checks;
use coffer_core::access::{Grant, Target, Verb};
use coffer_core::bucket::policy::Caller;
use coffer_core::ids::{BucketName, TokenId};
use http::Extensions;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Who asks, and what they may do. Put into each request's extensions once it is authenticated.
#[derive(Debug)]
pub struct Identity {
    name: String,
    grants: Vec<Grant>,
    token: Option<(TokenId, Checks)>,
}

impl Identity {
    pub(super) fn of_key(name: String, grants: Vec<Grant>) -> Self {
        Self { name, grants, token: None }
    }

    pub(super) fn of_token(name: String, id: TokenId, grants: Vec<Grant>, checks: Checks) -> Self {
        Self { name, grants, token: Some((id, checks)) }
    }

    /// The name: of a key's holder, or the one that a token's issuer gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The token's id, if it is a token.
    pub fn token_id(&self) -> Option<TokenId> {
        self.token.as_ref().map(|(id, _)| *id)
    }

    /// Whether the identity may do `verb` to `target` now; `owner` is who owns the bucket.
    pub fn may(&self, verb: Verb, target: Target<'_>, owner: Option<&str>) -> bool {
        self.may_at(verb, target, owner, SystemTime::now())
    }

    pub(super) fn may_at(
        &self,
        verb: Verb,
        target: Target<'_>,
        owner: Option<&str>,
        now: SystemTime,
    ) -> bool {
        let owns = owner == Some(&*self.name);
        self.grants.iter().any(|g| g.allows(verb, target, owns))
            && self.token.as_ref().is_none_or(|(_, checks)| checks.hold(verb, target, now))
    }

    /// Whether the identity may make a bucket of that name: it will own it.
    pub fn may_create(&self, bucket: &BucketName) -> bool {
        self.may(Verb::Admin, Target::Bucket(bucket), Some(&self.name))
    }

    /// Whether the identity may do anything in a bucket, and so may know that it is there.
    pub fn may_see(&self, bucket: &BucketName, owner: Option<&str>) -> bool {
        Verb::ALL.into_iter().any(|verb| self.may(verb, Target::Bucket(bucket), owner))
    }

    /// Whether the identity may do everything to all buckets, policies included.
    pub fn administers(&self) -> bool {
        self.may(Verb::Admin, Target::Cluster, None)
    }

    /// Whether the identity may do all that `grant` allows, so that it may hand it on. Only keys
    /// may: what a token may do can depend on the request. Nor is ownership handed on.
    pub fn may_hand_on(&self, grant: &Grant) -> bool {
        self.token.is_none()
            && self.grants.iter().any(|own| {
                !own.owned
                    && grant.verbs.iter().all(|v| own.verbs.contains(v))
                    && (own.bucket.is_none() || own.bucket == grant.bucket)
                    && own.prefix.as_deref().is_none_or(|p| {
                        grant.prefix.as_deref().is_some_and(|theirs| theirs.starts_with(p))
                    })
            })
    }
}

/// Where a request's identity is left for whoever logs the request; put into its extensions.
#[derive(Debug, Clone, Default)]
pub struct Authenticated(Arc<OnceLock<Arc<Identity>>>);

impl Authenticated {
    /// Leaves the identity, once.
    pub fn set(&self, identity: Arc<Identity>) {
        let _ = self.0.set(identity);
    }

    /// The name of who asked, if that was found out.
    pub fn name(&self) -> Option<String> {
        self.0.get().map(|identity| identity.name.clone())
    }
}

/// Leaves the identity of a signed request for the log.
pub(crate) fn note(extensions: &Extensions, identity: &Arc<Identity>) {
    if let Some(authenticated) = extensions.get::<Authenticated>() {
        authenticated.set(identity.clone());
    }
}

/// Who asks, if that was found out.
pub(crate) fn caller(extensions: &Extensions) -> Option<&Identity> {
    extensions.get::<Arc<Identity>>().map(|identity| &**identity)
}

/// Who asks, as policies name them.
pub(super) fn in_policies(identity: Option<&Identity>) -> Caller<'_> {
    identity.map_or(Caller::Anonymous, |identity| Caller::User(&identity.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(verbs: &[Verb], bucket: &str, prefix: Option<&str>) -> Grant {
        Grant {
            verbs: verbs.to_vec(),
            bucket: (!bucket.is_empty()).then(|| BucketName::new(bucket).unwrap()),
            prefix: prefix.map(str::to_owned),
            owned: false,
        }
    }

    #[test]
    fn what_is_handed_on_is_never_more_than_what_is_held() {
        let holder = Identity::of_key(
            "x".into(),
            vec![grant(&[Verb::Read, Verb::List], "data", Some("a/"))],
        );
        assert!(holder.may_hand_on(&grant(&[Verb::Read], "data", Some("a/b"))));
        assert!(!holder.may_hand_on(&grant(&[Verb::Read], "data", None)));
        assert!(!holder.may_hand_on(&grant(&[Verb::Read], "", Some("a/"))));
        assert!(!holder.may_hand_on(&grant(&[Verb::Write], "data", Some("a/"))));
        let root = Identity::of_key("root".into(), vec![Grant::root()]);
        assert!(root.may_hand_on(&Grant::root()));
        let own = Identity::of_key("own".into(), vec![Grant { owned: true, ..Grant::root() }]);
        assert!(!own.may_hand_on(&grant(&[Verb::Read], "data", None)));
    }

    #[test]
    fn owners_make_buckets_and_see_their_own() {
        let own = Identity::of_key("ann".into(), vec![Grant { owned: true, ..Grant::root() }]);
        let data = BucketName::new("data").unwrap();
        assert!(own.may_create(&data));
        assert!(own.may_see(&data, Some("ann")));
        assert!(!own.may_see(&data, Some("bob")));
        assert!(!own.may_see(&data, None));
        assert!(!own.administers());
        let reader = Identity::of_key("r".into(), vec![grant(&[Verb::Read], "data", Some("a/"))]);
        assert!(!reader.may_create(&data));
        assert!(reader.may_see(&data, Some("ann")));
    }
}
