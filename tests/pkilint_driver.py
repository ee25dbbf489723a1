"""Lints DER documents with pkilint, one per line of standard input.

A line is the kind (certificate, crl, ocsp_response), a blank, and the document in hexadecimal. The
answer is one line of JSON: a list of findings, each with severity, node, code and message. Starting
Python and pkilint takes seconds, a document milliseconds: hence one process for many documents.
The validators are those of pkilint's own lint_pkix_cert, lint_crl and lint_ocsp_response.
"""

import json
import sys

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name, ocsp


def certificate_validator():
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def crl_validator():
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def ocsp_response_validator():
    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )


KINDS = {
    "certificate": (loader.RFC5280CertificateDocumentLoader(), certificate_validator()),
    "crl": (loader.RFC5280CertificateListDocumentLoader(), crl_validator()),
    "ocsp_response": (loader.RFC6960OCSPResponseDocumentLoader(), ocsp_response_validator()),
}


def finding(severity, node, code, message):
    return {"severity": severity, "node": node, "code": code, "message": message or ""}


def lint(kind, der):
    document_loader, validator = KINDS[kind]
    try:
        document = document_loader.load_der_document(der, kind)
    except ValueError as error:
        return [finding("FATAL", "", "cannot_load", str(error))]
    return [
        finding(
            description.finding.severity.name,
            result.node.path,
            description.finding.code,
            description.message,
        )
        for result in validator.validate(document.root)
        for description in result.finding_descriptions
    ]


for line in sys.stdin:
    kind, der = line.split()
    print(json.dumps(lint(kind, bytes.fromhex(der))), flush=True)
