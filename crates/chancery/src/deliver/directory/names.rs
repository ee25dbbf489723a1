//! Names that files can have.

use std::io;

/// Longest name of a certificate, in octets, so that an ending fits behind it.
const LONGEST_NAME: usize = 200;

/// Whether files can be named after a certificate: the name comes from elsewhere and becomes part of
/// paths, and of configurations that somebody may generate.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let is_fit = |character: char| {
        character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | '+' | '@' | ' ')
    };
    let begins_well = name.starts_with(|first: char| first.is_alphanumeric() || first == '_');
    if name.len() <= LONGEST_NAME && begins_well && name.chars().all(is_fit) && !name.ends_with(' ')
    {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "no files can be named after this certificate: names have letters, digits, '.', '-', '_', \
         '+', '@' and blanks, begin with a letter or digit, and have at most 200 octets",
    ))
}
