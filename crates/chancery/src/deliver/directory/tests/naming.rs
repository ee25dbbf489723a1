use super::*;

#[test]
fn names_that_lead_elsewhere_or_mean_something_are_refused() {
    let (directory, root) = open(Form::Pair);
    directory.store(&material(held(1, 1))).unwrap();
    let long = "x".repeat(201);
    for name in [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "/etc/a",
        ".hidden",
        "-rf",
        "a\nb",
        "a\0b",
        "a\tb",
        "$(id)",
        "a;b",
        "a*",
        "a ",
        " a",
        "a'b",
        "a\"b",
        "a\\b",
        "\u{202e}a",
        &long,
    ] {
        let refused = directory.place(name, held(1, 1));
        assert!(refused.is_err(), "{name:?}");
    }
    assert_eq!(visible(&root), [""; 0]);
    for name in ["a", "www.example.com-x1y2z", "Läden 7", "_acme", "a+b@c"] {
        directory.place(name, held(1, 1)).unwrap();
    }
}
