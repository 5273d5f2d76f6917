//! Who a statement is about.

use serde::{Deserialize, Serialize};

/// The one account that a cluster has, in the form that account ids have in ARNs.
pub const ACCOUNT: &str = "000000000000";

/// The ARN of a user of the cluster.
pub fn user_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

/// Who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Nobody that we know: the request carries no credentials.
    Anonymous,
    /// The holder of a key or token, by name.
    User(&'a str),
}

/// Whom a policy names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// `*`: everyone, with or without credentials.
    Everyone,
    /// The account: everyone with credentials of this cluster.
    Account,
    /// One user, by name.
    User(String),
    /// Someone of another account. There are none here, so that it matches nobody.
    Elsewhere(String),
}

impl Principal {
    /// Reads a value of `"AWS"`: `*`, an account id, or an ARN of IAM. The account may be left out
    /// (`arn:aws:iam:::user/NAME`).
    pub(super) fn of_aws(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(if text == ACCOUNT { Self::Account } else { Self::Elsewhere(text.into()) });
        }
        let refused = || {
            format!(
                "{text:?} is not a principal; use \"*\", an account id, arn:aws:iam::ACCOUNT:root \
                 or arn:aws:iam::ACCOUNT:user/NAME"
            )
        };
        let rest = text.strip_prefix("arn:aws:iam::").ok_or_else(refused)?;
        let (account, resource) = rest.split_once(':').ok_or_else(refused)?;
        if account.contains(['*', '?']) || resource.contains(['*', '?']) {
            return Err(format!("{text:?}: principals are named in full, without wildcards"));
        }
        match resource.split_once('/') {
            None if resource == "root" && own(account) => Ok(Self::Account),
            None if resource == "root" => Ok(Self::Elsewhere(text.into())),
            Some(("user", path)) if !path.is_empty() => Ok(if own(account) {
                Self::User(path.into())
            } else {
                Self::Elsewhere(text.into())
            }),
            Some(("role", path)) if !path.is_empty() && !own(account) => {
                Ok(Self::Elsewhere(text.into()))
            }
            _ => Err(refused()),
        }
    }

    /// Whether the caller is whom it names.
    pub fn is(&self, caller: Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Everyone, _) | (Self::Account, Caller::User(_)) => true,
            (Self::User(name), Caller::User(caller)) => name == caller,
            _ => false,
        }
    }
}

fn own(account: &str) -> bool {
    account.is_empty() || account == ACCOUNT
}

/// The principals of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principals {
    /// `Principal`: these.
    These(Vec<Principal>),
    /// `NotPrincipal`: all but these.
    AllBut(Vec<Principal>),
}

impl Principals {
    /// Whether the statement is about the caller.
    pub fn include(&self, caller: Caller<'_>) -> bool {
        match self {
            Self::These(list) => list.iter().any(|p| p.is(caller)),
            Self::AllBut(list) => !list.iter().any(|p| p.is(caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_users_of_this_cluster_or_nobody() {
        let table = [
            // text, matches (anonymous, ann, bob)
            ("*", Some((true, true, true))),
            ("000000000000", Some((false, true, true))),
            ("arn:aws:iam::000000000000:root", Some((false, true, true))),
            ("arn:aws:iam:::user/ann", Some((false, true, false))),
            ("arn:aws:iam::000000000000:user/ann", Some((false, true, false))),
            ("arn:aws:iam::123456789012:user/ann", Some((false, false, false))),
            ("arn:aws:iam::tenant:root", Some((false, false, false))),
            ("123456789012", Some((false, false, false))),
            ("arn:aws:iam::123456789012:role/ann", Some((false, false, false))),
            ("arn:aws:iam:::role/ann", None),
            ("arn:aws:iam:::user/*", None),
            ("arn:aws:iam::*:root", None),
            ("arn:aws:iam:::user/", None),
            ("ann", None),
            ("", None),
        ];
        for (text, expected) in table {
            let found = Principal::of_aws(text).ok().map(|p| {
                (p.is(Caller::Anonymous), p.is(Caller::User("ann")), p.is(Caller::User("bob")))
            });
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(Principal::of_aws(&user_arn("a/b")), Ok(Principal::User("a/b".into())));
    }
}
