//! What is in the directory after each step, and after none.
#![allow(clippy::unwrap_used)]

mod naming;
mod owning;
mod placing;
mod settling;

use std::fs;

use tempfile::TempDir;

use super::*;

fn held(certificate: u8, version: u8) -> Held {
    Held {
        certificate: CertificateId::from_random([certificate; 16]),
        version: format!("0190163d-8694-739b-aea5-966c26f8ad{version:02x}")
            .parse()
            .unwrap(),
    }
}

fn material(held: Held) -> Material {
    Material {
        held,
        chain: format!("chain of {}\n", held.file_name()),
        key: format!("key of {}\n", held.file_name()).into(),
    }
}

fn nothing(name: &str) -> Former {
    Former {
        name: name.to_owned(),
        held: None,
        paths: Vec::new(),
    }
}

fn open(form: Form) -> (Directory, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (Directory::open(root.path(), form).unwrap(), root)
}

fn put(directory: &Directory, name: &str, held: Held) {
    directory.store(&material(held)).unwrap();
    directory.place(name, held).unwrap();
}

fn read(root: &TempDir, file: &str) -> Option<String> {
    fs::read_to_string(root.path().join(file)).ok()
}

fn visible(root: &TempDir) -> Vec<String> {
    let names = fs::read_dir(root.path()).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != INSIDE)
        .collect();
    names.sort();
    names
}
