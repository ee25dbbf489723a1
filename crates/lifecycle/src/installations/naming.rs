//! Names of certificates that are made for a service.

use store::Service;

use crate::Surroundings;

/// Longest part of a certificate's name that comes from its service, in characters.
const MAX_STEM: usize = 100;
/// Random characters at the end of a certificate's name.
const SUFFIX: usize = 5;

/// `<service>-<environment>-<5 random letters or digits>`.
pub(super) fn drawn_name(service: &Service, surroundings: &Surroundings) -> String {
    let (name, environment) = (slug(&service.name), slug(&service.environment));
    let suffix = surroundings.random_suffix(SUFFIX);
    format!("{name}-{environment}-{suffix}")
}

/// Letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.to_lowercase().chars().take(MAX_STEM) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "stack" } else { slug }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn slugs_are_letters_digits_and_single_hyphens() {
        for (text, expected) in [
            ("My Shop (EU)", "my-shop-eu"),
            ("--a__b--", "a-b"),
            ("übergröße", "bergr-e"),
            ("…", "stack"),
            ("", "stack"),
        ] {
            assert_eq!(slug(text), expected, "{text}");
        }
        assert!(slug(&"x".repeat(300)).len() <= super::MAX_STEM);
    }
}
