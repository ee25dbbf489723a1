//! Certificate requests (PKCS #10, RFC 2986). Of a request, only the key, the subject and the names
//! are ever used; what else it asks for is not even read.

use std::collections::HashSet;

use crate::asn1::{Malformed, Reader, Writer, oid, single, tag};
use crate::extension::{self, BasicConstraints, NamesError, key_usage};
use crate::identifier::{Identifier, IdentifierError, MAX_IDENTIFIERS};
use crate::key::{KeyError, PrivateKey, PublicKey, SigningKey};
use crate::name::DistinguishedName;
use crate::pem;
use crate::signed::{self, Signed};

const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

/// A request whose signature has been verified: who sent it has the private key.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    subject: DistinguishedName,
    public_key: PublicKey,
    identifiers: Vec<Identifier>,
}

impl CertificateRequest {
    /// Reads and verifies a request: PEM if it begins with dashes after leading blanks, else DER.
    ///
    /// # Errors
    /// [`RequestError`], each variant.
    pub fn from_pem_or_der(input: &[u8]) -> Result<Self, RequestError> {
        if !pem::looks_like_pem(input) {
            return Self::from_der(input);
        }
        let block = pem::blocks(input)
            .find(|block| LABELS.contains(&block.label()))
            .ok_or(RequestError::Malformed(
                "there is no PEM block CERTIFICATE REQUEST",
            ))?;
        let der = block
            .decode()
            .ok_or(RequestError::Malformed("the PEM block is not base64"))?;
        Self::from_der(&der)
    }

    /// Makes and signs a DER request for these names.
    ///
    /// # Errors
    /// [`RequestError::TooManyNames`], and [`RequestError::Key`] if the crypto library fails.
    pub fn build(
        key: &PrivateKey,
        subject: &DistinguishedName,
        identifiers: &[Identifier],
    ) -> Result<Vec<u8>, RequestError> {
        if identifiers.len() > MAX_IDENTIFIERS {
            return Err(RequestError::TooManyNames);
        }
        let request = signed_request(&key.into(), subject, !identifiers.is_empty(), |list| {
            extension::write_subject_alt_name(list, identifiers, subject.is_empty());
        });
        Ok(request?)
    }

    /// Makes and signs a DER request for the certificate of an authority that issues leaves only.
    ///
    /// # Errors
    /// [`KeyError`] if `key` does not sign.
    pub fn build_for_authority(
        key: &SigningKey,
        subject: &DistinguishedName,
    ) -> Result<Vec<u8>, KeyError> {
        signed_request(key, subject, true, |list| {
            extension::write_basic_constraints(
                list,
                BasicConstraints {
                    is_ca: true,
                    path_length: Some(0),
                },
            );
            extension::write_key_usage(list, key_usage::OF_AUTHORITIES);
            let key_identifier = key.public_key().key_identifier();
            extension::write_subject_key_identifier(list, &key_identifier);
        })
    }

    /// A PEM block of type `CERTIFICATE REQUEST` around a request's DER.
    pub fn to_pem(der: &[u8]) -> String {
        std::mem::take(&mut *pem::encode("CERTIFICATE REQUEST", der))
    }

