//! The section `[pkcs11]`: the token that keeps keys of authorities. Its PIN is in a file
//! (`pin_file`) or in the environment (CHANCERY_PKCS11_PIN), and nowhere else.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::file::Section;

/// Where the token is and how to log in to it.
#[derive(Debug)]
pub(crate) struct Pkcs11 {
    pub(crate) module: PathBuf,
    pub(crate) token: String,
    pin_file: Option<PathBuf>,
}

impl Pkcs11 {
    /// The section; `None` where there is no token.
    pub(super) fn read(file: &mut Section) -> Option<Self> {
        let mut section = file.section("pkcs11");
        let module = section.text("module").map(PathBuf::from);
        let token = section.text("token");
        let pin_file = section.text("pin_file").map(PathBuf::from);
        let read = match (module, token) {
            (Some(module), Some(token)) => Some(Self {
                module,
                token,
                pin_file,
            }),
            (None, None) if pin_file.is_none() => None,
            (None, _) => {
                section.fault("module", "the path of the module's library is missing");
                None
            }
            (Some(_), None) => {
                section.fault("token", "the label of the token is missing");
                None
            }
        };
        file.absorb(section);
        read
    }

    /// The PIN of the token's user.
    pub(crate) fn pin(&self) -> anyhow::Result<Zeroizing<String>> {
        use anyhow::Context as _;
        if let Some(path) = &self.pin_file {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            return Ok(Zeroizing::new(
                text.trim_end_matches(['\r', '\n']).to_owned(),
            ));
        }
        let pin = std::env::var("CHANCERY_PKCS11_PIN").map(Zeroizing::new);
        pin.context(
            "the PIN of the PKCS#11 token is missing: set pkcs11.pin_file or CHANCERY_PKCS11_PIN",
        )
    }
}
