//! A session with the token: opened when it is needed, given up when it fails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use pki::{KeyAlgorithm, KeyError, KeyKind, PublicKey};

use crate::{Settings, der};

/// Why the token did not do what was asked. The texts follow "the PKCS#11 token 'x'".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot be reached: {0}")]
    Module(ModuleError),
    #[error("is not there; the module knows {}", .0.join(", "))]
    NoToken(Vec<String>),
    #[error("has no such key")]
    NoKey,
    #[error("returned a key that cannot be used: {0}")]
    Key(KeyError),
    #[error("returned something else than it was asked for")]
    Odd,
}

impl From<ModuleError> for Error {
    fn from(error: ModuleError) -> Self {
        Self::Module(error)
    }
}

/// The session of a thread.
pub(crate) struct Sessions {
    settings: Settings,
    open: Option<Open>,
}

struct Open {
    session: Session,
    keys: HashMap<[u8; 16], ObjectHandle>,
}

/// The modules that are loaded. One is initialized once in a process, however many use it.
static LOADED: Mutex<Vec<(std::path::PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

impl Sessions {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            open: None,
        }
    }

    /// Makes a key pair under `id` that never leaves the token.
    pub(crate) fn generate(
        &mut self,
        id: [u8; 16],
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, Error> {
        let made = self.open()?.generate(id, label, algorithm);
        self.keep_if_fine(made)
    }

    /// Signs as keys of this kind do. In a session that was left open, the token may have gone and
    /// come back since: then it is tried again in a new one.
    pub(crate) fn sign(
        &mut self,
        id: [u8; 16],
        kind: KeyKind,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let was_open = self.open.is_some();
        let signed = self.open().and_then(|open| open.sign(id, kind, message));
        let signed = self.keep_if_fine(signed);
        if signed.is_ok() || !was_open {
            return signed;
        }
        let again = self.open().and_then(|open| open.sign(id, kind, message));
        self.keep_if_fine(again)
    }

    fn keep_if_fine<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.open = None;
        }
        outcome
    }

    fn open(&mut self) -> Result<&mut Open, Error> {
        if self.open.is_none() {
            let session = log_in(&self.settings)?;
            let keys = HashMap::new();
            self.open = Some(Open { session, keys });
        }
        self.open.as_mut().ok_or(Error::Odd)
    }
}

impl Open {
    fn generate(
        &mut self,
        id: [u8; 16],
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, Error> {
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let curve = curve(algorithm);
        let mechanism = match (curve, algorithm) {
            (Some(curve), KeyAlgorithm::Ed25519) => {
                public.push(Attribute::EcParams(curve.to_vec()));
                Mechanism::EccEdwardsKeyPairGen
            }
            (Some(curve), _) => {
                public.push(Attribute::EcParams(curve.to_vec()));
                Mechanism::EccKeyPairGen
            }
            (None, _) => {
                let bits = match algorithm {
                    KeyAlgorithm::Rsa2048 => 2048_u64,
                    KeyAlgorithm::Rsa3072 => 3072,
                    _ => 4096,
                };
                public.push(Attribute::ModulusBits(bits.into()));
                public.push(Attribute::PublicExponent(vec![1, 0, 1]));
                Mechanism::RsaPkcsKeyPairGen
            }
        };
        let (handle, _) = self
            .session
            .generate_key_pair(&mechanism, &public, &private)?;
        let spki = match curve {
            Some(curve) => {
                let point = self.attribute(handle, AttributeType::EcPoint)?;
                der::elliptic_key(curve, &point)
            }
            None => {
                let modulus = self.attribute(handle, AttributeType::Modulus)?;
                let exponent = self.attribute(handle, AttributeType::PublicExponent)?;
                der::rsa_key(&modulus, &exponent)
            }
        };
        PublicKey::from_spki_der(&spki).map_err(Error::Key)
    }

    fn sign(&mut self, id: [u8; 16], kind: KeyKind, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key(id, kind)?;
        let hash = match kind {
            KeyKind::P256 => &digest::SHA256,
            KeyKind::P384 => &digest::SHA384,
            KeyKind::P521 => &digest::SHA512,
            KeyKind::Rsa { .. } => {
                return Ok(self.session.sign(&Mechanism::Sha256RsaPkcs, key, message)?);
            }
            KeyKind::Ed25519 => {
                let pure = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                let mechanism = Mechanism::Eddsa(pure);
                return Ok(self.session.sign(&mechanism, key, message)?);
            }
        };
        let hashed = digest::digest(hash, message);
        let joined = self.session.sign(&Mechanism::Ecdsa, key, hashed.as_ref())?;
        der::ecdsa_signature(&joined).ok_or(Error::Odd)
    }

    fn key(&mut self, id: [u8; 16], kind: KeyKind) -> Result<ObjectHandle, Error> {
        if let Some(found) = self.keys.get(&id) {
            return Ok(*found);
        }
        let of_type = match kind {
            KeyKind::Rsa { .. } => KeyType::RSA,
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => KeyType::EC,
            KeyKind::Ed25519 => KeyType::EC_EDWARDS,
        };
        let found = self.session.find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(of_type),
            Attribute::Id(id.to_vec()),
        ])?;
        let found = *found.first().ok_or(Error::NoKey)?;
        self.keys.insert(id, found);
        Ok(found)
    }

    fn attribute(&self, of: ObjectHandle, kind: AttributeType) -> Result<Vec<u8>, Error> {
        let mut values = self.session.get_attributes(of, &[kind])?;
        match values.pop() {
            Some(
                Attribute::EcPoint(value)
                | Attribute::Modulus(value)
                | Attribute::PublicExponent(value),
            ) => Ok(value),
            _ => Err(Error::Odd),
        }
    }
}

fn curve(algorithm: KeyAlgorithm) -> Option<&'static [u8]> {
    match algorithm {
        KeyAlgorithm::P256 => Some(der::P256),
        KeyAlgorithm::P384 => Some(der::P384),
        KeyAlgorithm::P521 => Some(der::P521),
        KeyAlgorithm::Ed25519 => Some(der::ED25519),
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => None,
    }
}

fn log_in(settings: &Settings) -> Result<Session, Error> {
    let module = module(settings)?;
    let mut labels = Vec::new();
    for slot in module.get_slots_with_token()? {
        let info = module.get_token_info(slot)?;
        let label = info.label().trim_end();
        if label != settings.token {
            labels.push(format!("'{label}'"));
            continue;
        }
        let session = module.open_rw_session(slot)?;
        let pin = AuthPin::new(settings.pin.as_str().into());
        return match session.login(UserType::User, Some(&pin)) {
            // Another thread has logged the whole process in.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(error.into()),
        };
    }
    Err(Error::NoToken(labels))
}

fn module(settings: &Settings) -> Result<Pkcs11, Error> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(path, _)| *path == settings.module) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(&settings.module)?;
    let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match module.initialize(locking) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error.into()),
    }
    loaded.push((settings.module.clone(), module.clone()));
    Ok(module)
}
