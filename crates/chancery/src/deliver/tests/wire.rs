use serde_json::json;

use crate::deliver::wire::read_plan;

#[test]
fn an_answer_that_lacks_a_list_does_not_ask_for_nothing() {
    let whole = json!({ "tag": "a", "place": [], "remove": [] });
    read_plan(&whole).unwrap();
    for broken in [
        json!({ "tag": "a" }),
        json!({ "tag": "a", "place": [] }),
        json!({ "tag": "a", "remove": [] }),
        json!({ "tag": "a", "place": null, "remove": [] }),
        json!({ "tag": "a", "place": {}, "remove": [] }),
    ] {
        read_plan(&broken).unwrap_err();
    }
}
