//! Secrets that commands are given: in the command line if need be, better in a file or on standard
//! input, where nobody else on the machine sees them.

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use zeroize::Zeroizing;

/// Longest secret that is read.
const LIMIT: u64 = 256 * 1024;

/// The secret that an argument stands for: `@FILE`, `-` for standard input, or itself. A final end
/// of line does not belong to it.
pub(crate) fn read(argument: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    match (argument, argument.strip_prefix('@')) {
        ("-", _) => {
            let mut input = std::io::stdin().take(LIMIT);
            input
                .read_to_string(&mut text)
                .context("cannot read the secret from standard input")?;
        }
        (_, Some(path)) => {
            let file = std::fs::File::open(path);
            let file = file.with_context(|| format!("cannot read {path}"))?;
            file.take(LIMIT)
                .read_to_string(&mut text)
                .with_context(|| format!("cannot read {path}"))?;
        }
        _ => text.push_str(argument),
    }
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    anyhow::ensure!(!text.is_empty(), "the secret is empty");
    Ok(text)
}

/// The passphrase in `file` (`-` for standard input), in CHANCERY_PASSPHRASE, or that is typed in:
/// never in the command line, which others on the machine can read. A new one is typed twice.
pub(crate) fn passphrase(file: Option<&str>, is_new: bool) -> anyhow::Result<Zeroizing<String>> {
    match file {
        Some("-") => return read("-"),
        Some(path) => return read(&format!("@{path}")),
        None => {}
    }
    if let Ok(passphrase) = std::env::var("CHANCERY_PASSPHRASE") {
        return Ok(Zeroizing::new(passphrase));
    }
    if !std::io::stdin().is_terminal() {
        anyhow::bail!(
            "a passphrase is needed: give --passphrase-file FILE, or set CHANCERY_PASSPHRASE"
        );
    }
    let typed = typed("Passphrase: ")?;
    if is_new {
        anyhow::ensure!(
            typed == self::typed("Again: ")?,
            "the two passphrases differ"
        );
    }
    Ok(typed)
}

/// A line from the terminal, which does not show it.
fn typed(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let echo = |mode: &str| std::process::Command::new("stty").arg(mode).status();
    eprint!("{prompt}");
    echo("-echo").context("cannot keep the terminal from showing the passphrase")?;
    let mut line = Zeroizing::new(String::new());
    let outcome = std::io::stdin().read_line(&mut line);
    echo("echo").context("cannot have the terminal show again what is typed")?;
    eprintln!();
    outcome.context("cannot read the passphrase")?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    anyhow::ensure!(!line.is_empty(), "the passphrase is empty");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_or_in_a_file() {
        assert_eq!(*read("s3cr3t=").unwrap(), "s3cr3t=");
        let path = std::env::temp_dir().join(format!("chancery-secret-{}", std::process::id()));
        std::fs::write(&path, "a\nb\r\n").unwrap();
        let read_back = read(&format!("@{}", path.display()));
        std::fs::write(&path, "\n").unwrap();
        let empty = read(&format!("@{}", path.display()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*read_back.unwrap(), "a\nb");
        assert!(empty.is_err());
        assert!(read(&format!("@{}", path.display())).is_err());
    }
}
