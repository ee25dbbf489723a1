//! How certificates are named: what people may choose, and what is chosen for them.

use aws_lc_rs::digest;
use store::AccountId;

use crate::{Error, Surroundings};

/// Longest name, in characters.
const MAX_NAME: usize = 255;

/// Length of the end of a name that was chosen here.
const SUFFIX: usize = 5;

/// Refuses names that a client of some dialect could never reach again.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.chars().count() > MAX_NAME {
        return Err(Error::TooLong {
            field: "name",
            limit: MAX_NAME,
        });
    }
    let fault = if name.is_empty() {
        "is empty"
    } else if name.contains('/') {
        "contains '/'"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.trim() != name {
        "begins or ends with a blank"
    } else if matches!(name, "." | ".." | "list") {
        "is reserved"
    } else if uuid::Uuid::try_parse(name).is_ok() {
        "looks like a UUID"
    } else {
        return Ok(());
    };
    Err(Error::invalid(
        "name",
        format!("the name '{}' {fault}", name.escape_debug()),
    ))
}

/// `<common name>-<5 random letters or digits>`, without a leading `*.`.
pub(crate) fn name_after(common_name: &str, surroundings: &Surroundings) -> String {
    let stem = stem_of(common_name, MAX_NAME - SUFFIX - 1);
    format!("{stem}-{}", surroundings.random_suffix(SUFFIX))
}

/// As [`name_after`], but always the same for one account and one `place` in a row of such names, so
/// that whoever asks for the same thing at the same time chooses the same name.
pub(super) fn name_in_row(common_name: &str, account: AccountId, place: u32) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(account.as_uuid().as_bytes());
    context.update(&place.to_be_bytes());
    context.update(common_name.as_bytes());
    let letters = context.finish();
    let letters = letters.as_ref().iter().take(SUFFIX);
    // That some letters come up a little more often harms nobody here.
    let suffix: String = letters
        .filter_map(|byte| char::from_digit(u32::from(byte % 36), 36))
        .collect();
    let stem = stem_of(common_name, MAX_NAME - SUFFIX - 1);
    format!("{stem}-{suffix}")
}

/// `<common name>-<16 hex digits of the serial>`: unique without a draw, because the low 64 bits of
/// serials are.
pub(super) fn name_after_serial(common_name: &str, serial: &pki::Serial) -> String {
    let stem = stem_of(common_name, MAX_NAME - 17);
    format!("{stem}-{:016x}", serial.low64())
}

fn stem_of(common_name: &str, limit: usize) -> String {
    let stem = common_name.strip_prefix("*.").unwrap_or(common_name);
    let fit = |character: char| {
        if character.is_control() || character == '/' {
            '_'
        } else {
            character
        }
    };
    let stem: String = stem.trim().chars().take(limit).map(fit).collect();
    if stem.is_empty() {
        "certificate".to_owned()
    } else {
        stem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_client_could_reach_are_refused() {
        for bad in [
            "",
            "a/b",
            " a",
            "a ",
            ".",
            "..",
            "list",
            "a\nb",
            "a\0b",
            "0190163d-8694-739b-aea5-966c26f8ad91",
            "0190163D-8694-739B-AEA5-966C26F8AD91",
            "0190163d8694739baea5966c26f8ad91",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(
            check_name(&"x".repeat(256)),
            Err(Error::TooLong { .. })
        ));
        for good in ["c1", "a,b", "über uns", "…", &"é".repeat(255)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_chosen_name_drops_the_wildcard_and_fits_the_limit() {
        let surroundings = Surroundings::default();
        let name = name_after("*.mydomain.com", &surroundings);
        assert!(name.starts_with("mydomain.com-"));
        assert_eq!(name.len(), "mydomain.com-".len() + 5);
        let long = name_after(&"a".repeat(253), &surroundings);
        assert_eq!(long.len(), 255);
        assert!(check_name(&long).is_ok());
    }

    #[test]
    fn the_names_in_a_row_differ_and_are_the_same_for_everybody() {
        let account = AccountId::from_random([7; 16]);
        let name = |place| name_in_row("*.mydomain.com", account, place);
        assert_eq!(name(0), name(0));
        assert_ne!(name(0), name(1));
        let other = AccountId::from_random([8; 16]);
        assert_ne!(name(0), name_in_row("*.mydomain.com", other, 0));
        let end = name(0).strip_prefix("mydomain.com-").unwrap().to_owned();
        assert_eq!(end.len(), 5);
        assert!(
            end.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        let long = name_in_row(&"a".repeat(253), account, 0);
        assert_eq!(long.len(), 255);
    }
}