    /// The subject asked for.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The key to certify.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The DNS names, IP and e-mail addresses asked for as subject alternative names, in order and
    /// without repetitions. Other kinds are left out.
    pub fn identifiers(&self) -> &[Identifier] {
        &self.identifiers
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        const WHAT: &str = "the outer structure";
        let mut outer = single(der, tag::SEQUENCE, WHAT)?.reader();
        let signed = Signed::read(&mut outer, WHAT)?;
        outer.finish(WHAT)?;

        let mut body = signed.body.reader();
        if body
            .expect(tag::INTEGER, "the version")?
            .small_integer("the version")?
            != 0
        {
            return Err(RequestError::Malformed("the version is unknown"));
        }
        let subject = body.expect(tag::SEQUENCE, "the subject")?.encoded;
        let subject = DistinguishedName::from_der(subject)
            .map_err(|_| RequestError::Malformed("the subject"))?;
        let spki = body.expect(tag::SEQUENCE, "the public key")?.encoded;
        // RFC 2986 demands the attributes even if there are none; some programs leave them out.
        let attributes = body.optional(tag::context_constructed(0), "the attributes")?;
        body.finish("the attributes")?;
        // Names first: they cost less than a signature.
        let identifiers = match attributes {
            Some(attributes) => requested_identifiers(attributes.contents)?,
            None => Vec::new(),
        };

        let public_key = PublicKey::from_spki_der(spki)?;
        match signed.is_signed_by(&public_key) {
            Some(true) => Ok(Self {
                subject,
                public_key,
                identifiers,
            }),
            Some(false) => Err(RequestError::BadSignature),
            None => Err(RequestError::SignatureAlgorithm),
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The signature is not by the key in the request.
    #[error("the signature of the request is invalid")]
    BadSignature,
    /// The key is malformed, weak or not supported; or a new request could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bytes are not a request; the text says which part.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// A name it asks for is none.
    #[error(transparent)]
    Names(IdentifierError),
    /// It is signed with an algorithm that is not supported, such as one with SHA-1.
    #[error("the signature algorithm of the request is not supported; use SHA-256 or better")]
    SignatureAlgorithm,
    /// It asks for more than [`MAX_IDENTIFIERS`] names.
    #[error("the request has more than {MAX_IDENTIFIERS} names")]
    TooManyNames,
}

impl From<Malformed> for RequestError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// The names in the subjectAltName of the extensionRequest attribute (RFC 2985 5.4.2).
/// Signs a request that asks for extensions, or for none.
fn signed_request(
    key: &SigningKey,
    subject: &DistinguishedName,
    asks_for_extensions: bool,
    write_extensions: impl Fn(&mut Writer),
) -> Result<Vec<u8>, KeyError> {
    let mut body = Writer::with_capacity(512);
    body.sequence(|body| {
        body.unsigned(&[0]);
        body.raw(subject.to_der());
        body.raw(key.public_key().spki_der());
        body.nested(tag::context_constructed(0), |attributes| {
            if asks_for_extensions {
                attributes.sequence(|attribute| {
                    attribute.oid(&oid::EXTENSION_REQUEST);
                    attribute.nested(tag::SET, |values| values.sequence(&write_extensions));
                });
            }
        });
    });
    signed::sign(key, &body.finish(), |_| {})
}

fn requested_identifiers(attributes: &[u8]) -> Result<Vec<Identifier>, RequestError> {
    const WHAT: &str = "the attributes";
    const EXTENSIONS: &str = "the requested extensions";
    let mut reader = Reader::new(attributes);
    let mut extensions = None;
    while !reader.is_empty() {
        let mut attribute = reader.sequence(WHAT)?;
        let object = attribute.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
        let values = attribute.expect(tag::SET, WHAT)?;
        attribute.finish(WHAT)?;
        if object == oid::EXTENSION_REQUEST.as_bytes()
            && extensions.replace(values.contents).is_some()
        {
            return Err(RequestError::Malformed(
                "the requested extensions occur twice",
            ));
        }
    }
    let Some(values) = extensions else {
        return Ok(Vec::new());
    };
    let mut values = Reader::new(values);
    let extensions = extension::read_all(&mut values, EXTENSIONS)?;
    values.finish(EXTENSIONS)?;
    match extension::find(&extensions, &oid::SUBJECT_ALT_NAME) {
        Some(names) => unique_identifiers(names.value),
        None => Ok(Vec::new()),
    }
}

fn unique_identifiers(value: &[u8]) -> Result<Vec<Identifier>, RequestError> {
    let mut seen = HashSet::new();
    let mut identifiers = Vec::new();
    for (index, name) in extension::read_general_names(value)?.enumerate() {
        if index == MAX_IDENTIFIERS {
            return Err(RequestError::TooManyNames);
        }
        let identifier = name.map_err(|error| match error {
            NamesError::Malformed(what) => RequestError::Malformed(what),
            NamesError::Invalid(error) => RequestError::Names(error),
        })?;
        if seen.insert(identifier.clone()) {
            identifiers.push(identifier);
        }
    }
    Ok(identifiers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::key::KeyAlgorithm;
    use crate::name::SubjectFields;

    static KEY: LazyLock<PrivateKey> =
        LazyLock::new(|| PrivateKey::generate(KeyAlgorithm::P256).unwrap());

    fn identifiers(hosts: &[&str]) -> Vec<Identifier> {
        hosts
            .iter()
            .map(|host| Identifier::parse_host(host).unwrap())
            .collect()
    }

    fn subject() -> DistinguishedName {
        DistinguishedName::from_fields(&SubjectFields {
            common_name: Some("example.com".to_owned()),
            ..SubjectFields::default()
        })
        .unwrap()
    }

    /// A request with this DER inside its `[0]` attributes.
    fn with_attributes(attributes: &[u8]) -> Vec<u8> {
        let mut body = Writer::new();
        body.sequence(|body| {
            body.unsigned(&[0]);
            body.raw(subject().to_der());
            body.raw(KEY.public_key().spki_der());
            body.nested(tag::context_constructed(0), |inner| inner.raw(attributes));
        });
        signed::sign(&(&*KEY).into(), &body.finish(), |_| {}).unwrap()
    }

    fn with_general_names(write: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut attributes = Writer::new();
        attributes.sequence(|attribute| {
            attribute.oid(&oid::EXTENSION_REQUEST);
            attribute.nested(tag::SET, |values| {
                values.sequence(|extensions| {
                    extension::write(extensions, &oid::SUBJECT_ALT_NAME, false, |value| {
                        value.sequence(|names| write(names));
                    });
                });
            });
        });
        with_attributes(&attributes.finish())
    }

    #[test]
    fn what_is_built_reads_back_as_der_and_as_pem() {
        let names = identifiers(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]);
        let der = CertificateRequest::build(&KEY, &subject(), &names).unwrap();
        let pem = format!(" \r\n{}", CertificateRequest::to_pem(&der));
        let renamed = pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
        for input in [&der, pem.as_bytes(), renamed.as_bytes()] {
            let request = CertificateRequest::from_pem_or_der(input).unwrap();
            assert_eq!(request.subject(), &subject());
            assert_eq!(request.identifiers(), names);
            assert_eq!(request.public_key(), KEY.public_key());
        }
    }

    #[test]
    fn a_changed_request_is_refused() {
        let names = identifiers(&["example.com"]);
        let mut der = CertificateRequest::build(&KEY, &subject(), &names).unwrap();
        let at = der.windows(7).rposition(|part| part == b"example").unwrap();
        der[at] = b'f';
        assert_eq!(
            CertificateRequest::from_pem_or_der(&der).unwrap_err(),
            RequestError::BadSignature
        );
    }

    #[test]
    fn repeated_names_count_once_and_other_kinds_are_left_out() {
        let der = with_general_names(|names| {
            names.element(tag::context_primitive(6), b"https://example.com/");
            names.element(tag::context_primitive(2), b"Example.com.");
            names.element(tag::context_primitive(1), b"a@Example.com");
            names.element(tag::context_primitive(2), b"example.com");
            names.nested(tag::context_constructed(4), |name| {
                name.raw(subject().to_der());
            });
        });
        let request = CertificateRequest::from_pem_or_der(&der).unwrap();
        let texts: Vec<String> = request
            .identifiers()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["example.com", "a@example.com"]);
    }

    #[test]
    fn an_invalid_name_is_named() {
        let der = with_general_names(|names| {
            names.element(tag::context_primitive(2), b"exa\0mple.com");
        });
        let error = CertificateRequest::from_pem_or_der(&der).unwrap_err();
        assert!(error.to_string().contains(r#""exa\0mple.com""#), "{error}");
        let der = with_general_names(|names| names.element(tag::context_primitive(7), &[1, 2, 3]));
        let error = CertificateRequest::from_pem_or_der(&der).unwrap_err();
        assert!(error.to_string().contains("010203"), "{error}");
    }

    #[test]
    fn a_thousand_names_are_the_limit() {
        let many = |count: usize| {
            with_general_names(|names| {
                for number in 0..count {
                    let name = format!("n{number}.example");
                    names.element(tag::context_primitive(2), name.as_bytes());
                }
            })
        };
        let request = CertificateRequest::from_pem_or_der(&many(MAX_IDENTIFIERS)).unwrap();
        assert_eq!(request.identifiers().len(), MAX_IDENTIFIERS);
        assert_eq!(
            CertificateRequest::from_pem_or_der(&many(MAX_IDENTIFIERS + 1)).unwrap_err(),
            RequestError::TooManyNames
        );
    }

    #[test]
    fn extensions_requested_twice_are_refused() {
        let mut attributes = Writer::new();
        for _ in 0..2 {
            attributes.sequence(|attribute| {
                attribute.oid(&oid::EXTENSION_REQUEST);
                attribute.nested(tag::SET, |values| values.sequence(|_| {}));
            });
        }
        assert!(matches!(
            CertificateRequest::from_pem_or_der(&with_attributes(&attributes.finish())),
            Err(RequestError::Malformed(_))
        ));
    }

    #[test]
    fn a_signature_of_another_family_is_refused() {
        let der = CertificateRequest::build(&KEY, &subject(), &[]).unwrap();
        let identifier = crate::SignatureAlgorithm::EcdsaSha256.to_der();
        let at = der
            .windows(identifier.len())
            .position(|part| part == identifier)
            .unwrap();
        let mut changed = der.clone();
        // ecdsa-with-SHA1 is 1.2.840.10045.4.1: another last arc, one arc less. Any unknown will do.
        changed[at + identifier.len() - 1] = 9;
        assert_eq!(
            CertificateRequest::from_pem_or_der(&changed).unwrap_err(),
            RequestError::SignatureAlgorithm
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CertificateRequest::from_pem_or_der(&bytes);
        }

        #[test]
        fn never_panics_on_damage(at: proptest::sample::Index, value: u8) {
            static DER: LazyLock<Vec<u8>> = LazyLock::new(|| {
                CertificateRequest::build(&KEY, &subject(), &identifiers(&["example.com"])).unwrap()
            });
            let mut der = DER.clone();
            let at = at.index(der.len());
            der[at] = value;
            if let Ok(request) = CertificateRequest::from_pem_or_der(&der) {
                prop_assert_eq!(request.public_key(), KEY.public_key());
            }
        }
    }
}
