//! Making keys of tiers and the CA certificates for them. All of this takes CPU for up to seconds,
//! or asks a device: it is for threads of its own.

use std::time::Duration;

use pki::{
    CaProfile, Certificate, DistinguishedName, KeyAlgorithm, NameConstraints, Profile, Signer,
    SigningKey, Urls,
};
use store::{KeyPlace, NewCaKey, PrivateKeyId};

use crate::ceremony::{
    self, hex_key_identifier, new_key, serial, urls_by_key_identifier, validity,
};
use crate::device::NO_DEVICE;
use crate::{Error, Surroundings};

/// A new key, and how it is recorded.
pub(super) struct CaKey {
    pub(super) signing: SigningKey,
    pub(super) record: NewCaKey,
}

/// Makes keys and CA certificates.
#[derive(Clone)]
pub(super) struct TierMaker {
    pub(super) surroundings: Surroundings,
    pub(super) public_url: String,
}

impl TierMaker {
    /// A key pair in the store or in the device; `label` is for people who look into the latter.
    pub(super) fn key(
        &self,
        algorithm: KeyAlgorithm,
        in_device: bool,
        label: &str,
    ) -> Result<CaKey, Error> {
        if !in_device {
            let key = pki::PrivateKey::generate(algorithm).map_err(Error::signing)?;
            return Ok(CaKey {
                signing: (&key).into(),
                record: NewCaKey::Kept(new_key(key, &self.surroundings)),
            });
        }
        let unavailable = |reason: String| Error::KeyUnavailable { reason };
        let device = self.surroundings.device();
        let device = device.ok_or_else(|| unavailable(NO_DEVICE.to_owned()))?;
        let now = self.surroundings.now();
        let id = PrivateKeyId::from_time_and_random(now, self.surroundings.random());
        let public = device
            .generate(id.as_uuid().into_bytes(), label, algorithm)
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(CaKey {
            signing: SigningKey::Outside(device.key(id.as_uuid().into_bytes(), public)),
            record: NewCaKey::At(KeyPlace::Device, id),
        })
    }

    /// A self-signed CA certificate.
    pub(super) fn root(
        &self,
        subject: DistinguishedName,
        key: &SigningKey,
        lifetime: Duration,
        constraints: Option<NameConstraints>,
    ) -> Result<Certificate, Error> {
        let profile = CaProfile {
            subject,
            public_key: key.public_key().clone(),
            validity: validity(self.surroundings.now(), lifetime)?,
            path_length: None,
            name_constraints: constraints,
            urls: Urls::default(),
        };
        let refused = |error: String| Error::invalid("authority", error);
        pki::prepare_self_signed(profile, &serial(&self.surroundings), key)
            .map_err(|error| refused(error.to_string()))?
            .lint()
            .map_err(|error| refused(error.to_string()))?
            .sign()
            .map_err(ceremony::unsigned)
    }

    /// The certificate of an issuing CA below `root`.
    pub(super) fn issuing(
        &self,
        subject: DistinguishedName,
        key: &SigningKey,
        lifetime: Duration,
        constraints: Option<NameConstraints>,
        root: &Signer,
    ) -> Result<Certificate, Error> {
        let profile = CaProfile {
            subject,
            public_key: key.public_key().clone(),
            validity: validity(self.surroundings.now(), lifetime)?,
            path_length: Some(0),
            name_constraints: constraints,
            urls: self.urls_of(root),
        };
        let profile = Profile::Authority(profile);
        ceremony::sign(profile, &serial(&self.surroundings), root)
    }

    /// A certificate by which `old` vouches for the root `new`: who trusts the one can follow the
    /// other. It ends with the older of the two.
    pub(super) fn link(&self, new: &Certificate, old: &Signer) -> Result<Certificate, Error> {
        let constraints = new.understood_name_constraints();
        let profile = CaProfile {
            subject: new.subject().clone(),
            public_key: new.public_key().map_err(Error::signing)?,
            validity: pki::Validity::new(new.not_before(), new.not_after())
                .map_err(Error::signing)?,
            path_length: None,
            name_constraints: constraints,
            urls: self.urls_of(old),
        };
        let profile = Profile::Authority(profile);
        ceremony::sign(profile, &serial(&self.surroundings), old)
    }

    fn urls_of(&self, issuer: &Signer) -> Urls {
        urls_by_key_identifier(&self.public_url, &hex_key_identifier(issuer.certificate()))
    }
}

/// The subject of a tier: `common_name`, what the tier is, and the beginning of its key's
/// identifier.
pub(super) fn named(
    subject: &DistinguishedName,
    common_name: &str,
    tier: &str,
    key: &SigningKey,
) -> Result<DistinguishedName, Error> {
    let [first, second, ..] = key.public_key().key_identifier();
    let common_name = format!("{common_name} {tier} {first:02X}{second:02X}");
    // Two names between blanks, however short the first one is.
    let words: Vec<&str> = common_name.split_whitespace().collect();
    subject
        .with_common_name(&words.join(" "))
        .map_err(|error| Error::invalid("subject", error.to_string()))
}

/// The subject of `before` for the next key of its tier: the beginning of the key's identifier, which
/// names end with, is that of the new one.
pub(super) fn renamed(before: &Certificate, key: &SigningKey) -> Result<DistinguishedName, Error> {
    let common_name = before.common_name().unwrap_or_default();
    let own = before.subject_key_identifier().unwrap_or_default();
    let suffix = match own {
        [first, second, ..] => format!(" {first:02X}{second:02X}"),
        _ => String::new(),
    };
    let stem = common_name.strip_suffix(&suffix).unwrap_or(&common_name);
    named(before.subject(), stem, "", key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pki::{PrivateKey, SubjectFields};

    use super::*;

    fn maker() -> TierMaker {
        TierMaker {
            surroundings: Surroundings::default(),
            public_url: "http://127.0.0.1".to_owned(),
        }
    }

    fn subject() -> DistinguishedName {
        let fields = SubjectFields {
            common_name: Some("Example".to_owned()),
            organization: Some("Example Ltd".to_owned()),
            ..SubjectFields::default()
        };
        DistinguishedName::from_fields(&fields).unwrap()
    }

    #[test]
    fn a_successor_is_named_after_its_own_key() {
        let [key, next] = [(); 2].map(|()| {
            let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
            SigningKey::from(key)
        });
        let tag = |key: &SigningKey| {
            let [first, second, ..] = key.public_key().key_identifier();
            format!("{first:02X}{second:02X}")
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let name = named(&subject(), "Example", "Root CA", &key).unwrap();
        let root = maker().root(name, &key, day, None).unwrap();
        let expected = format!("CN=Example Root CA {},O=Example Ltd", tag(&key));
        assert_eq!(root.subject().to_string(), expected);
        let next_name = renamed(&root, &next).unwrap();
        let expected = format!("CN=Example Root CA {},O=Example Ltd", tag(&next));
        assert_eq!(next_name.to_string(), expected);

        let plain = maker().root(subject(), &key, day, None).unwrap();
        let expected = format!("CN=Example {},O=Example Ltd", tag(&next));
        assert_eq!(renamed(&plain, &next).unwrap().to_string(), expected);
    }
}
