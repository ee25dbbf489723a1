//! Where a record really is: the owner of a domain may have pointed its name, by a CNAME, at one in
//! a zone that somebody else looks after.

use egress::{LookupError, Resolver};

/// More steps than anybody needs; authorities' resolvers give up at about as many.
const MAX_STEPS: usize = 8;

/// A name has at most so many labels (RFC 1035 section 2.3.4).
const MAX_LABELS: usize = 128;

/// Why the end of a chain of aliases is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DelegationError {
    /// It goes round in a circle.
    #[error("the CNAME records at {name} go round in a circle")]
    Loop {
        /// The name that comes up again.
        name: String,
    },
    /// It goes on and on.
    #[error("the CNAME records at {name} go on for more than {MAX_STEPS} steps")]
    TooLong {
        /// Where it begins.
        name: String,
    },
    /// A name on the way cannot be asked about.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Follows the aliases at a name to their end. Returns all names on the way: at least the one asked
/// for.
///
/// # Errors
/// [`DelegationError`].
pub(crate) async fn follow(
    resolver: &dyn Resolver,
    name: &str,
) -> Result<Vec<String>, DelegationError> {
    let mut way = vec![normal(name)];
    while let Some(here) = way.last() {
        let Some(next) = resolver.alias(here).await? else {
            return Ok(way);
        };
        let next = normal(&next);
        if way.contains(&next) {
            return Err(DelegationError::Loop { name: next });
        }
        if way.len() > MAX_STEPS {
            break;
        }
        way.push(next);
    }
    Err(DelegationError::TooLong {
        name: name.to_owned(),
    })
}

/// A name and all names above it but the root, the longest first.
pub(crate) fn climb(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| {
        name.split_once('.').map(|(_, parent)| parent)
    })
    .filter(|name| !name.is_empty())
    .take(MAX_LABELS)
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_climbed_to_the_top() {
        let names: Vec<&str> = climb("a.b.example.com").collect();
        assert_eq!(
            names,
            ["a.b.example.com", "b.example.com", "example.com", "com"]
        );
        assert_eq!(climb("com").count(), 1);
        assert_eq!(climb("").count(), 0);
    }
}
