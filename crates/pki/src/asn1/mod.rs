//! The few pieces of DER (X.690) that certificates, requests, CRLs and OCSP are made of.
//!
//! Reading is zero-copy over [`der`]'s strict reader and keeps the exact bytes of every element, so
//! that a name or an algorithm identifier can be repeated byte for byte. Writing cannot fail.
//! Nothing outside this crate sees these types.

pub(crate) mod oid;
mod reader;
mod time;
mod writer;

pub(crate) use der::oid::ObjectIdentifier;
pub(crate) use reader::{Element, Malformed, Reader, single};
pub(crate) use time::parse_time;
pub(crate) use writer::Writer;

/// Identifier octets of the universal types in use.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[number]` around or in place of a constructed type.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[number] IMPLICIT` in place of a primitive type.
    pub(crate) const fn context_primitive(number: u8) -> u8 {
        0x80 | number
    }
}
